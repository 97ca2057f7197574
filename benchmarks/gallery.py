"""What reuse brings with the models of docs/gallery.md: `python -m benchmarks.gallery [NAME ...]`.

Each is added by `likewise add`, served, and sent a small stream; whatever was reused is computed as well, and compared
by what the function's spec says makes results equal. Streams from public sets need LIKEWISE_DATA; packages are found
where they are installed, and left out where they are not.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import re
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import cv2
import httpx
import numpy as np

from likewise.__main__ import main as likewise
from likewise.function.spec_text import read_spec
from likewise.results.labels import Labels
from likewise.types import Result
from likewise_demo.process import ServerProcess

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from gallery_models import MODELS

Sample = tuple[str, bytes]
"""Device and body."""
TARGET = 0.95
SIGNS = (
    *("Gate B42", "Exit", "Platform 9", "Lost property", "Tickets", "No entry", "Way out", "Lift", "Taxi", "Buses"),
    *("Room 101", "Room 102", "Meeting point", "Baggage claim", "Mind the gap", "Push", "Pull", "Open", "Closed"),
    *("Information", "Customs", "Arrivals", "Departures", "Toilets", "First aid", "Caution wet floor", "Fire exit"),
)


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def wav(samples: np.ndarray, rate: int) -> bytes:
    data = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    head = b"WAVEfmt " + (16).to_bytes(4, "little") + b"\1\0\1\0" + rate.to_bytes(4, "little")
    head += (2 * rate).to_bytes(4, "little") + b"\2\0\20\0data" + len(data).to_bytes(4, "little")
    return b"RIFF" + (len(head) + len(data)).to_bytes(4, "little") + head + data


def cameras(turned: bool) -> Iterator[Sample]:
    """Yield frames of three street and shelf cameras, five a second each; turned: each is turned now and then."""
    folder = Path(os.environ["LIKEWISE_DATA"]) / "video"
    films = [cv2.VideoCapture(str(path)) for path in sorted(folder.glob("*/*.[am][vp][i4]"))]
    rng = random.Random(1)
    turns = [0] * len(films)
    for at in range(1500):
        camera = at % len(films)
        for _ in range(5):
            films[camera].grab()
        there, frame = films[camera].read()
        if not there:
            return
        if turned and rng.random() < 0.03:
            turns[camera] = rng.randrange(4)
        small = cv2.resize(np.rot90(frame, turns[camera]), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        yield f"camera-{camera}", png(small)


def files() -> Iterator[Sample]:
    """Yield the files of a Python installation in a random order, as an upload service gets them."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = sorted(path for path in root.rglob("*") if path.is_file() and 8 <= path.stat().st_size < 1 << 19)
    random.Random(1).shuffle(found)
    for at, path in enumerate(found[:2000]):
        yield f"user-{at % 8}", path.read_bytes()


def _written(text: str, rng: np.random.Generator) -> np.ndarray:
    """Return a line of text as a camera has it: another brightness, place, size and noise each time."""
    width = 24 * len(text) + 60
    canvas = np.full((56, width), 235, np.uint8)
    place = (20 + int(rng.integers(-4, 5)), 38 + int(rng.integers(-3, 4)))
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 1.0 + 0.05 * rng.normal(), 30, 2, cv2.LINE_AA)
    seen = canvas * rng.uniform(0.75, 1.05) + rng.normal(0, 4, canvas.shape)
    return np.clip(cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.4, 1.1)), 0, 255).astype(np.uint8)


def lines() -> Iterator[Sample]:
    """Yield signs that are read again and again, some often and some seldom, never the same picture twice."""
    rng = np.random.default_rng(1)
    weights = 1 / np.arange(1, len(SIGNS) + 1)
    for at in range(1200):
        text = SIGNS[int(rng.choice(len(SIGNS), p=weights / weights.sum()))]
        yield f"phone-{at % 8}", png(cv2.cvtColor(_written(text, rng), cv2.COLOR_GRAY2BGR))


