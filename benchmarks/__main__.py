"""`python -m benchmarks`: starts what it measures, on pinned cores, and prints one table of ratios.

Exit codes: 0 all was measured (the table says which bars hold), 2 wrong use, 3 the machine is too noisy to tell.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import (
    device,
    estimates,
    fleet,
    in_process,
    lookups,
    million,
    misses,
    overload,
    sdk,
    streams,
    video,
    video_promise,
)
from benchmarks.judgement import NOISE_LIMIT, Bar, Figure, table, write
from benchmarks.processes import CORES, ROOT, Failed

Wanted = Callable[[Bar], bool]
Measure = Callable[[Path, Wanted, int, bool], Iterator[Figure]]

REPEATS = 2
"""Rounds more for a row that was disturbed."""


def _one(bar: Bar, measure: Callable[[Path, int, bool], Figure]) -> tuple[tuple[Bar, ...], Measure]:
    return (bar,), lambda folder, wanted, runs, quick: iter([measure(folder, runs, quick)])


GROUPS: list[tuple[tuple[Bar, ...], Measure]] = [
    ((lookups.ECHO, lookups.FASTAPI, lookups.GPTCACHE, lookups.AS_JSON, lookups.BATCH), lookups.lookups),
    _one(in_process.LOOKUP, in_process.in_process),
    ((device.TIME, device.RATIO), device.rows),
    ((lookups.PICTURE, lookups.NEW_PICTURE), lookups.infer_hits),
    (
        (million.GROWTH, million.TAIL, million.PAUSE, million.MEMORY),
        lambda folder, wanted, runs, quick: million.million(folder, runs, quick),
    ),
    ((misses.MISS, misses.BEHIND, misses.SATURATION, misses.OVERLOAD), misses.misses),
    _one(overload.LADDER, overload.ladder),
    (tuple(video.BARS.values()), video.rows),
    ((sdk.INFER, sdk.LOOKUP), lambda folder, wanted, runs, quick: sdk.rows(folder, runs, quick)),
    (
        (estimates.TIME, estimates.MEMORY),
        lambda folder, wanted, runs, quick: estimates.figures(folder, runs, quick),
    ),
    (tuple(video_promise.BARS.values()), video_promise.rows),
    _one(streams.SIGNS, lambda folder, runs, quick: streams.demo(streams.SIGNS, folder, runs, quick)),
    _one(streams.SPEECH, lambda folder, runs, quick: streams.demo(streams.SPEECH, folder, runs, quick)),
    (fleet.BARS, lambda folder, wanted, runs, quick: fleet.rows(folder, runs, quick)),
]
NAMES = sorted({part for bars, _ in GROUPS for bar in bars for part in (bar.name, bar.name.partition("/")[0])})


def measure(wanted: Wanted, runs: int, quick: bool) -> list[Figure]:
    """Run the rows that are wanted, in the order of the table; what cannot be run says why in its row."""
    figures: list[Figure] = []
    for bars, group in GROUPS:
        asked = [bar for bar in bars if wanted(bar)]
        if not asked:
            continue
        print("measuring", ", ".join(bar.name for bar in asked), flush=True)
        found = _round(asked, group, wanted, runs, quick)
        for _ in range(0 if quick else REPEATS):
            disturbed = {figure.bar: figure for figure in found if _needs_repeating(figure)}
            if not disturbed:
                break
            print("  disturbed, measured again:", ", ".join(bar.name for bar in disturbed), flush=True)
            again = {each.bar: each for each in _round(list(disturbed), group, disturbed.__contains__, runs, quick)}
            found = [_better(figure, again.get(figure.bar)) for figure in found]
        figures += found
    return figures


def _needs_repeating(figure: Figure) -> bool:
    return figure.measured and figure.disturbed and not figure.bar.holds(figure.ratio)


def _better(before: Figure, again: Figure | None) -> Figure:
    """Return the new round where its baseline is not far below the best of either; else both, disturbed."""
    if again is None or not again.measured:
        return before
    together = again.with_runs_of(before)
    best = max if again.bar.unit.endswith("/s") else min
    quiet = best(again.baselines) == best(together.baselines) and not again.disturbed
    return again if quiet else together


def _round(bars: list[Bar], group: Measure, wanted: Wanted, runs: int, quick: bool) -> list[Figure]:
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="likewise-bench-") as folder:
        try:
            for figure in group(Path(folder), wanted, runs, quick):
                if wanted(figure.bar):
                    print(f"  {figure.bar.name}: {figure.ratio:.3g} ({figure.bar.written})", flush=True)
                    found.append(figure)
        except Failed as error:
            done = {figure.bar for figure in found}
            found += [Figure(bar, note=f"could not be run: {error}") for bar in bars if bar not in done]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each side [5]")
    parser.add_argument(
        "--quick", action="store_true", help="a moment of everything, to see that it works; judges nothing"
    )
    parser.add_argument(
        "--noise-limit", type=float, default=NOISE_LIMIT, help=f"spread of the baseline [{NOISE_LIMIT}]"
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results.json", help="where to write figures"
    )
    args = parser.parse_args()
    if args.runs < 5 and not args.quick:
        parser.error("--runs: at least 5, or the medians say little")

    def wanted(bar: Bar) -> bool:
        return not args.only or bar.name in args.only or bar.name.partition("/")[0] in args.only

    figures = measure(wanted, 1 if args.quick else args.runs, args.quick)
    print()
    print(table(figures, None if args.quick else args.noise_limit))
    print(f"{len(CORES)} cores, load average {os.getloadavg()[0]:.1f}; rates are per second of the server's core")
    if args.quick:
        broken = [figure for figure in figures if "could not be run:" in figure.note]
        return 1 if broken else 0
    write(args.output, figures, args.noise_limit)
    noisy = [figure.bar.name for figure in figures if figure.measured and figure.ok(args.noise_limit) is None]
    missed = [figure.bar.name for figure in figures if figure.ok(args.noise_limit) is False]
    held = sum(figure.ok(args.noise_limit) is True for figure in figures)
    print(f"bars that hold: {held} of {len(figures)}" + (f"; missed: {', '.join(missed)}" if missed else ""))
    if noisy:
        print(
            f"TOO NOISY TO TELL: {', '.join(noisy)}. Runs of the same thing differed by more than "
            f"{args.noise_limit:.0%}, or the idle server was disturbed; end what else runs here and run it again.",
            file=sys.stderr,
        )
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
