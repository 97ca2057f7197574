"""Traffic signs that cars pass: the German Traffic Sign Recognition Benchmark, in its public layout.

A *track* is one physical sign, photographed several times while a car comes nearer. Streams play only tracks
that nothing was trained on: those with an odd number, in every class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.workloads.sample import Sample, check_stream_arguments, data_folder
from likewise.workloads.sign_names import sign_name

LAYOUT = "gtsrb/Final_Training/Images"
SOURCE = "https://benchmark.ini.rub.de/gtsrb_dataset.html (GTSRB_Final_Training_Images.zip)"
REQUESTS = 4000
"""Length of a stream where none is asked for."""
_FILE_NAME = re.compile(r"(?P<track>\d+)_(?P<frame>\d+)\.(?:ppm|png)")

Picture = NDArray[np.uint8]
"""One photograph: shape (height, width, 3), blue first as OpenCV has it."""


@dataclass(frozen=True, slots=True)
class Track:
    """One physical sign."""

    class_id: int
    number: int
    frames: tuple[Path, ...]
    """Its photographs, in the order they were taken."""

    @property
    def held_out(self) -> bool:
        """True where nothing was trained on it: every other track of a class."""
        return self.number % 2 == 1


def find_tracks(data: Path | None, workload: str = "signs-junction") -> list[Track]:
    """Return all tracks under `data`, ordered by class and number.

    Raises InvalidValue if there are none, with where to get them.
    """
    folder = data_folder(data, LAYOUT, workload, SOURCE)
    frames: dict[tuple[int, int], list[tuple[int, Path]]] = {}
    for class_folder in folder.iterdir():
        if not (class_folder.is_dir() and class_folder.name.isdecimal()):
            continue
        for path in class_folder.iterdir():
            if match := _FILE_NAME.fullmatch(path.name):
                key = (int(class_folder.name), int(match["track"]))
                frames.setdefault(key, []).append((int(match["frame"]), path))
    if not frames:
        raise InvalidValue(
            f"The workload {workload} found no {{class}}/{{track}}_{{frame}}.ppm in {folder}. "
            f"Get them from {SOURCE}, and name the folder that holds {LAYOUT}/ with --data DIR or LIKEWISE_DATA."
        )
    return [Track(*key, tuple(path for _, path in sorted(frames[key]))) for key in sorted(frames)]


def load_picture(path: Path) -> Picture:
    """Return a photograph. Raises InvalidValue if the file does not decode."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InvalidValue(f"{path} is not an image that can be read; fetch it anew from {SOURCE}.")
    return np.asarray(picture, np.uint8)


def reshoot(picture: Picture, rng: np.random.Generator, light: float = 1.0) -> Picture:
    """Return the same sign a moment later: moved by up to 4 % of the width, in slightly other light.

    light: how bright, 1.0 as it was; gamma and gain wander a little around it.
    """
    height, width = picture.shape[:2]
    right, down = rng.uniform(-0.04, 0.04, 2) * (width, height)
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    gain = light * rng.uniform(0.93, 1.07)
    lit: Picture = np.clip(moved.astype(np.float32) * np.float32(gain) + 0.5, 0, 255).astype(np.uint8)
    return lit


class Signs:
    """Signs that cars pass, in one of three streams.

    junction: `signs` tracks drawn by Zipf's law with exponent 1; each car drives past one after another and
        sends 3 to 5 consecutive frames of each, while the others do the same.
    drift: a junction where halfway all signs are replaced and the light falls to 45 %.
    cold: random frames of all tracks, each once before any comes again.
    """

    function = "signs"

    def __init__(self, data: Path | None, kind: Literal["junction", "drift", "cold"], *, signs: int = 200) -> None:
        """List the tracks. Raises InvalidValue where the stream needs more of them than there are."""
        self.name = f"signs-{kind}"
        self._kind = kind
        self._signs = signs
        self._tracks = [track for track in find_tracks(data, self.name) if track.held_out]
        needed = 2 if kind == "drift" else 1
        if len(self._tracks) < needed:
            raise InvalidValue(
                f"The workload {self.name} needs {needed} or more tracks with an odd number, the half not "
                f"trained on; --data or LIKEWISE_DATA should name a fuller copy of {SOURCE}."
            )

    def stream(self, requests: int | None, seed: int, devices: int) -> Sequence[Sample]:
        """Return photographs as PNG files; see `Workload.stream`. The papers' junction has 20 devices."""
        check_stream_arguments(requests, seed, devices)
        total = REQUESTS if requests is None else requests
        rng = np.random.default_rng([seed, 3])
        if self._kind == "cold":
            return self._cold(total, rng, devices)
        order = [self._tracks[i] for i in rng.permutation(len(self._tracks))]
        if self._kind == "junction":
            return _drive(order[: self._signs], total, rng, devices)
        # Half the tracks at most, so that the signs after the drift are new ones.
        count = min(self._signs, len(order) // 2)
        before = _drive(order[:count], (total + 1) // 2, rng, devices)
        after = _drive(order[count : 2 * count], total // 2, rng, devices, light=0.45)
        return [*before, *after]

    def _cold(self, total: int, rng: np.random.Generator, devices: int) -> list[Sample]:
        every = [(track, path) for track in self._tracks for path in track.frames]
        samples: list[Sample] = []
        again = False
        while len(samples) < total:
            for i in rng.permutation(len(every))[: total - len(samples)]:
                track, path = every[i]
                picture = load_picture(path)
                if again:
                    picture = reshoot(picture, rng)
                samples.append(_sample(track, picture, int(rng.integers(devices))))
            again = True
        return samples


def _drive(
    tracks: Sequence[Track], total: int, rng: np.random.Generator, devices: int, light: float = 1.0
) -> list[Sample]:
    """Let all cars pass signs at once; the tracks come in the order of their popularity."""
    popularity = 1 / np.arange(1, len(tracks) + 1)
    popularity /= popularity.sum()
    pictures: dict[Path, Picture] = {}

    def passes() -> Iterator[tuple[Track, Path, float]]:
        while True:
            track = tracks[int(rng.choice(len(tracks), p=popularity))]
            length = min(int(rng.integers(3, 6)), len(track.frames))
            start = int(rng.integers(len(track.frames) - length + 1))
            exposure = light * rng.uniform(0.85, 1.15)
            for path in track.frames[start : start + length]:
                yield track, path, exposure

    cars = [passes() for _ in range(devices)]
    samples: list[Sample] = []
    for _ in range(total):
        device = int(rng.integers(devices))
        track, path, exposure = next(cars[device])
        if path not in pictures:
            pictures[path] = load_picture(path)
        samples.append(_sample(track, reshoot(pictures[path], rng, exposure), device))
    return samples


def _sample(track: Track, picture: Picture, device: int) -> Sample:
    body = cv2.imencode(".png", picture)[1].tobytes()
    return Sample(device, body, "image/png", sign_name(track.class_id), track.held_out)
