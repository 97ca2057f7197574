"""What the terminal shows: bars while a run goes on, tables at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from likewise_fleet.document import TITLES, rows, summary
from likewise_fleet.plan import Plan
from likewise_fleet.run import Outcome


def progress_bars(console: Console) -> Progress:
    """Return bars for several ways, which stay away where nobody looks."""
    columns = (TextColumn("{task.description:26}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, refresh_per_second=4, disable=not console.is_terminal)


def table(plan: Plan, outcome: Outcome) -> Table:
    """Return the figures for the terminal."""
    made = Table(title=summary(plan, outcome), title_justify="left")
    head, *body = rows(outcome)
    for at, name in enumerate(head):
        made.add_column(name, justify="right" if at else "left", no_wrap=not at)
    for row in body:
        made.add_row(*row)
    return made


def simulation_tables(found: dict[str, Any]) -> Iterator[Table]:
    """Yield what a simulation came to: the ways, what ends first, and how well the real run is met."""
    real = found["calibrated_on"]
    ways = Table(
        title=f"{found['phones']:,} phones, {found['nodes']:,} nodes, {found['places']:,} places on {real['network']}: "
        f"{found['requests']:,} requests simulated from empty caches, like a real run of {real['phones']} phones",
        title_justify="left",
    )
    for name in ("", "accuracy", "mean ms", "p50", "p99", "J/phone", "kB each", "computed", "from device", "from edge"):
        ways.add_column(name, justify="right" if name else "left", no_wrap=not name)
    for way, f in found["ways"].items():
        ways.add_row(
            TITLES[way], f"{f['accuracy']:.4f}", f"{f['mean_ms']:.1f}", f"{f['p50_ms']:.1f}", f"{f['p99_ms']:.1f}",
            f"{f['joules'] / found['phones']:.2f}", f"{f['bytes'] / f['requests'] / 1000:.2f}",
            f"{f['inferences'] / f['requests']:.1%}", f"{f['device_hits'] / f['requests']:.1%}",
            f"{f['edge_hits'] / f['requests']:.1%}",
        )  # fmt: skip
    yield ways
    ends = Table(title="what ends first, and what to do then", title_justify="left")
    for name in ("resource", "used", "short from phones", "then"):
        ends.add_column(name, justify="right" if name in ("used", "short from phones") else "left")
    for each in found["resources"]:
        ends.add_row(each["name"], f"{each['used']:.1%}", f"{each['ends_at_phones']:,}", each["remedy"])
    yield ends
    off = Table(title="the real run simulated again: how far each figure is off", title_justify="left")
    for name in ("", "mean latency", "energy", "bytes", "inferences"):
        off.add_column(name, justify="right" if name else "left")
    for way, each in found["agreement"].items():
        off.add_row(TITLES[way], *(f"{share:+.1%}" for share in each.values()))
    yield off


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write figures to a file, in a folder that may have to be made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
