"""Rows of pictures, a column for each workload: harvest against accuracy, accuracy over time, compute by target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from likewise.errors import SettingsError
from likewise.evaluation.replay import Run
from likewise.evaluation.summary import summarize

STYLES = ("-", "--", "-.", ":")
"""Of lines, by ladder."""


def draw(runs: Sequence[Run], target: Path | BinaryIO) -> None:
    """Write the plot: to a file, whose ending says in which format, or as PNG. Raises SettingsError if it cannot be."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SettingsError("Plots need matplotlib; install it with `pip install 'likewise[evaluate]'`.") from error
    ladders = list(dict.fromkeys(run.ladder for run in runs))
    rows = 2 if ladders == ["off"] else 3
    workloads = list(dict.fromkeys(run.workload for run in runs))
    policies = list(dict.fromkeys(run.policy for run in runs))
    colors = {policy: f"C{position % 10}" for position, policy in enumerate(policies)}
    figure = Figure(figsize=(1.0 + 4.0 * len(workloads), 3.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, len(workloads), squeeze=False)
    for column, workload in enumerate(workloads):
        above, below = axes[0][column], axes[1][column]
        mine = [run for run in runs if run.workload == workload]
        for policy in policies:
            for ladder in ladders:
                points = [each for each in summarize(mine) if (each.policy, each.ladder) == (policy, ladder)]
                style = STYLES[ladders.index(ladder) % len(STYLES)]
                name = policy if len(ladders) == 1 else f"{policy}, ladder {ladder}"
                above.plot(
                    [point.accuracy for point in points],
                    [point.harvest for point in points],
                    style,
                    marker="o",
                    color=colors[policy],
                    label=name,
                )
                if rows == 3:
                    axes[2][column].plot(
                        [point.target for point in points],
                        [point.compute for point in points],
                        style,
                        marker="o",
                        color=colors[policy],
                        label=name,
                    )
                for aim in sorted({run.target for run in mine}):
                    courses = [
                        run.accuracy_so_far
                        for run in mine
                        if (run.policy, run.ladder, run.target) == (policy, ladder, aim)
                    ]
                    if courses:
                        course = np.mean(np.array(courses), axis=0)
                        below.plot(
                            np.linspace(0.0, 1.0, len(course)), course, style, color=colors[policy], linewidth=1.0
                        )
        for aim in sorted({run.target for run in mine}):
            above.axvline(aim, color="0.7", linestyle=":", linewidth=1.0)
            below.axhline(aim, color="0.7", linestyle=":", linewidth=1.0)
        above.set(title=workload, xlabel="accuracy delivered", ylabel="harvest")
        below.set(xlabel="share of the stream", ylabel="accuracy so far (dotted: targets)")
        if rows == 3:
            axes[2][column].set(xlabel="accuracy target", ylabel="mean full inferences per request")
            axes[2][column].set_ylim(bottom=0.0)
    axes[0][0].legend(fontsize="small")
    try:
        if isinstance(target, Path):
            figure.savefig(str(target), dpi=120)
        else:
            figure.savefig(target, dpi=120, format="png")
    except (OSError, ValueError) as error:
        raise SettingsError(f"--plot {target}: cannot be written ({error}); name a .png, .svg or .pdf file.") from error
