"""The figures of a demonstration: what was reused, whether it was right, what it saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from likewise.workloads.sample import Sample
from likewise_demo.comparison import Comparison
from likewise_demo.phones import Play, pairs


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of one run with reuse against the same stream without; times in milliseconds."""

    workload: str
    target: float
    devices: int
    requests: int
    opportunities: int
    """Requests whose correct result had been computed before they were sent."""
    hits: int
    probes: int
    false_hits: int
    """Hits that the model contradicts."""
    harvest: float
    """Correct hits ÷ opportunities."""
    accuracy: float
    """Share of answers that are what the model would have answered."""
    label_accuracy: float | None
    """Share of answers that are the true label, over inputs that the model was not trained on; None: there are none."""
    baseline_label_accuracy: float | None
    mean_ms: float
    p50_ms: float
    p99_ms: float
    baseline_mean_ms: float
    baseline_p50_ms: float
    baseline_p99_ms: float
    speedup: float
    """Mean latency without reuse ÷ with."""
    inferences_saved: int
    sources: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Answers, and wrong ones among them, by what gave them: the cache, each variant by its name, the model."""
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    """(requests so far, hit rate of the last 100, accuracy so far)."""

    @property
    def senders(self) -> str:
        """What the devices are."""
        return "cameras" if self.workload == "roads" else "phones"

    def document(self) -> dict[str, Any]:
        """Return the figures for JSON, without the curve."""
        found = asdict(self)
        del found["curve"]
        return found


def score(
    workload: str,
    target: float,
    devices: int,
    stream: Sequence[Sample],
    reuse: Play,
    without: Play,
    comparison: Comparison = Comparison(),  # noqa: B008 (it keeps nothing)
) -> Scores:
    """Compare a play with reuse with one without: the second one's answers are what the model says."""
    hits = probes = false_hits = opportunities = correct_hits = right = held = held_right = base_right = 0
    recent: list[bool] = []
    curve = []
    count = 0
    sources: dict[str, tuple[int, int]] = {"cache": (0, 0)}
    for position, answer, model in pairs(reuse, without):
        truth = comparison.label(model)
        wrong = not comparison.same(answer, model)
        known = truth in reuse.known[position]
        opportunities += known or (answer.from_cache and not wrong)
        hits += answer.from_cache
        probes += answer.outcome == "probe"
        false_hits += answer.from_cache and wrong
        correct_hits += answer.from_cache and not wrong
        right += not wrong
        source = "cache" if answer.from_cache else answer.variant or "model"
        answers, mistakes = sources.get(source, (0, 0))
        sources[source] = answers + 1, mistakes + wrong
        count += 1
        if stream[position].held_out:
            held += 1
            held_right += comparison.label(answer) == stream[position].truth
            base_right += truth == stream[position].truth
        recent.append(answer.from_cache)
        if count % 20 == 0:
            curve.append((count, float(np.mean(recent[-100:])), right / count))
    ms, base = (1000 * np.array([s for s in each.seconds if s] or [0.0]) for each in (reuse, without))
    return Scores(
        workload=workload,
        target=target,
        devices=devices,
        requests=len(stream),
        opportunities=int(opportunities),
        hits=hits,
        probes=probes,
        false_hits=int(false_hits),
        harvest=_share(correct_hits, opportunities),
        accuracy=_share(right, count),
        label_accuracy=_share(held_right, held) if held else None,
        baseline_label_accuracy=_share(base_right, held) if held else None,
        mean_ms=float(ms.mean()),
        p50_ms=float(np.percentile(ms, 50)),
        p99_ms=float(np.percentile(ms, 99)),
        baseline_mean_ms=float(base.mean()),
        baseline_p50_ms=float(np.percentile(base, 50)),
        baseline_p99_ms=float(np.percentile(base, 99)),
        speedup=float(base.mean() / ms.mean()) if ms.mean() else 0.0,
        inferences_saved=count - sources.get("model", (0, 0))[0],
        sources=sources,
        curve=curve,
    )


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
