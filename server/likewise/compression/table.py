"""The figures of networks side by side, printed and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from likewise.compression.measures import Row

CAPTION = (
    "agreement: share of inputs for which it says what the full model does; work: multiply-adds, zeros included; "
    "parameters: numbers that are not zero; features: numbers between layers; file: ONNX; packed: its .lwz; "
    "time: median of one input on one thread, in turns with the full model; energy: by a model, see docs/compression.md"
)


def table(rows: Sequence[Row], chosen: str = "") -> Table:
    """Return the table; the full model is the first row."""
    found = Table(caption=CAPTION)
    for title in ("", "", "how"):
        found.add_column(title, no_wrap=True)
    for title in ("accuracy", "agreement", "loss", "parameters", "features", "work", "file", "packed", "time, ms"):
        found.add_column(title, justify="right", no_wrap=True)
    found.add_column("energy, µJ", justify="right", no_wrap=True)
    full = rows[0]
    order = {"": 0, "weights": 1, "convolutions": 2, "architecture": 3, "combined": 4}
    before = ""
    for row in sorted(rows, key=lambda each: order.get(each.category, 9)):
        if row.category != before:
            found.add_section()
        found.add_row(
            f"▸ {row.name}" if row.name == chosen else row.name,
            row.category if row.category != before else "",
            row.how,
            "" if math.isnan(row.judged.accuracy) else f"{row.judged.accuracy:.4f}",
            f"{row.judged.agreement:.4f}",
            f"{row.loss:+.2f}" if row is not full else "",
            _count(row.counts.parameters),
            _count(row.counts.features),
            _count(row.counts.multiply_adds),
            _bytes(row.file_bytes, full.file_bytes),
            _bytes(row.packed_bytes, full.file_bytes),
            f"{1000 * row.latency_s:.3f}" + (f" ÷ {row.speedup:.2f}" if row is not full else ""),
            f"{1e6 * row.counts.energy_j:.0f}",
            style="bold" if row.name == chosen else None,
        )
        before = row.category
    return found


def as_json(row: Row) -> Mapping[str, Any]:
    """Return a row's figures."""
    return {
        "name": row.name,
        "category": row.category,
        "how": row.how,
        "agreement": row.judged.agreement,
        "accuracy": None if math.isnan(row.judged.accuracy) else row.judged.accuracy,
        "loss_points": row.loss,
        "parameters": row.counts.parameters,
        "features": row.counts.features,
        "multiply_adds": row.counts.multiply_adds,
        "file_bytes": row.file_bytes,
        "packed_bytes": row.packed_bytes,
        "memory_bytes": row.counts.memory_bytes,
        "latency_s": row.latency_s,
        "speedup": row.speedup,
        "energy_j": row.counts.energy_j,
        "making_s": row.seconds,
    }


def _count(number: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _bytes(number: int, full: int) -> str:
    text = f"{number / 1e6:.2f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"
    return text if number == full else f"{text} ÷ {full / number:.1f}"
