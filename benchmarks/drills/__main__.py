"""`python -m benchmarks.drills`: breaks things on purpose, and prints one table of figures and bars.

Exit codes: 0 all bars hold or could not be judged, 1 a bar was missed or a drill could not be run, 2 wrong use.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.drills import (
    attacks,
    clients,
    cost,
    fleet,
    invalidation,
    kill,
    outage,
    restart,
    sharing,
    watch,
    workers,
)
from benchmarks.judgement import NOISE_LIMIT, Bar, Figure, table, write
from benchmarks.processes import CORES, ROOT, Failed

Drill = Callable[[Path, bool], Iterator[Figure]]

DRILLS: dict[str, tuple[tuple[Bar, ...], Drill]] = {
    "kill": (kill.BARS, kill.drill),
    "restart": (restart.BARS, restart.drill),
    "workers": (workers.BARS, workers.drill),
    "sharing": (sharing.BARS, sharing.drill),
    "outage": (outage.BARS, outage.drill),
    "invalidation": (invalidation.BARS, invalidation.drill),
    "clients": (clients.BARS, clients.drill),
    "cost": (cost.BARS, cost.drill),
    "watch": (watch.BARS, watch.drill),
    "fleet": (fleet.BARS, fleet.drill),
    **{f"attack-{name}": (attacks.bars(name), partial(attacks.drill, name)) for name in attacks.ATTACKS},
}


def drills(names: list[str], quick: bool) -> Iterator[Figure]:
    """Run drills; what cannot be run says why in its row."""
    for name in names:
        bars, drill = DRILLS[name]
        print(f"drill {name}", flush=True)
        began, done = time.monotonic(), set()
        with tempfile.TemporaryDirectory(prefix="likewise-drill-", ignore_cleanup_errors=True) as folder:
            try:
                for figure in drill(Path(folder), quick):
                    print(f"  {figure.bar.what}: {figure.ratio:.4g} ({figure.bar.written}) {figure.note}", flush=True)
                    done.add(figure.bar)
                    yield figure
            except (Failed, OSError) as error:
                print(f"  could not be run: {error}", flush=True)
                yield from (Figure(bar, note=f"could not be run: {error}") for bar in bars if bar not in done)
        print(f"  took {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drills", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=DRILLS, metavar="NAME", help=f"one of {', '.join(DRILLS)}")
    parser.add_argument("--quick", action="store_true", help="a moment of each, to see that it works; judges nothing")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "drills.json", help="where to write figures"
    )
    args = parser.parse_args()
    figures = list(drills(args.only or list(DRILLS), args.quick))
    print()
    print(table(figures, None if args.quick else NOISE_LIMIT))
    print(f"{len(CORES)} cores, load average {os.getloadavg()[0]:.1f}")
    if not args.quick:
        write(args.output, figures, NOISE_LIMIT)
    broken = [figure for figure in figures if "could not be run:" in figure.note]
    missed = [] if args.quick else [figure.bar.name for figure in figures if figure.ok(NOISE_LIMIT) is False]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if broken or missed else 0


if __name__ == "__main__":
    sys.exit(main())
