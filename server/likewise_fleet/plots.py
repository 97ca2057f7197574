"""Plots of a run, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from likewise_fleet.document import TITLES
from likewise_fleet.records import From
from likewise_fleet.run import Outcome

COLORS = {
    "device": "#b56576",
    "edge_no_reuse": "#e09f3e",
    "device_cache": "#6a4c93",
    "edge_cache": "#3d5a80",
    "both": "#0b6e4f",
}


def draw(folder: Path, outcome: Outcome) -> list[Path]:
    """Write the plots into a folder and return their paths."""
    ways = [way for way in TITLES if way in outcome.figures]
    return [
        _latency(folder / "latency.png", outcome, ways),
        _energy(folder / "energy.png", outcome, ways),
        _sources(folder / "sources.png", outcome, ways),
        _phones(folder / "phones.png", outcome, ways),
    ]


def _latency(path: Path, outcome: Outcome, ways: Sequence[str]) -> Path:
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for way in ways:
        ms = np.sort([1000 * each.latency_s for each in outcome.answers[way]])
        label = f"{TITLES[way]}, mean {ms.mean():.1f} ms"
        axes.step(ms, np.arange(1, len(ms) + 1) / len(ms), color=COLORS[way], label=label)
    axes.set(xscale="log", xlabel="latency that a phone saw, ms", ylabel="share of requests", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.25, which="both")
    axes.legend(loc="upper left", frameon=False)
    return _save(figure, path)


def _energy(path: Path, outcome: Outcome, ways: Sequence[str]) -> Path:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    names = [TITLES[way] for way in ways]
    count = sum(outcome.figures[way].requests for way in ways[:1]) or 1
    radio = [1000 * outcome.figures[way].radio_joules / count for way in ways]
    compute = [1000 * outcome.figures[way].compute_joules / count for way in ways]
    axes.barh(names, compute, color="#b56576", label="computing")
    axes.barh(names, radio, left=compute, color="#3d5a80", label="radio")
    axes.set(xlabel="energy of a phone for one request, mJ")
    axes.invert_yaxis()
    axes.legend(frameon=False)
    return _save(figure, path)


def _sources(path: Path, outcome: Outcome, ways: Sequence[str]) -> Path:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    colors = ("#b56576", "#6a4c93", "#e09f3e", "#0b6e4f", "#333333")
    left = np.zeros(len(ways))
    for source, color in zip(From, colors, strict=True):
        share = np.array([np.mean([each.source is source for each in outcome.answers[way]]) for way in ways])
        axes.barh([TITLES[way] for way in ways], share, left=left, color=color, label=source.value)
        left += share
    axes.set(xlabel="where answers came from", xlim=(0, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=5, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    return _save(figure, path)


def _phones(path: Path, outcome: Outcome, ways: Sequence[str]) -> Path:
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for way in ways:
        found = outcome.by_phone[way]
        x, y = [each.mean_ms for each in found], [1000 * each.joules / each.requests for each in found]
        axes.scatter(x, y, color=COLORS[way], label=TITLES[way], alpha=0.7)
    axes.set(xscale="log", yscale="log", xlabel="mean latency of a phone, ms", ylabel="energy a request, mJ")
    axes.grid(alpha=0.25, which="both")
    axes.legend(frameon=False)
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    return path
