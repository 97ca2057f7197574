"""What a variant's opinion is worth: from its scores, and from who agrees, to calibrated log-odds that it is right.

A logistic regression on six numbers, drawn to weights learned on other streams and refitted on the last 1,024 opinions
that a full computation confirmed or refuted. Margin and certainty are taken relative to what is usual for the variant,
so that one set of weights fits sharp and flat softmaxes alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from likewise.decision.calibration import EARLY, error_probability, pack, unpack

Evidence = tuple[float, float, float, float, float, float]
"""Bias (1), margin, certainty, agreement with cheaper rungs, how early it is, what the device was answered before."""

WIDTH = 6
CHECKED = 1024
"""Ring of checked opinions."""
PRIOR: Evidence = (-0.9, 1.8, 0.9, 0.5, 2.5, 0.4)
"""Weights before anything was seen; the bias counts from the log-odds of the agreement that was measured."""
MOST_SURE = 25.0
"""Log-odds beyond which scores say no more."""
SURE = 8.0
"""Log-odds of a cheaper rung beyond which its agreement says no more."""

_PULL = np.array([1.0, 4.0, 4.0, 8.0, 4.0, 20.0])
_BELIEF = 4.0
_CAUTION = 0.7
_HALF_LIFE_FIT, _HALF_LIFE_ERROR = 1500.0, 1000.0
_LEAST, _MOST = 0.3, 5.0


class Opinion(NamedTuple):
    """What a variant says of one input."""

    label: int
    margin: float
    """How much likelier its first class is than the second: the difference of their log-probabilities."""
    certainty: float
    """-ln(1 - p) of the first class."""


def opinion(scores: Sequence[float], label: int) -> Opinion:
    """Return the opinion behind a variant's scores, logits or a distribution, one for each of two classes or more.

    label: id of the first class, as results are compared.
    """
    numbers = list(scores)
    if min(numbers) >= 0.0 and abs(sum(numbers) - 1.0) < 1e-3:
        numbers = [math.log(max(number, 1e-12)) for number in numbers]
    first = max(numbers)
    rest = [math.exp(number - first) for number in numbers]  # in units of the first
    rest.remove(1.0)
    others = max(sum(rest), 1e-12)
    margin = min(-math.log(max(*rest, 1e-12)), MOST_SURE)
    return Opinion(label, margin, min(math.log1p(1.0 / others), MOST_SURE))


class OpinionCalibration:
    """Weights, scale and ratio of one variant. agreement: with the full model, as measured before, in [0, 1]."""

    __slots__ = ("_at", "_certainty", "_evidence", "_fresh", "_margin", "_pi", "_prior", "_seen", "_wrong", "asked",
                 "ratio", "weights")  # fmt: skip

    def __init__(self, agreement: float) -> None:
        share = min(max(agreement, 0.02), 0.98)
        self._prior: Evidence = (PRIOR[0] + math.log(share / (1.0 - share)), *PRIOR[1:])
        self.weights: Evidence = self._prior
        self.ratio = 1.0
        self.asked = 0
        """Opinions weighed so far."""
        self._margin = self._certainty = 0.0
        self._evidence = np.zeros((CHECKED, WIDTH))
        self._wrong = np.zeros(CHECKED)
        self._pi = np.ones(CHECKED)
        self._at = np.zeros(CHECKED)
        self._seen = 0
        self._fresh: list[tuple[Evidence, bool, float, int]] = []

    @property
    def samples(self) -> int:
        """Checked opinions so far."""
        return self._seen + len(self._fresh)

    @property
    def agreement(self) -> float:
        """Share of the last checked opinions that were right; each counts as often as it stands for; NaN: none yet."""
        count = min(self._seen, CHECKED)
        if not count:
            return math.nan
        weight = 1.0 / self._pi[:count]
        return float(1.0 - (weight @ self._wrong[:count]) / weight.sum())

    def weigh(self, said: Opinion, agreement: float, clock: int, before: float) -> tuple[Evidence, float]:
        """Return the evidence for an opinion, and the log-odds that it is right.

        agreement: log-odds of the cheaper rungs' answer, negative where it is another. clock: requests so far.
        """
        self.asked += 1
        rate = max(1.0 / self.asked, 0.01)
        self._margin += rate * (said.margin - self._margin)
        self._certainty += rate * (said.certainty - self._certainty)
        margin = min(said.margin / (self._margin + 1e-6), 4.0) - 1.0
        certainty = min(said.certainty / (self._certainty + 1e-6), 4.0) - 1.0
        agreement = min(max(agreement, -SURE), SURE)
        early = 1.0 / math.sqrt(1.0 + clock / EARLY)
        w0, w1, w2, w3, w4, w5 = self.weights
        z = w0 + w1 * margin + w2 * certainty + w3 * agreement + w4 * early + w5 * before
        return (1.0, margin, certainty, agreement, early, before), z

    def check(self, evidence: Evidence, wrong: bool, probability: float, clock: int) -> None:
        """Remember what a full computation said of an opinion; probability: with which it was run."""
        self._fresh.append((evidence, wrong, probability, clock))

    def _absorb(self) -> None:
        self._seen += max(0, len(self._fresh) - CHECKED)
        for evidence, wrong, probability, at in self._fresh[-CHECKED:]:
            position = self._seen % CHECKED
            self._evidence[position] = evidence
            self._wrong[position] = wrong
            self._pi[position] = probability
            self._at[position] = at
            self._seen += 1
        self._fresh.clear()

    def refit(self, clock: int, max_error: float) -> None:
        """Fit the weights, then compare errors with what they say, where an opinion might be taken.

        max_error: highest probability of being wrong that is acceptable now.
        """
        self._absorb()
        count = min(self._seen, CHECKED)
        if not count:
            return
        evidence, wrong, age = self._evidence[:count], self._wrong[:count], clock - self._at[:count]
        importance = np.exp2(-age / _HALF_LIFE_FIT) * np.minimum(self._pi[:count] ** -0.5, 10.0)
        weights, prior = np.array(self.weights), np.array(self._prior)
        for _ in range(2):
            right = 1.0 / (1.0 + np.exp(-np.clip(evidence @ weights, -30.0, 30.0)))
            gradient = evidence.T @ (importance * (right - 1.0 + wrong)) + _PULL * (weights - prior)
            curvature = (evidence * (importance * right * (1.0 - right))[:, None]).T @ evidence
            curvature[np.diag_indices(WIDTH)] += _PULL
            step = np.linalg.solve(curvature, gradient)
            length = math.sqrt(float(step @ step))
            weights -= step if length <= 2.0 else step * (2.0 / length)
        bias, margin, certainty, agreement, early, before = weights.tolist()
        self.weights = (bias, margin, certainty, max(agreement, 0.0), early, max(before, 0.0))
        z = evidence @ np.array(self.weights)
        error = error_probability(z)
        taken = error <= max_error
        decay = np.exp2(-age / _HALF_LIFE_ERROR)
        observed, expected = float(decay[taken] @ wrong[taken]), float(decay[taken] @ error[taken])
        upper = observed + 0.5 * _CAUTION**2 + _CAUTION * math.sqrt(observed + 0.25 * _CAUTION**2)
        self.ratio = min(max((upper + _BELIEF) / (expected + _BELIEF), _LEAST), _MOST)

    def state(self) -> dict[str, Any]:
        """Return all of it, JSON-able."""
        self._absorb()
        count = min(self._seen, CHECKED)
        table = np.column_stack([self._evidence[:count], self._wrong[:count], self._pi[:count], self._at[:count]])
        return {
            "weights": list(self.weights),
            "ratio": self.ratio,
            "asked": self.asked,
            "seen": self._seen,
            "usual": [self._margin, self._certainty],
            "checked": pack(table),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state. Raises KeyError, TypeError or ValueError where it is none."""
        weights = [float(weight) for weight in state["weights"]]
        ratio, asked, seen = float(state["ratio"]), int(state["asked"]), int(state["seen"])
        margin, certainty = (float(each) for each in state["usual"])
        table = unpack(state["checked"], WIDTH + 3)
        if len(weights) != WIDTH or not all(map(math.isfinite, [*weights, ratio, margin, certainty])):
            raise ValueError("weights, ratio or usual figures out of range")
        if len(table) != min(seen, CHECKED) or asked < 0 or not _LEAST <= ratio <= _MOST:
            raise ValueError("a ring of another length than its count says, or a ratio out of range")
        self.weights = (weights[0], weights[1], weights[2], weights[3], weights[4], weights[5])
        self.ratio, self.asked, self._seen = ratio, asked, seen
        self._margin, self._certainty = margin, certainty
        self._fresh.clear()
        count = len(table)
        self._evidence[:count], self._wrong[:count] = table[:, :WIDTH], table[:, WIDTH]
        self._pi[:count], self._at[:count] = table[:, WIDTH + 1], table[:, WIDTH + 2]
