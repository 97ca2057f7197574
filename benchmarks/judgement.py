"""What was measured, against which baseline, and whether the bar holds, or the machine is too noisy to tell."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

NOISE_LIMIT = 0.15
"""Spread of the baseline's runs, as a share of their median, from which a close verdict is not given."""

DISTURBED = 0.75
"""A baseline whose median is below this share of its best run was disturbed."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a row promises."""

    name: str
    """Unique; the part before the slash is what `--only` takes."""
    what: str
    """The row in words."""
    unit: str
    baseline: str
    """What the value is divided by."""
    limit: float
    at_most: bool = False
    """True: the ratio may be at most the limit; False: it has to be at least that."""

    def holds(self, ratio: float) -> bool:
        """Say whether a ratio is on the right side."""
        return ratio <= self.limit if self.at_most else ratio >= self.limit

    @property
    def written(self) -> str:
        """The bar as one writes it."""
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}"


@dataclass(slots=True)
class Figure:
    """The runs of one row."""

    bar: Bar
    values: Sequence[float] = ()
    baselines: Sequence[float] = ()
    """As many as values, run in turn with them; or one 1.0 where the value is judged by itself."""
    noise: float | None = None
    """Spread measured otherwise than from the baselines, as a share."""
    blind: bool = False
    """True: the machine alone is past the bar, so that the row cannot be judged on it."""
    note: str = ""
    """What else there is to say; why it was not measured, where it was not."""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """False where the row could not be run here."""
        return bool(self.values)

    @property
    def value(self) -> float:
        """Median of the runs."""
        return median(self.values) if self.values else math.nan

    @property
    def baseline(self) -> float:
        """Median of the baseline's runs."""
        return median(self.baselines) if self.baselines else math.nan

    @property
    def ratio(self) -> float:
        """Median of the ratios of neighboring runs: what slows both down for a while cancels out."""
        return median(self._ratios) if self.values else math.nan

    @property
    def _ratios(self) -> list[float]:
        bases = self.baselines if len(self.baselines) == len(self.values) else [self.baseline] * len(self.values)
        return [value / base for value, base in zip(self.values, bases, strict=True)]

    @property
    def spread(self) -> float:
        """How far the baseline's runs lie apart, the two outermost left out, as a share of their median."""
        if self.noise is not None:
            return self.noise
        inner = sorted(self.baselines)[1:-1] if len(self.baselines) >= 5 else sorted(self.baselines)
        return (inner[-1] - inner[0]) / self.baseline if inner and self.baseline else 0.0

    @property
    def disturbed(self) -> bool:
        """Whether the machine was busy with something else: the baseline is far below its own best of these runs."""
        if len(self.baselines) < 3:
            return False
        best = max(self.baselines) if self.bar.unit.endswith("/s") else min(self.baselines)
        return not DISTURBED <= self.baseline / best <= 1 / DISTURBED if best else False

    def with_runs_of(self, other: Figure) -> Figure:
        """Return this row with the runs of an earlier round of it added."""
        both = len(self.values) == len(self.baselines) and len(other.values) == len(other.baselines)
        if not both or not other.measured:
            return self
        runs = [*other.values, *self.values], [*other.baselines, *self.baselines]
        return replace(self, values=runs[0], baselines=runs[1])

    def ok(self, noise_limit: float) -> bool | None:
        """Say whether the bar holds; None: not measured, disturbed, or too noisy to tell.

        Noise forbids a verdict only where single runs would disagree on it. A bar that holds on a disturbed machine
        holds; one that does not is not told to be missed.
        """
        if not self.measured or self.blind or (self.disturbed and not self.bar.holds(self.ratio)):
            return None
        ratios = sorted(self._ratios)
        if len(ratios) >= 5:
            ratios = ratios[1:-1]
        split = self.bar.holds(ratios[0]) != self.bar.holds(ratios[-1])
        if split and self.spread > noise_limit:
            return None
        return self.bar.holds(self.ratio)

    def verdict(self, noise_limit: float) -> str:
        """Return the verdict in a word or two."""
        if not self.measured:
            return "not measured"
        ok = self.ok(noise_limit)
        if ok is None and self.disturbed:
            return "disturbed"
        return "too noisy" if ok is None else "holds" if ok else "missed"

    def document(self, noise_limit: float) -> dict[str, Any]:
        """Return the row as JSON."""
        return {
            "name": self.bar.name,
            "value": _number(self.value),
            "unit": self.bar.unit,
            "baseline": {"what": self.bar.baseline, "value": _number(self.baseline)},
            "ratio": _number(self.ratio),
            "bar": self.bar.written,
            "ok": self.ok(noise_limit),
            "runs": {"value": list(map(_number, self.values)), "baseline": list(map(_number, self.baselines))},
            "spread": _number(self.spread) if self.measured else None,
            "note": self.note,
            **({"detail": self.detail} if self.detail else {}),
        }


def write(path: Path, figures: Sequence[Figure], noise_limit: float) -> None:
    """Write results.json; rows that were not run this time stay as they were there."""
    rows: dict[str, Any] = {}
    if path.is_file():
        rows = {row["name"]: row for row in json.loads(path.read_text())}
    rows |= {figure.bar.name: figure.document(noise_limit) for figure in figures}
    path.write_text(json.dumps(list(rows.values()), indent=1) + "\n")


def table(figures: Sequence[Figure], noise_limit: float | None) -> str:
    """Return the table of ratios as text; noise_limit: None judges nothing."""
    rows = [("what", "value", "baseline", "ratio", "bar", "verdict")]
    for figure in figures:
        base = f"{_short(figure.baseline)} {figure.bar.baseline}" if figure.measured else figure.bar.baseline
        if figure.bar.baseline == "":
            base = ""
        rows.append(
            (
                figure.bar.what,
                f"{_short(figure.value)} {figure.bar.unit}" if figure.measured else "-",
                base,
                f"{figure.ratio:.3g}" if figure.measured else "-",
                figure.bar.written,
                "-" if noise_limit is None and figure.measured else figure.verdict(noise_limit or 0.0),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("─" * width for width in widths))
    lines += [f"  {figure.bar.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join(lines)


def _short(number: float) -> str:
    if math.isnan(number):
        return "-"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _number(number: float) -> float | None:
    return round(number, 6) if math.isfinite(number) else None
