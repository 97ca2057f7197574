"""Rows of video reuse: methods side by side against the full run of the same network, in one run, on one core.

`python -m benchmarks.video --data DIR` prints all methods, networks and videos; `python -m benchmarks` has the rows of
the default method. Times are processor time of one thread, full run and method in turns; decoding is left out.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import thread_time
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks.judgement import Bar, Figure
from benchmarks.video_nets import resnet18, tiny_yolo
from likewise.inference.graphs import Piece
from likewise.video.control import LEVELS
from likewise.video.methods.auto import Auto
from likewise.video.methods.make import METHODS, make_method
from likewise.video.model import VideoModel

WIDTH, HEIGHT = 320, 240
MEAN, STD = 0.45, 0.25
BALANCED = 4
"""Of `LEVELS`: what the default method begins with here, since no probes tell it better."""
VIDEOS = {
    "highway": "highway/video.avi",
    "cars": "cars/car-detection.mp4",
    "bottles": "bottles/bottle-detection.mp4",
    "tennis": "tennis/%05d.jpg",
}
NETS = {"resnet18": resnet18, "tiny-yolo": tiny_yolo}
BARS = {
    (net, video): Bar(f"video/{net}-{video}", f"{net}, {video}: full run ÷ from what changed", "ms", "full", bar)
    for net in NETS
    for video, bar in (("highway", 3.5), ("cars", 3.5), ("bottles", 8.0), ("tennis", 0.93), ("still", 30.0))
}


class Row(NamedTuple):
    """What came out for one method, network and video."""

    full_s: float
    method_s: float
    work: float
    f1: float
    same: float
    """Share of frames whose positive cells are all the full run's."""
    state_bytes: int

    @property
    def speedup(self) -> float:
        return self.full_s / self.method_s


def frames(data: Path, video: str, count: int) -> np.ndarray:
    """Return frames, uint8 RGB, shape (n, height, width, 3); `still`: one frame of the highway again and again."""
    if video == "still":
        return np.repeat(frames(data, "highway", 1), count, 0)
    capture = cv2.VideoCapture(str(data / "video" / VIDEOS[video]))
    found = []
    while len(found) < count:
        there, frame = capture.read()
        if not there:
            break
        small = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        found.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
    if not found:
        raise FileNotFoundError(f"{data / 'video' / VIDEOS[video]}: no frames; give the folder of the data sets")
    return np.array(found)


def tensor(frame: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(((frame.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1))


def head(net: str, video: np.ndarray) -> tuple[np.ndarray, float]:
    """Return weights and bias of a head that finds what moves: ridge regression on background subtraction."""
    body = Piece(NETS[net](HEIGHT, WIDTH).SerializeToString())
    background = np.median(video[::5], axis=0)
    features, labels = [], []
    for frame in video[::4]:
        (cells,) = body.run({"x": tensor(frame)[None]})[0]
        channels, rows, columns = cells.shape
        moving = (np.abs(frame - background).max(2) > 30).astype(np.float32)
        labels.append(cv2.resize(moving, (columns, rows), interpolation=cv2.INTER_AREA).ravel() > 0.25)
        features.append(cells.reshape(channels, -1).T)
    given, wanted = np.concatenate(features).astype(np.float64), np.concatenate(labels)
    mean, spread = given.mean(0), given.std(0) + 1e-6
    scaled = (given - mean) / spread
    share = min(max(float(wanted.mean()), 1e-3), 1 - 1e-3)
    weight = np.where(wanted, 0.5 / share, 0.5 / (1 - share))
    sign = np.where(wanted, 1.0, -1.0)
    offset = float((weight * sign).sum() / weight.sum())
    normal = (scaled * weight[:, None]).T @ scaled + 0.01 * len(scaled) * np.eye(scaled.shape[1])
    solved = np.linalg.solve(normal, (scaled * weight[:, None]).T @ (sign - offset))
    scores = scaled @ solved + offset
    cuts = np.quantile(scores, np.linspace(0.5, 0.999, 60))
    best = max(cuts, key=lambda cut: 2 * ((scores > cut) & wanted).sum() / max((scores > cut).sum() + wanted.sum(), 1))
    return (solved / spread).astype(np.float32), float(offset - (solved / spread) @ mean - best)


def make(name: str, model: VideoModel) -> Any:
    return Auto(model, fixed=LEVELS[BALANCED]) if name == "auto" else make_method(name, model)


def race(net: str, video: np.ndarray, methods: Sequence[str]) -> dict[str, Row]:
    """Return a row for each method; each frame by the full run and then by all methods in turns."""
    content = NETS[net](HEIGHT, WIDTH, head(net, video)).SerializeToString()
    full = Piece(content)
    model = VideoModel(content, (3, HEIGHT, WIDTH), ["out"], unit=1 / 255 / STD, clock=thread_time)
    model.warm()
    ways = {name: make(name, model) for name in methods}
    full_s, seconds, work = 0.0, dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0)
    both, either, same = dict.fromkeys(ways, 0), dict.fromkeys(ways, 0), dict.fromkeys(ways, 0)
    for frame in video:
        given = tensor(frame)
        started = thread_time()
        (wanted,) = full.run({"x": given[None]})
        once = thread_time() - started
        full_s += once
        for name, way in ways.items():
            started = thread_time()
            found = way.frame(given)
            seconds[name] += thread_time() - started
            if found is None:  # a full run is cheaper: its time is that of the one just made
                seconds[name] += once
                work[name] += 1.0
            else:
                work[name] += found.work
            mine, its = (wanted if found is None else found.outputs[0]) > 0, wanted > 0
            both[name] += int((mine & its).sum())
            either[name] += int(mine.sum() + its.sum())
            same[name] += bool((mine == its).all())
    count = len(video)
    return {
        name: Row(
            full_s / count, seconds[name] / count, work[name] / count,
            2 * both[name] / either[name] if either[name] else 1.0,
            same[name] / count, way.nbytes,
        )
        for name, way in ways.items()
    }  # fmt: skip


def rows(folder: Path, wanted: Any, runs: int, quick: bool) -> Iterator[Figure]:
    """Yield the figures of the default method."""
    data = os.environ.get("LIKEWISE_DATA")
    for (net, video), bar in BARS.items():
        if not wanted(bar):
            continue
        if not data:
            yield Figure(bar, note="set LIKEWISE_DATA to the folder of the data sets, see functions/README.md")
            continue
        scene = frames(Path(data), video, 12 if quick else 240)
        found = [race(net, scene, ["auto"])["auto"] for _ in range(1 if quick else min(runs, 2))]
        note = f"F1 {found[-1].f1:.3f}, work {found[-1].work:.3f}"
        yield Figure(bar, [row.full_s * 1e3 for row in found], [row.method_s * 1e3 for row in found], note=note)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.video", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LIKEWISE_DATA", ".")))
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--video", action="append", choices=[*VIDEOS, "still"])
    parser.add_argument("--net", action="append", choices=list(NETS))
    parser.add_argument("--method", action="append", choices=list(METHODS))
    args = parser.parse_args()
    print("network    video    method     speedup  work   F1     same   state MB")
    for net in args.net or NETS:
        for video in args.video or [*VIDEOS, "still"]:
            found = race(net, frames(args.data, video, args.frames), args.method or list(METHODS))
            for name, row in found.items():
                print(
                    f"{net:10} {video:8} {name:10} {row.speedup:7.2f} {row.work:6.3f} {row.f1:6.3f} {row.same:6.3f} "
                    f"{row.state_bytes / 1e6:8.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
