"""Rows of the promise on video: the lowest share of answers that equal the full run's, over videos and coins.

`python -m benchmarks.video_promise --data DIR` prints each video by itself. The function is `roads`; the videos are
those of its workload, and five made of one of them: the lights go off and on, the camera is moved, cuts to and fro
between two scenes, exposure that flickers, and 1,000 frames while it slowly gets dark.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.judgement import Bar, Figure
from benchmarks.processes import ROOT
from likewise.evaluation.own import Subject
from likewise.evaluation.video.race import Player, Row
from likewise.workloads.videos import find_videos, read_video, to_and_fro

FRAMES, WIDTH, SEEDS = 400, 320, 5
SLOW, CUT, FLICKER = 1000, 40, 5
TARGETS = (0.95, 0.98)
BARS = {
    target: Bar(
        f"video/promise-{target:g}", f"lowest accuracy at target {target:g}, 9 videos × 5 coins", "", "1", target
    )
    for target in TARGETS
}


def videos(data: Path, limit: int) -> dict[str, list[np.ndarray]]:
    """Return frames by the name of the video."""
    found = {name: list(read_video(path, limit, WIDTH)) for name, path in find_videos(data).items()}
    road = next(iter(found.values()))
    first, last = len(road) // 3, 2 * len(road) // 3
    found["lights"] = [_lit(frame, 0.3) if first <= at < last else frame for at, frame in enumerate(road)]
    found["moved"] = [frame if at < first else np.roll(frame, (14, 24), (0, 1)) for at, frame in enumerate(road)]
    turned = [frame[:, ::-1] for frame in road]
    found["cuts"] = [(turned if at // CUT % 2 else road)[at] for at in range(len(road))]
    found["flicker"] = [_lit(frame, 1.0 - 0.03 * (at % FLICKER == 0)) for at, frame in enumerate(road)]
    slow = min(SLOW, 3 * limit)
    found["dusk"] = [_lit(road[at], 1.0 - 0.6 * n / slow) for n, at in enumerate(to_and_fro(len(road), slow))]
    return found


def _lit(frame: np.ndarray, share: float) -> np.ndarray:
    return (frame * share).astype(np.uint8)


def play(data: Path, limit: int, target: float, seeds: int) -> Iterator[Row]:
    """Yield what each video and coin came to."""
    player = Player(Subject(ROOT / "functions", "roads"))
    for (name, frames), seed in product(videos(data, limit).items(), range(seeds)):
        yield player.play("auto", name, frames, target, seed)


def rows(folder: Path, wanted: Any, runs: int, quick: bool) -> Iterator[Figure]:
    """Yield a figure for each target."""
    data = os.environ.get("LIKEWISE_DATA")
    for target, bar in BARS.items():
        if not wanted(bar):
            continue
        if not data:
            yield Figure(bar, note="set LIKEWISE_DATA to the folder of the data sets, see functions/README.md")
            continue
        found = list(play(Path(data), 12 if quick else FRAMES, target, 1 if quick else SEEDS))
        worst = min(found, key=lambda row: row.accuracy)
        mean = float(np.mean([row.accuracy for row in found]))
        yield Figure(bar, [worst.accuracy], [1.0], note=f"{worst.video}; mean {mean:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.video_promise", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LIKEWISE_DATA", ".")))
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    args = parser.parse_args()
    print("target video    frames  lowest  mean    speed-up  in part  probes")
    for target in TARGETS:
        found = list(play(args.data, args.frames, target, args.seeds))
        for name in dict.fromkeys(row.video for row in found):
            same = [row for row in found if row.video == name]
            numbers = [[row.accuracy, row.speedup, row.reused, row.probes] for row in same]
            mean = np.mean(numbers, axis=0)
            print(
                f"{target:<6g} {name:8} {same[0].frames:6}  {min(row.accuracy for row in same):.4f}  {mean[0]:.4f}"
                f"  {mean[1]:8.2f} {mean[2]:8.3f} {mean[3]:7.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