def pages() -> Iterator[Sample]:
    """Yield what four cameras see of walls with signs: a trembling view, for some seconds the same."""
    rng = np.random.default_rng(1)
    walls = []
    for _ in range(12):
        wall = np.full((480, 640), 235, np.uint8)
        for row in range(int(rng.integers(1, 5))):
            text = SIGNS[int(rng.integers(len(SIGNS)))]
            place = (int(rng.integers(20, 200)), 90 + 100 * row)
            cv2.putText(wall, text, place, cv2.FONT_HERSHEY_SIMPLEX, 1.4, 30, 3, cv2.LINE_AA)
        walls.append(wall)
    seen = [int(rng.integers(len(walls))) for _ in range(4)]
    for at in range(400):
        camera = at % 4
        if rng.random() < 0.05:
            seen[camera] = int(rng.integers(len(walls)))
        move = np.array([[1, 0, rng.normal(0, 1.5)], [0, 1, rng.normal(0, 1.5)]], np.float32)
        view = cv2.warpAffine(walls[seen[camera]], move, (640, 480), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        view = np.clip(view * rng.uniform(0.85, 1.05) + rng.normal(0, 3, view.shape), 0, 255).astype(np.uint8)
        yield f"camera-{camera}", png(cv2.cvtColor(view, cv2.COLOR_GRAY2BGR))


def speech() -> Iterator[Sample]:
    """Yield windows of 36 ms of spoken digits with pauses, 32 ms apart, at 16 kHz."""
    folder = Path(os.environ["LIKEWISE_DATA"]) / "fsdd" / "recordings"
    rng = np.random.default_rng(1)
    spoken = []
    for path in sorted(folder.glob("*.wav"))[::60][:50]:
        samples = np.frombuffer(path.read_bytes()[44:], "<i2").astype(np.float32) / 32768
        spoken += [np.repeat(samples, 2), rng.normal(0, 0.003, 8000).astype(np.float32)]
    whole = np.concatenate(spoken)
    for at in range(min(2500, (len(whole) - 576) // 512)):
        yield "microphone", wav(whole[512 * at : 512 * at + 576], 16_000)


def tones() -> Iterator[Sample]:
    """Yield two seconds of a few notes each, out of eight, with another loudness and noise each time."""
    rng = np.random.default_rng(1)
    time = np.arange(44_100) / 22_050
    for at in range(300):
        pitch = 60 + int(rng.choice([0, 2, 4, 5, 7, 9, 11, 12]))
        tone = sum(np.sin(2 * np.pi * part * 440 * 2 ** ((pitch - 69) / 12) * time) / part**2 for part in (1, 2, 3))
        yield (
            f"student-{at % 4}",
            wav(rng.uniform(0.2, 0.4) * tone * np.exp(-time) + rng.normal(0, 0.002, len(time)), 22_050),
        )


STREAMS: dict[str, tuple[str, Callable[[], Iterator[Sample]]]] = {
    "orientation": ("image/png", lambda: cameras(True)),
    "moderation": ("image/png", lambda: cameras(False)),
    "file-type": ("application/octet-stream", files),
    "text": ("image/png", lines),
    "text-detection": ("image/png", pages),
    "voice": ("audio/wav", speech),
    "notes": ("audio/wav", tones),
}


def play(name: str, scratch: Path) -> str:
    """Return one row of the table."""
    model = MODELS[name]
    found = importlib.util.find_spec(model.package)
    if found is None or not found.submodule_search_locations:
        return f"| {name} | {model.distribution} is not installed |"
    path = Path(next(iter(found.submodule_search_locations))) / model.file
    functions = scratch / name
    media_type, stream = STREAMS[name]
    code = likewise(["add", str(path), "--name", name, "--functions", str(functions), *model.arguments])
    if code:
        raise SystemExit(code)
    spec, _ = read_spec(functions / name)
    common, single = spec.result.tolerances
    labels = Labels(spec.result.equality, common, tolerances=single, least=spec.result.least)
    took: dict[bool, list[float]] = {True: [], False: []}
    wrong = count = 0
    seen: set[int] = set()
    with (
        ServerProcess(functions, TARGET, "--max-result-bytes", "4MiB") as server,
        httpx.Client(base_url=server.url, timeout=120) as client,
    ):
        place = f"/v1/functions/{name}/infer"
        for device, body in stream():
            headers = {"content-type": media_type, "likewise-device": device}
            started = perf_counter()
            answer = client.post(place, content=body, headers=headers)
            seconds = perf_counter() - started
            answer.raise_for_status()
            reused = bool(re.search(r"likewise; hit", answer.headers["cache-status"]))
            took[reused].append(seconds)
            count += 1
            given = labels.label(Result(answer.content))
            seen.add(given)
            if reused:
                truth = client.post(place, content=body, headers={**headers, "cache-control": "no-store"})
                wrong += labels.label(Result(truth.content)) != given
    hits = len(took[True])
    return (
        f"| {name} | {count:,} | {len(seen)} | {hits / count:.0%} | {1 - wrong / count:.1%} | "
        f"{1e3 * median(took[False]):.1f} | {f'{1e3 * median(took[True]):.1f}' if hits else '—'} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(STREAMS)} [all]")
    names = parser.parse_args().names or list(STREAMS)
    if strange := set(names) - set(STREAMS):
        parser.error(f"there is no {strange.pop()}")
    print("| model | requests | different results | reused | right, of all | computed, ms | reused, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            print(play(name, Path(scratch)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
