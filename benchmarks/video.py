"""Rows of video reuse: methods side by side against the full run of the same network, in one run, on one core.

`python -m benchmarks.video --data DIR` prints all methods, networks and videos; `python -m benchmarks` has the rows of
the default method. Times are processor time of one thread, full run and method in turns of some frames;
decoding is left out.
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
from likewise.evaluation.video.race import BLOCK
from likewise.inference.graphs import Piece
from likewise.video.control import LEVELS
from likewise.video.method import Method
from likewise.video.methods.auto import Auto
from likewise.video.methods.make import METHODS, make_method
from likewise.video.model import VideoModel
from likewise.workloads.videos import find_videos, read_video

WIDTH, HEIGHT = 320, 240
MEAN, STD = 0.45, 0.25
BALANCED = 1
"""Of `LEVELS`: what the default method begins with here, since no probes tell it better."""
AGREED = 0.99
"""F1 that speeds are compared at: by the coarsest level that comes to it."""
VIDEOS = ("highway", "cars", "bottles", "tennis", "still")
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
    found = read_video(find_videos(data)[video], count)
    return np.array([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in found])


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


def make(name: str, model: VideoModel, level: int = BALANCED) -> Any:
    return Auto(model, fixed=LEVELS[level]) if name == "auto" else make_method(name, model)


def race(net: str, video: np.ndarray, methods: Sequence[str], level: int = BALANCED) -> dict[str, Row]:
    """Return a row for each method: `BLOCK` frames by the full run, then the same by the method, in turns."""
    content = NETS[net](HEIGHT, WIDTH, head(net, video)).SerializeToString()
    model = VideoModel(content, (3, HEIGHT, WIDTH), ["out"], unit=1 / 255 / STD, clock=thread_time)
    model.warm()
    return {name: _play(model, Piece(content), make(name, model, level), video) for name in methods}


def _play(model: VideoModel, full: Piece, way: Method, video: np.ndarray) -> Row:
    full_s = seconds = work = 0.0
    both = either = same = 0
    for start in range(0, len(video), BLOCK):
        given = [tensor(frame) for frame in video[start : start + BLOCK]]
        wanted, times = [], []
        for each in given:
            started = thread_time()
            wanted.append(full.run({"x": each[None]})[0] > 0)
            times.append(thread_time() - started)
        full_s += sum(times)
        for each, its, once in zip(given, wanted, times, strict=True):
            started = thread_time()
            found = None if way.passes() else way.frame(each)
            seconds += thread_time() - started
            if found is None:  # a full run is cheaper: its time is that of the one just made
                seconds += once
            work += 1.0 if found is None else found.work
            mine = its if found is None else found.outputs[0] > 0
            both += int((mine & its).sum())
            either += int(mine.sum() + its.sum())
            same += bool((mine == its).all())
    count = len(video)
    return Row(
        full_s / count, seconds / count, work / count, 2 * both / either if either else 1.0, same / count, way.nbytes
    )


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
        level, found = BALANCED, []
        for level in (BALANCED,) if quick else range(len(LEVELS) - 1, BALANCED - 1, -1):
            found = [race(net, scene, ["auto"], level)["auto"]]
            if found[-1].f1 >= AGREED:
                break
        found += [race(net, scene, ["auto"], level)["auto"] for _ in range(0 if quick else min(runs, 2) - 1)]
        note = f"level {level}, F1 {found[-1].f1:.3f}, work {found[-1].work:.3f}"
        yield Figure(bar, [row.full_s * 1e3 for row in found], [row.method_s * 1e3 for row in found], note=note)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.video", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LIKEWISE_DATA", ".")))
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--video", action="append", choices=VIDEOS)
    parser.add_argument("--net", action="append", choices=list(NETS))
    parser.add_argument("--method", action="append", choices=list(METHODS))
    parser.add_argument("--level", type=int, choices=range(len(LEVELS)), default=BALANCED, help="of the default method")
    args = parser.parse_args()
    print("network    video    method     speedup  work   F1     same   state MB")
    for net in args.net or NETS:
        for video in args.video or VIDEOS:
            found = race(net, frames(args.data, video, args.frames), args.method or list(METHODS), args.level)
            for name, row in found.items():
                print(
                    f"{net:10} {video:8} {name:10} {row.speedup:7.2f} {row.work:6.3f} {row.f1:6.3f} {row.same:6.3f} "
                    f"{row.state_bytes / 1e6:8.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
