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

from likewise.decision.calibration import EARLY
from likewise.decision.checks import WIDTH, Checks, Evidence, error_probability, fitted, table_of
from likewise.decision.votes import adds_something
from likewise.types import Verdict

PRIOR: Evidence = (0.2, 2.4, 1.7, 0.45, 1.2, 0.4)
"""Weights before anything was seen; the bias counts from the log-odds of the agreement that was measured.

The middle of fits on what heads and students of signs and of digits said of the first requests that came so far, each
counted as often as it stands for.
"""
MOST_SURE = 25.0
"""Log-odds beyond which scores say no more."""
SURE = 8.0
"""Log-odds of a cheaper rung beyond which its agreement says no more."""

LITTLE_DOUBT = 3.0
"""Log-odds of being right from which a variant's answer may enter the cache: wrong in 1 of 20 at most."""

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


def is_worth_an_entry(verdict: Verdict) -> bool:
    """Say whether an answer that a variant gave adds something to the cache, and leaves little doubt.

    One that is wrong is so once; as an entry it would be reused for inputs near it, and be wrong each time.
    """
    return verdict.confidence >= LITTLE_DOUBT and adds_something(verdict.neighbors, verdict.label)


class OpinionCalibration:
    """Weights, scale and ratio of one variant. agreement: with the full model, as measured before, in [0, 1]."""

    __slots__ = ("_certainty", "_checks", "_margin", "_prior", "asked", "ratio", "weights")

    def __init__(self, agreement: float) -> None:
        share = min(max(agreement, 0.02), 0.98)
        self._prior: Evidence = (PRIOR[0] + math.log(share / (1.0 - share)), *PRIOR[1:])
        self.weights: Evidence = self._prior
        self.ratio = 1.0
        self.asked = 0
        """Opinions weighed so far."""
        self._margin = self._certainty = 0.0
        self._checks = Checks()

    @property
    def samples(self) -> int:
        """Checked opinions so far."""
        return self._checks.samples

    @property
    def agreement(self) -> float:
        """Share of the last checked opinions that were right; each counts as often as it stands for; NaN: none yet."""
        if not len(self._checks):
            return math.nan
        weight = 1.0 / self._checks.probability
        return float(1.0 - (weight @ self._checks.wrong) / weight.sum())

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
        self._checks.add(evidence, wrong, probability, clock)

    def refit(self, clock: int, max_error: float) -> None:
        """Fit the weights, then compare errors with what they say, where an opinion might be taken.

        max_error: highest probability of being wrong that is acceptable now.
        """
        checks = self._checks
        checks.absorb()
        if not len(checks):
            return
        wrong, age = checks.wrong, clock - checks.at
        importance = checks.importance(np.exp2(-age / _HALF_LIFE_FIT))
        bias, margin, certainty, agreement, early, before = fitted(self.weights, self._prior, _PULL, checks, importance)
        self.weights = (bias, margin, certainty, max(agreement, 0.0), early, max(before, 0.0))
        z = checks.evidence @ np.array(self.weights)
        error = error_probability(z)
        taken = error <= max_error
        decay = np.exp2(-age / _HALF_LIFE_ERROR)
        observed, expected = float(decay[taken] @ wrong[taken]), float(decay[taken] @ error[taken])
        upper = observed + 0.5 * _CAUTION**2 + _CAUTION * math.sqrt(observed + 0.25 * _CAUTION**2)
        self.ratio = min(max((upper + _BELIEF) / (expected + _BELIEF), _LEAST), _MOST)

    def state(self) -> dict[str, Any]:
        """Return all of it, JSON-able."""
        self._checks.absorb()
        return {
            "weights": list(self.weights),
            "ratio": self.ratio,
            "asked": self.asked,
            "seen": self._checks.seen,
            "usual": [self._margin, self._certainty],
            "checked": self._checks.packed(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state. Raises KeyError, TypeError or ValueError where it is none."""
        weights = [float(weight) for weight in state["weights"]]
        ratio, asked, seen = float(state["ratio"]), int(state["asked"]), int(state["seen"])
        margin, certainty = (float(each) for each in state["usual"])
        table = table_of(state["checked"], seen)
        if len(weights) != WIDTH or not all(map(math.isfinite, [*weights, ratio, margin, certainty])):
            raise ValueError("weights, ratio or usual figures out of range")
        if asked < 0 or not _LEAST <= ratio <= _MOST:
            raise ValueError("a count or a ratio out of range")
        self.weights = (weights[0], weights[1], weights[2], weights[3], weights[4], weights[5])
        self.ratio, self.asked = ratio, asked
        self._margin, self._certainty = margin, certainty
        self._checks.restore(seen, table)
