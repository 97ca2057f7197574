"""How it goes, on a terminal, and how it went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from likewise_watch.counts import Counts


class Progress:
    """A table of counts that follows them while the block runs; nothing where standard error is no terminal."""

    def __init__(self, console: Console, counts: Sequence[Counts]) -> None:
        self._counts = counts
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self) -> None:
        """Draw what the counts are now."""
        if self._live is not None:
            self._live.update(_table(self._counts), refresh=True)


def _table(counts: Sequence[Counts]) -> Table:
    table = Table("stream", "state")
    for title in ("read", "sent", "dropped", "hits", "latency", "reconnects"):
        table.add_column(title, justify="right")
    for each in counts:
        numbers = (each.read, each.sent, each.dropped, each.hits)
        row = (*(f"{number:,}" for number in numbers), _milliseconds(each.mean_latency_s), str(each.reconnects))
        table.add_row(each.name, each.state, *row)
    return table


def summary(counts: Counts) -> str:
    """Return in a line how a source went."""
    parts = [
        f"{counts.read:,} frames read",
        f"{counts.sent:,} sent",
        f"{counts.dropped:,} dropped",
        f"{counts.hits:,} hits{f' ({counts.hits / counts.answered:.0%})' if counts.answered else ''}",
        f"mean latency {_milliseconds(counts.mean_latency_s)}",
        f"{counts.reconnects} reconnects",
    ]
    for number, what in (
        (counts.failed, "failed"),
        (counts.undecodable, "packets undecodable"),
        (counts.server_losses, "times without the server"),
    ):
        if number:
            parts.append(f"{number:,} {what}")
    return f"{counts.name}: {', '.join(parts)}"


def _milliseconds(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{seconds * 1000:.1f} ms"
