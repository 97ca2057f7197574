"""vCache's per-entry policy: the published online guarantee, kept as a baseline for the evaluation.

Each entry learns its own logistic curve of correctness over similarity from the computed requests that had it as
nearest neighbor, and explores with the probability that keeps its error below δ when the curve is as bad as a
confidence bound on its threshold allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.decision.counters import Coin, Counters, unusable
from likewise.errors import UNFIT, InvalidValue
from likewise.types import Lesson, Neighbors, PolicyStatistics, Reason, Source, Verdict

_KNOWN = ((0.0, 0.0), (1.0, 1.0))
"""What every entry knows of its curve: an orthogonal key has nothing to do with it, an equal one the same result."""

_MISSES = np.concatenate([np.arange(0.002, 0.05, 0.004), np.arange(0.05, 0.5, 0.02)])


def _normal_quantile(upper: float) -> float:
    """Return x with Φ(x) = `upper`, by bisection on the error function."""
    low, high = -8.0, 8.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if 0.5 * (1.0 + math.erf(middle / math.sqrt(2.0))) < upper:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


_BOUNDS = np.array([_normal_quantile(1.0 - miss) for miss in _MISSES])


class Vcache:
    """Explores or reuses by what the nearest entry itself went through.

    fewest: observations of an entry before it is reused, besides the two that every entry starts with.
    Reasons: no neighbors, explore, exploit.
    Source: vCache: Verified Semantic Prompt Caching (2025), algorithm 1; keys of unit norm.
    """

    def __init__(self, accuracy_target: float, coin: Coin, fewest: int = 4) -> None:
        if fewest < 1:
            raise InvalidValue(f"fewest is {fewest}; give at least 1.")
        self._target = accuracy_target
        self._coin = coin
        self._fewest = fewest
        self._counters = Counters()
        self._seen: dict[int, list[tuple[float, float]]] = {}
        self._labels: dict[int, int] = {}
        self._curves: dict[int, tuple[float, float, float]] = {}

    def _exploration(self, neighbors: Neighbors) -> float:
        """Return the probability with which the nearest entry must be checked."""
        slot, label = neighbors.slots[0], neighbors.labels[0]
        if self._labels.get(slot) != label:  # another entry lives there now
            return 1.0
        seen = self._seen[slot]
        if len(seen) - len(_KNOWN) < self._fewest:
            return 1.0
        curve = self._curves.get(slot)
        if curve is None:
            curve = self._curves[slot] = _fit_curve(np.array(seen))
        middle, slope, deviation = curve
        similarity = 1.0 - 0.5 * neighbors.distances[0] ** 2
        pessimistic = np.clip(middle + _BOUNDS * deviation, 0.0, 1.0)
        correct = (1.0 - _MISSES) / (1.0 + np.exp(-np.clip(slope * (similarity - pessimistic), -30.0, 30.0)))
        best = float(correct.max())
        budget = 1.0 - self._target
        return 0.0 if 1.0 - best <= budget else 1.0 - budget / (1.0 - best)

    def decide(self, neighbors: Neighbors, *_: object, **__: object) -> Verdict:
        """Return the verdict for one request and count it."""
        self._counters.requests += 1
        if not neighbors.labels:
            return Verdict(Source.NONE, Reason.NO_NEIGHBORS, neighbors)
        label, slot = neighbors.labels[0], neighbors.slots[0]
        probability = self._exploration(neighbors)
        if probability < 1.0:
            self._counters.would_be_hits += 1
        if probability >= 1.0 or self._coin() < probability:
            self._counters.probes += probability < 1.0
            return Verdict(Source.NONE, Reason.EXPLORE, neighbors, slot, label, probability < 1.0, probability)
        return Verdict(Source.NEIGHBOR, Reason.EXPLOIT, neighbors, slot, label, False, probability)

    def confident(self, neighbors: Neighbors, *_: object, **__: object) -> bool:
        """Say whether such neighbors would rather be reused than not."""
        return bool(neighbors.labels) and self._exploration(neighbors) < 0.5

    def learn(self, verdict: Verdict, label: int) -> Lesson:
        """Add an observation to the nearest entry; a result that it foretold is not kept beside it."""
        neighbors = verdict.neighbors
        if not neighbors.labels:
            return Lesson(True, -1, False)
        slot, near = neighbors.slots[0], neighbors.labels[0]
        if self._labels.get(slot) != near:
            self._labels[slot] = near
            self._seen[slot] = list(_KNOWN)
        correct = near == label
        self._seen[slot].append((1.0 - 0.5 * neighbors.distances[0] ** 2, float(correct)))
        self._curves.pop(slot, None)
        if verdict.probe and not correct:
            self._counters.detected(verdict.probability)
        return Lesson(not correct, -1, not correct)

    def abandon(self, verdict: Verdict) -> None:
        """Take note that no answer will come: nothing is held for it."""

    def statistics(self) -> PolicyStatistics:
        """Return a snapshot of the counters; there is no single bar."""
        return self._counters.statistics("vcache", self._target, math.nan)

    def state(self) -> Mapping[str, Any]:
        """Return the counters, JSON-able; observations belong to slots, which do not outlive a process."""
        return {"policy": "vcache", "counters": self._counters.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned. Raises InvalidValue."""
        try:
            if state["policy"] != "vcache":
                raise ValueError(state["policy"])
            self._counters.restore(state["counters"])
        except UNFIT as error:
            raise unusable("vcache", error) from error


def _fit_curve(seen: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return threshold in [0, 1], slope and standard error of the threshold of a logistic curve.

    seen: shape (n, 2), similarity and 0 or 1; both of them occur. Where a threshold separates all right from all wrong
    observations, as with most entries, the likelihood knows no best slope, and no error of the threshold either: the
    slope stays where a hardly noticeable pull leaves it, and the variance is taken to be gap² / 4n.
    """
    similarity, correct = seen[:, 0], seen[:, 1]
    center = float(similarity.mean())
    design = np.column_stack([np.ones_like(similarity), similarity - center])
    pull = np.diag([1e-4, 1e-4])
    weights = np.zeros(2)
    for _ in range(40):
        right = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30.0, 30.0)))
        gradient = design.T @ (right - correct) + pull @ weights
        curvature = (design * (right * (1.0 - right))[:, None]).T @ design + pull
        step = np.linalg.solve(curvature, gradient)
        length = float(np.abs(step).max())
        weights = weights - step * min(1.0, 10.0 / max(length, 1e-9))
        if length < 1e-6:
            break
    slope = max(float(weights[1]), 1e-6)
    threshold = min(max(center - float(weights[0]) / slope, 0.0), 1.0)
    gap = float(similarity[correct == 1].min() - similarity[correct == 0].max())
    if gap > 0.0:
        return threshold, slope, gap / (2.0 * math.sqrt(len(seen)))
    gradient = np.array([-1.0 / slope, weights[0] / slope**2])
    return threshold, slope, math.sqrt(max(float(gradient @ np.linalg.inv(curvature) @ gradient), 0.0))
