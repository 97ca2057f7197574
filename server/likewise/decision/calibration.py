"""From evidence to a calibrated confidence, and from there to the bar that keeps the error within its budget.

A logistic regression on four numbers, refitted on the last 1,024 checked requests, older ones weighing less and
probes as rare as they were drawn; a bar chosen so that an upper bound on the share of wrong answers among all recent
requests stays within ε. NumPy, because it works on rings of samples; nothing here runs on a hit.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Evidence = tuple[float, float, float, float]
"""Bias (1), margin, distance, homogeneity."""

PRIOR: Evidence = (-1.0, 2.0, -1.0, 2.0)
"""Weights before anything was seen, and what the fit is drawn to."""

CHECKED = 1024
"""Ring of checked requests."""
RECENT = 512
"""Ring of recent evidence, checked or not: the mix of requests that the bar has to hold for."""
FEWEST = 40
"""Checked requests before the first fit."""

_PULL = np.array([0.2, 2.0, 2.0, 2.0])
_FLOOR = 0.1
"""Least factor by which the model's own estimate of the error is scaled."""

Floats = NDArray[np.float64]


class Calibration:
    """Weights, bar and ratio of one function and key type.

    epsilon: error budget, in (0, 1).
    caution: Z, how many standard errors the upper bound lies above the estimate, at least 0.
    """

    __slots__ = ("_at", "_caution", "_checked", "_epsilon", "_evidence", "_fresh", "_mix", "_mixed", "_pi", "_seen",
                 "_wrong", "bar", "clock", "fresh_mix", "ratio", "weights")  # fmt: skip

    def __init__(self, epsilon: float, caution: float) -> None:
        self._epsilon = epsilon
        self._caution = caution
        self.weights: Evidence = PRIOR
        self.bar = math.inf
        self.ratio = 1.0
        self.clock = 0
        self._evidence = np.zeros((CHECKED, 4))
        self._wrong = np.zeros(CHECKED)
        self._pi = np.ones(CHECKED)
        self._at = np.zeros(CHECKED)
        self._seen = 0
        self._mix = np.zeros((RECENT, 4))
        self._mixed = 0
        self._fresh: list[tuple[Evidence, bool, float, int]] = []
        self.fresh_mix: list[Evidence] = []
        """Evidence of requests since the last refit; the policy appends to it directly, on its fastest path."""

    @property
    def samples(self) -> int:
        """Checked requests seen so far."""
        return self._seen + len(self._fresh)

    def check(self, evidence: Evidence, wrong: bool, probability: float) -> None:
        """Remember a computed request: what was seen, whether the winner was wrong, how probable the check was."""
        self._fresh.append((evidence, wrong, probability, self.clock))

    def absorb(self) -> None:
        """Move what came since the last refit into the rings."""
        for evidence, wrong, probability, at in self._fresh[-CHECKED:]:
            position = self._seen % CHECKED
            self._evidence[position] = evidence
            self._wrong[position] = wrong
            self._pi[position] = probability
            self._at[position] = at
            self._seen += 1
        self._fresh.clear()
        recent = self.fresh_mix[-RECENT:]
        if recent:
            positions = np.arange(self._mixed, self._mixed + len(recent)) % RECENT
            self._mix[positions] = recent
            self._mixed += len(recent)
            self.fresh_mix.clear()

    def refit(self) -> None:
        """Fit weights, then bar and ratio, once there are enough samples."""
        self.absorb()
        count = min(self._seen, CHECKED)
        if count < FEWEST:
            return
        self._fit_weights(count)
        self._set_bar(count)

    def _fit_weights(self, count: int) -> None:
        evidence = self._evidence[:count]
        correct = 1.0 - self._wrong[:count]
        age = self.clock - self._at[:count]
        importance = np.exp2(age / -1500.0) * np.minimum(self._pi[:count] ** -0.5, 10.0)
        weights = np.array(self.weights)
        prior = np.array(PRIOR)
        for _ in range(2):
            right = 1.0 / (1.0 + np.exp(-np.clip(evidence @ weights, -30.0, 30.0)))
            gradient = evidence.T @ (importance * (right - correct)) + _PULL * (weights - prior)
            curvature = (evidence * (importance * right * (1.0 - right))[:, None]).T @ evidence
            curvature[np.diag_indices(4)] += _PULL
            step = np.linalg.solve(curvature, gradient)
            length = math.sqrt(float(step @ step))
            weights -= step if length <= 2.0 else step * (2.0 / length)
        bias, margin, distance, homogeneity = weights.tolist()
        self.weights = (bias, max(margin, 0.0), min(distance, 0.0), max(homogeneity, 0.0))

    def _set_bar(self, count: int) -> None:
        weights = np.array(self.weights)
        checked = self._evidence[:count] @ weights
        order = np.argsort(-checked)
        checked = checked[order]
        decay = np.exp2((self.clock - self._at[:count][order]) / -1000.0)
        observed = np.cumsum(decay * self._wrong[:count][order])
        expected = np.cumsum(decay * error_probability(checked))
        mix = self._mix[: min(self._mixed, RECENT)] @ weights
        mix = -np.sort(-mix)
        share = np.cumsum(error_probability(mix)) / len(mix)
        above = np.searchsorted(-checked, -mix, side="right")  # checked samples at or above each candidate bar
        known = above > 0
        last = np.maximum(above - 1, 0)
        caution = self._caution
        upper = observed + 0.5 * caution**2
        upper = upper[last] + caution * np.sqrt(observed[last] + 0.25 * caution**2)
        excess = np.maximum(upper / np.maximum(expected[last], 1e-12), _FLOOR)
        risk = np.where(known, excess * share, 1.0)
        risk[:-1][mix[:-1] == mix[1:]] = np.inf  # a bar takes in all requests that stand exactly at it
        fitting = np.flatnonzero(risk <= self._epsilon)
        if len(fitting) == 0:
            self.bar = math.inf
            return
        lowest = int(fitting[-1])
        self.bar = float(mix[lowest])
        self.ratio = float(min(max(excess[lowest], 0.1), 5.0))

    def state(self) -> dict[str, Any]:
        """Return weights, bar and rings, JSON-able; rings as base64 of little-endian float32."""
        self.absorb()
        count, mixed = min(self._seen, CHECKED), min(self._mixed, RECENT)
        table = np.column_stack([
            self._evidence[:count], self._wrong[:count], self._pi[:count], self._at[:count] - self.clock,
        ])  # fmt: skip
        return {
            "weights": list(self.weights),
            "bar": None if math.isinf(self.bar) else self.bar,
            "ratio": self.ratio,
            "clock": self.clock,
            "seen": self._seen,
            "mixed": self._mixed,
            "checked": _pack(table),
            "mix": _pack(self._mix[:mixed]),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state. Raises KeyError, TypeError or ValueError where it is none."""
        weights = [float(weight) for weight in state["weights"]]
        bar = math.inf if state["bar"] is None else float(state["bar"])
        ratio, clock = float(state["ratio"]), int(state["clock"])
        seen, mixed = int(state["seen"]), int(state["mixed"])
        table, mix = _unpack(state["checked"], 7), _unpack(state["mix"], 4)
        if len(weights) != 4 or not all(map(math.isfinite, [*weights, ratio])) or math.isnan(bar):
            raise ValueError("weights, ratio or bar out of range")
        if len(table) != min(seen, CHECKED) or len(mix) != min(mixed, RECENT) or clock < 0:
            raise ValueError("rings of another length than their counts say")
        self.weights = (weights[0], weights[1], weights[2], weights[3])
        self.bar, self.ratio, self.clock, self._seen, self._mixed = bar, ratio, clock, seen, mixed
        self._fresh.clear()
        self.fresh_mix.clear()
        count = len(table)
        self._evidence[:count], self._wrong[:count] = table[:, :4], table[:, 4]
        self._pi[:count], self._at[:count] = table[:, 5], table[:, 6] + clock
        self._mix[: len(mix)] = mix


def error_probability(confidence: Floats) -> Floats:
    """Return the probability of being wrong at these log-odds of being right."""
    wrong: Floats = 1.0 / (1.0 + np.exp(np.clip(confidence, -15.0, 15.0)))
    return wrong


def _pack(table: Floats) -> str:
    return base64.b64encode(np.ascontiguousarray(table, dtype="<f4").tobytes()).decode("ascii")


def _unpack(text: str, width: int) -> Floats:
    numbers = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float64)
    table = numbers.reshape(-1, width)
    if not np.isfinite(table).all():
        raise ValueError("a ring has numbers that are not finite")
    return table
