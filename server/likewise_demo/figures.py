"""Plots of a demonstration, as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from likewise_demo.phones import Play
from likewise_demo.scores import Scores

REUSE, WITHOUT, TARGET = "#0b6e4f", "#b56576", "#333333"


def draw(folder: Path, scores: Scores, reuse: Play, without: Play) -> list[Path]:
    """Write the plots into a folder and return their paths."""
    return [_stream(folder / "stream.png", scores), _latency(folder / "latency.png", scores, reuse, without)]


def _stream(path: Path, scores: Scores) -> Path:
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    if scores.curve:
        at, hit_rate, accuracy = zip(*scores.curve, strict=True)
        axes.plot(at, hit_rate, color=REUSE, label="hit rate, last 100 requests")
        axes.plot(at, accuracy, color="#3d5a80", label="accuracy so far")
    axes.axhline(scores.target, color=TARGET, linestyle="--", linewidth=1, label=f"target {scores.target:.0%}")
    axes.set(xlabel="requests", ylim=(0, 1.02), title=f"{scores.workload}: hit rate and accuracy over the stream")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", frameon=False)
    return _save(figure, path)


def _latency(path: Path, scores: Scores, reuse: Play, without: Play) -> Path:
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for play, color, name in ((without, WITHOUT, "without reuse"), (reuse, REUSE, "with reuse")):
        ms = np.sort(1000 * np.array([s for s in play.seconds if s] or [0.001]))
        axes.step(ms, np.arange(1, len(ms) + 1) / len(ms), color=color, label=f"{name}, mean {ms.mean():.1f} ms")
    axes.set(xscale="log", xlabel=f"latency that {scores.senders} saw, ms", ylabel="share of requests", ylim=(0, 1.02))
    axes.set_title(f"{scores.workload}: mean latency {scores.speedup:.1f} times lower")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.25, which="both")
    axes.legend(loc="upper left", frameon=False)
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    return path
