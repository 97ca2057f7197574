"""What there is to see and hear: things, each of which gives another input whenever a phone turns to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from likewise.errors import InvalidValue
from likewise.workloads.digits import held_out, load_digits, photograph
from likewise.workloads.sign_names import sign_name
from likewise.workloads.signs import Picture, Track, find_tracks, load_picture, reshoot
from likewise.workloads.speech import Recording, find_recordings, resay

WORKLOADS = ("digits", "signs", "speech")


@dataclass(frozen=True, slots=True)
class Shot:
    """One input."""

    body: bytes
    media_type: str
    truth: str
    """The true label."""


Turn = Callable[[int, int, np.random.Generator], Iterator[Shot]]
"""(phone, thing, rng) to the inputs of one look at a thing, without end."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All things of one workload; none of them has anything that its model was trained on."""

    workload: str
    function: str
    things: int
    turn: Turn


def open_catalog(workload: str, data: Path | None) -> Catalog:
    """Return a workload's catalog. Raises InvalidValue, with the remedy, for what is not there."""
    match workload:
        case "digits":
            return _digits()
        case "signs":
            return _signs([track for track in find_tracks(data, "signs") if track.held_out])
        case "speech":
            return _speech([each for each in find_recordings(data, "speech") if each.held_out])
    raise InvalidValue(f"There is no workload {workload!r}; choose from {', '.join(WORKLOADS)}.")


def _digits() -> Catalog:
    images, labels = load_digits()
    kept = [i for i in range(len(labels)) if held_out(i)]

    def turn(phone: int, thing: int, rng: np.random.Generator) -> Iterator[Shot]:
        hold = np.random.default_rng([phone, 17]).uniform(-1, 1, 2)
        while True:
            right, down = hold + rng.uniform(-1, 1, 2)
            picture = photograph(
                images[kept[thing]],
                shift=(float(right), float(down)),
                gain=float(rng.uniform(0.8, 1.0)),
                lift=float(rng.uniform(0.0, 0.05)),
            )
            yield Shot(_png(picture), "image/png", str(labels[kept[thing]]))

    return Catalog("digits", "digits", len(kept), turn)


def _signs(tracks: Sequence[Track]) -> Catalog:
    pictures: dict[Path, Picture] = {}

    def turn(phone: int, thing: int, rng: np.random.Generator) -> Iterator[Shot]:
        """Yield photographs as a car comes nearer, from anywhere on the way, each in slightly other light."""
        track, light = tracks[thing], rng.uniform(0.85, 1.15)
        at = int(rng.integers(max(1, len(track.frames) - 5)))
        while True:
            path = track.frames[min(at, len(track.frames) - 1)]
            if path not in pictures:
                pictures[path] = load_picture(path)
            yield Shot(_png(reshoot(pictures[path], rng, light)), "image/png", sign_name(track.class_id))
            at += 1

    return Catalog("signs", "signs", len(tracks), turn)


def _speech(recordings: Sequence[Recording]) -> Catalog:
    """Things are words as one speaker says them: phones hear whoever is where they are."""
    spoken: dict[tuple[str, str], list[Recording]] = {}
    for each in recordings:
        spoken.setdefault((each.speaker, each.digit), []).append(each)
    words = [spoken[key] for key in sorted(spoken)]

    def turn(phone: int, thing: int, rng: np.random.Generator) -> Iterator[Shot]:
        while True:
            said = words[thing][int(rng.integers(len(words[thing])))]
            body = resay(said.path.read_bytes(), rng, name=str(said.path))
            yield Shot(body, "audio/wav", said.digit)

    return Catalog("speech", "speech", len(words), turn)


def _png(picture: Picture) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1].tobytes())
