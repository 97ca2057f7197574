"""Runs over several seeds, put together: means, confidence intervals, and runs below target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev

from likewise.evaluation.replay import Run

# Student's t, two-sided 95 %, by degrees of freedom from 1; beyond, the normal's 1.96 is near enough.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """One workload, policy and target over all seeds."""

    workload: str
    policy: str
    ladder: str
    target: float
    seeds: int
    harvest: float
    harvest_error: float
    """Half the width of the 95 % confidence interval; NaN from one seed."""
    first_harvest: float
    """Mean over the first requests of each run."""
    accuracy: float
    accuracy_error: float
    lowest_accuracy: float
    below: int
    """Runs whose accuracy ended below the target."""
    compute: float
    """Mean full inferences per request, see `Run.compute`."""
    probes: float
    entries: float
    hit_us: float
    computed_us: float


def half_width(values: Sequence[float]) -> float:
    """Return half the width of the 95 % confidence interval of the mean, by Student's t; NaN for fewer than two."""
    if len(values) < 2:
        return math.nan
    freedom = len(values) - 1
    t = _T[freedom - 1] if freedom <= len(_T) else 1.96
    return t * stdev(values) / math.sqrt(len(values))


def summarize(runs: Iterable[Run]) -> list[Summary]:
    """Return one summary for each workload, policy, ladder and target, in the order in which they first come."""
    groups: dict[tuple[str, str, str, float], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.policy, run.ladder, run.target), []).append(run)
    return [_summary(*key, group) for key, group in groups.items()]


def _summary(workload: str, policy: str, ladder: str, target: float, runs: Sequence[Run]) -> Summary:
    harvests = [run.harvest for run in runs]
    accuracies = [run.accuracy for run in runs]
    return Summary(
        workload=workload,
        policy=policy,
        ladder=ladder,
        target=target,
        seeds=len(runs),
        harvest=mean(harvests),
        harvest_error=half_width(harvests),
        first_harvest=mean(run.first_harvest for run in runs),
        accuracy=mean(accuracies),
        accuracy_error=half_width(accuracies),
        lowest_accuracy=min(accuracies),
        below=sum(accuracy < target - 1e-12 for accuracy in accuracies),
        compute=mean(run.compute for run in runs),
        probes=mean(run.probes for run in runs),
        entries=mean(run.entries for run in runs),
        hit_us=median(run.hit_us for run in runs),
        computed_us=median(run.computed_us for run in runs),
    )


CAPTION = "± is half of a 95 % confidence interval over seeds; µs are medians of decide and learn"
"""What a table of summaries needs to be understood."""


def titles(first: int) -> tuple[str, ...]:
    """Return the titles of a table's columns. first: requests that the first impression is taken from."""
    return (
        "workload", "policy", "ladder", "target", "compute", "harvest", f"first {first}", "accuracy", "lowest", "below",
        "probes", "entries", "µs/hit", "µs/computed",
    )  # fmt: skip


def rows(summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
    """Return a table's rows, as text."""
    return [
        (
            row.workload,
            row.policy,
            row.ladder,
            f"{row.target:g}",
            "" if math.isnan(row.compute) else f"{row.compute:.4f}",
            _with_error(row.harvest, row.harvest_error),
            f"{row.first_harvest:.3f}",
            _with_error(row.accuracy, row.accuracy_error),
            f"{row.lowest_accuracy:.4f}",
            f"{row.below}/{row.seeds}",
            f"{row.probes:.0f}",
            f"{row.entries:.0f}",
            f"{row.hit_us:.1f}",
            f"{row.computed_us:.1f}",
        )
        for row in summaries
    ]


def mean_rows(summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
    """Return a row of means for each policy, ladder and target; none where there is one workload."""
    if len({row.workload for row in summaries}) < 2:
        return []
    found: list[tuple[str, ...]] = []
    for policy, ladder, target in dict.fromkeys((row.policy, row.ladder, row.target) for row in summaries):
        same = [row for row in summaries if (row.policy, row.ladder, row.target) == (policy, ladder, target)]
        found.append(
            (
                "all",
                policy,
                ladder,
                f"{target:g}",
                f"{mean(row.compute for row in same):.4f}",
                f"{mean(row.harvest for row in same):.3f}",
                f"{mean(row.first_harvest for row in same):.3f}",
                f"{mean(row.accuracy for row in same):.4f}",
                f"{min(row.lowest_accuracy for row in same):.4f}",
                f"{sum(row.below for row in same)}/{sum(row.seeds for row in same)}",
            )
        )
    return found


def _with_error(value: float, error: float) -> str:
    return f"{value:.3f}" if math.isnan(error) else f"{value:.3f} ± {error:.3f}"
