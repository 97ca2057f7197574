"""The verb's part for videos: arguments, the table, the files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from likewise.errors import InvalidValue, SettingsError
from likewise.evaluation.console import names, progress, targets, wide
from likewise.evaluation.own import Subject
from likewise.function.spec import VIDEO_METHODS
from likewise.workloads.videos import Frames, find_videos, read_video, to_and_fro

if TYPE_CHECKING:
    from likewise.evaluation.video.race import Row

WORKLOAD = "roads"
FRAMES = 400
"""Of a video that are played where --requests says nothing, at most."""
HELD = 1200
"""Frames of a video in memory; a longer play goes to and fro."""
WIDTH = 640
"""Pixels to which wider frames are brought before they are kept."""
TITLES = ("video", "method", "target", "frames", "speed-up", "work", "accuracy", "F1", "in part", "probes", "state")
CAPTION = (
    "speed-up: time of full runs ÷ the method's with all its probes, on one core; work: multiply-adds in full runs; "
    "accuracy: answers that equal the full run's; in part: answered from what changed"
)


def wanted(args: argparse.Namespace) -> bool:
    """Say whether the arguments ask for videos. Raises InvalidValue where they ask for other things, too."""
    asked = bool(args.method or args.source)
    workloads = names(args.workload, "--workload")
    if WORKLOAD not in workloads:
        if asked and not args.source:
            raise InvalidValue(f"--method is for video; add --workload {WORKLOAD} or --source FILE.")
        return asked
    if len(workloads) > 1:
        raise InvalidValue(f"--workload {WORKLOAD} is played by itself: its table has other columns.")
    if args.inputs or args.plot or args.held_out:
        raise InvalidValue("--inputs, --plot and --held-out are not for video; see --source and --html.")
    return True


def run(args: argparse.Namespace) -> int:
    """Play all videos by all methods, print the table, write the files; return the exit code. Raises LikewiseError."""
    try:
        from likewise.evaluation.video.race import Player
    except ImportError as error:
        raise SettingsError(
            "Video needs more than the server; install it with `pip install 'likewise[video]'`."
        ) from error
    from likewise.evaluation.video.page import Masks, write_page

    methods = _methods(args.method)
    goals = targets(args.target)
    seeds = 1 if args.seeds is None else args.seeds
    if seeds < 1 or (args.requests is not None and args.requests < 2):
        raise InvalidValue("--seeds is at least 1, and --requests, the frames of each video, at least 2.")
    videos = _videos(args.source, args.data)
    player = Player(Subject(args.functions, args.function or WORKLOAD))
    rows: list[Row] = []
    masks = Masks()
    with progress(len(videos) * len(methods) * len(goals) * seeds, "videos") as advance:
        for name, path in videos.items():
            kept = list(read_video(path, min(HELD, args.requests or FRAMES), WIDTH))
            for method in methods:
                for target in goals:
                    for seed in range(seeds):
                        seen = None if args.html is None or seed or target != goals[0] else masks.of(name, method)
                        frames = _played(kept, args.requests or len(kept))
                        rows.append(player.play(method, name, frames, target, seed, seen))
                        advance(1)
    console = wide()
    print_table(rows, console)
    if args.json is not None:
        try:
            args.json.write_bytes(orjson.dumps([row.as_json() for row in rows], option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise SettingsError(f"--json {args.json}: cannot be written ({error.strerror}).") from error
    if args.html is not None:
        write_page(TITLES, lines(rows), CAPTION, masks, args.html)
    return 0


def lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the cells of a table: a line for each video, method and target, over all seeds."""
    from likewise.evaluation.video.race import mean_row

    found: list[tuple[str, ...]] = []
    for (video, method, target), group in groupby(rows, key=lambda row: (row.video, row.method, row.target)):
        same = list(group)
        mean, lowest = mean_row(same), min(row.accuracy for row in same)
        found.append(
            (
                video, method, f"{target:g}", str(same[0].frames), f"{mean['speedup']:.2f}", f"{mean['work']:.3f}",
                f"{mean['accuracy']:.4f}" + (f" (lowest {lowest:.4f})" if len(same) > 1 else ""), f"{mean['f1']:.4f}",
                f"{mean['reused']:.3f}", f"{mean['probes']:.3f}",
                f"{max(row.state_bytes for row in same) / 1e6:.1f} MB",
            )
        )  # fmt: skip
    return found


def print_table(rows: Sequence[Row], console: Console) -> None:
    """Print a line for each video, method and target."""
    table = Table(caption=CAPTION)
    for place, title in enumerate(TITLES):
        table.add_column(title, justify="left" if place < 2 else "right", no_wrap=True)
    found = lines(rows)
    for at, line in enumerate(found):
        if at and line[0] != found[at - 1][0]:
            table.add_section()
        table.add_row(*line)
    console.print(table)


def _methods(text: str | None) -> tuple[str, ...]:
    if text is None:
        return VIDEO_METHODS
    found = names(text, "--method")
    strange = [name for name in found if name not in VIDEO_METHODS]
    if strange:
        raise InvalidValue(f"There is no video method `{strange[0][:64]}`; choose of {', '.join(VIDEO_METHODS)}.")
    return found


def _videos(sources: Sequence[Path] | None, data: Path | None) -> dict[str, Path]:
    """Return the videos to play, by name."""
    if not sources:
        return find_videos(Path(data) if data is not None else None, WORKLOAD)
    found: dict[str, Path] = {}
    for path in sources:
        name = path.stem or str(path)
        while name in found:
            name += "'"
        found[name] = path
    return found


def _played(kept: Sequence[Frames], length: int) -> Iterator[Frames]:
    for at in to_and_fro(len(kept), length):
        yield kept[at]
