"""Two rows of pictures, a column for each workload: harvest against accuracy, and accuracy over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from likewise.errors import SettingsError
from likewise.evaluation.replay import Run
from likewise.evaluation.summary import summarize


def draw(runs: Sequence[Run], target: Path | BinaryIO) -> None:
    """Write the plot: to a file, whose ending says in which format, or as PNG. Raises SettingsError if it cannot be."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SettingsError("Plots need matplotlib; install it with `pip install 'likewise[evaluate]'`.") from error
    workloads = list(dict.fromkeys(run.workload for run in runs))
    policies = list(dict.fromkeys(run.policy for run in runs))
    colors = {policy: f"C{position % 10}" for position, policy in enumerate(policies)}
    figure = Figure(figsize=(1.0 + 4.0 * len(workloads), 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(workloads), squeeze=False)
    for column, workload in enumerate(workloads):
        above, below = axes[0][column], axes[1][column]
        mine = [run for run in runs if run.workload == workload]
        for policy in policies:
            points = [each for each in summarize(mine) if each.policy == policy]
            above.plot(
                [point.accuracy for point in points],
                [point.harvest for point in points],
                "o-",
                color=colors[policy],
                label=policy,
            )
            for aim in sorted({run.target for run in mine}):
                courses = [run.accuracy_so_far for run in mine if run.policy == policy and run.target == aim]
                if courses:
                    course = np.mean(np.array(courses), axis=0)
                    below.plot(np.linspace(0.0, 1.0, len(course)), course, color=colors[policy], linewidth=1.0)
        for aim in sorted({run.target for run in mine}):
            above.axvline(aim, color="0.7", linestyle=":", linewidth=1.0)
            below.axhline(aim, color="0.7", linestyle=":", linewidth=1.0)
        above.set(title=workload, xlabel="accuracy delivered", ylabel="harvest")
        below.set(xlabel="share of the stream", ylabel="accuracy so far (dotted: targets)")
    axes[0][0].legend(fontsize="small")
    try:
        if isinstance(target, Path):
            figure.savefig(str(target), dpi=120)
        else:
            figure.savefig(target, dpi=120, format="png")
    except (OSError, ValueError) as error:
        raise SettingsError(f"--plot {target}: cannot be written ({error}); name a .png, .svg or .pdf file.") from error
