"""From evidence to a calibrated confidence, and from there to the bar.

A logistic regression on six numbers, drawn to weights that were learned on other streams and refitted on the last
1,024 checked requests; older ones weigh less, and so do, at first, the very first, when hardly anything was cached.
The bar is then the lowest confidence at which the error, scaled by what was really observed above it, is still worth
its price (with a ledger), or keeps the share of wrong answers within ε (without one). Nothing here runs on a hit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from likewise.decision.checks import (
    WIDTH,
    Checks,
    Evidence,
    Floats,
    error_probability,
    fitted,
    pack,
    table_of,
    unpack,
)
from likewise.decision.votes import Vote
from likewise.types import Sample

EARLY = 10.0
"""Requests after which "early" has fallen to 0.7; it goes on falling with the square root of their number."""
PRIOR: Evidence = (0.2, 6.3, -0.5, 6.5, -3.2, 0.7)
"""Weights before anything was seen, and what the fit is drawn to: the mean of fits on spoken digits and traffic signs.

They hardly differ between those streams (standard deviation 0.3, 0.5, 1.3, 0.8, 0.4), because all evidence is relative
to the stream's own distances; on a stream that the fit did not see they predict as well as its own. The last is less
than the 1 of independent evidence: what looks alike often comes from the same device.
"""

CAUTION: Mapping[str, float] = {"bold": 0.7, "normal": 1.0, "strict": 1.64}
"""Strictness and its Z: standard errors that the estimate of the error is raised by."""

RECENT = 512
"""Ring of recent evidence, checked or not: the mix of requests that the bar has to hold for."""

_PULL = np.array([2.0, 4.0, 1.0, 2.0, 4.0, 20.0])
"""Precision of the prior weights."""
_BELIEF = 4.0
"""Errors, expected and observed, that the calibration is worth before anything was seen. With a ledger only: without
one nothing makes up for a stream that is unlike those that the prior comes from."""
_FLOOR = 0.1
"""Least factor by which the model's own estimate of the error is scaled."""
_RESERVE = 0.75
"""Share of ε that the bar may use up without a ledger: an estimate needs room to be wrong."""
_FORGET = 0.5
"""Half-life of a sample as a share of all requests so far, while that is below the half-lives here:"""
_HALF_LIFE_FIT, _HALF_LIFE_ERROR, _HALF_LIFE_LEAST = 1500.0, 1000.0, 25.0
"""Half-lives in requests: in the fit, in the comparison of observed with expected errors, and the least of both."""


class Calibration:
    """Weights, bar and ratio of one function and key type.

    epsilon: error budget, in (0, 1).
    caution: Z, how many standard errors the upper bound lies above the estimate, at least 0.
    """

    __slots__ = ("_caution", "_checks", "_epsilon", "_mix", "_mixed", "bar", "clock", "fresh_mix", "ratio", "weights")

    def __init__(self, epsilon: float, caution: float) -> None:
        self._epsilon = epsilon
        self._caution = caution
        self.weights: Evidence = PRIOR
        self.bar = math.inf
        self.ratio = 1.0
        self.clock = 0
        self._checks = Checks()
        self._mix = np.zeros((RECENT, WIDTH))
        self._mixed = 0
        self.fresh_mix: list[Evidence] = []
        """Evidence of requests since the last refit; the policy appends to it directly, on its fastest path."""

    @property
    def samples(self) -> int:
        """Checked requests seen so far."""
        return self._checks.samples

    @property
    def mixed(self) -> int:
        """Requests in the mix so far."""
        return self._mixed + len(self.fresh_mix)

    def weigh(self, vote: Vote, scale: float, before: float) -> tuple[int, int, Evidence, float]:
        """Return winner, its nearest slot, the evidence for it, and the log-odds that it is right.

        scale: the distance that counts as usual; before: what the device was answered before, a log-likelihood ratio
        (`repeats`), 0 where nothing is known of it. The evidence is 1, margin, distance, homogeneity, how early it is,
        1 / √(1 + requests / 10), and `before`.
        """
        label, slot, share, nearest, rival = vote
        nearest += 1e-3
        w0, w1, w2, w3, w4, w5 = self.weights
        margin = math.log((rival + 1e-3) / nearest)
        if not -1.0 < margin < 2.0:
            margin = -1.0 if margin < 0.0 else 2.0
        nearness = math.log(nearest / scale)
        if nearness < -2.0:
            nearness = -2.0
        share -= 0.5
        early = 1.0 / math.sqrt(1.0 + self.clock / EARLY)
        z = w0 + w1 * margin + w2 * nearness + w3 * share + w4 * early + w5 * before
        return label, slot, (1.0, margin, nearness, share, early, before), z

    def check(self, evidence: Evidence, wrong: bool, probability: float) -> None:
        """Remember a computed request: what was seen, whether the winner was wrong, how probable the check was."""
        self._checks.add(evidence, wrong, probability, self.clock)

    def absorb(self) -> None:
        """Move what came since the last refit into the rings."""
        self._checks.absorb()
        recent = self.fresh_mix[-RECENT:]
        if recent:
            positions = np.arange(self._mixed, self._mixed + len(recent)) % RECENT
            self._mix[positions] = recent
            self._mixed += len(recent)
            self.fresh_mix.clear()

    def refit(self, max_error: float | None = None) -> None:
        """Fit weights, then bar and ratio.

        max_error: highest acceptable probability of a wrong hit now, for each hit by itself; None: the share of wrong
        answers among all requests is held within ε instead.
        """
        self.absorb()
        if not len(self._checks) or self._mixed == 0:
            return
        self._fit_weights()
        self._set_bar(max_error)

    def _decay(self, half_life: float) -> Floats:
        half_life = max(_HALF_LIFE_LEAST, min(half_life, _FORGET * self.clock))
        decayed: Floats = np.exp2((self._checks.at - self.clock) / half_life)
        return decayed

    def _fit_weights(self) -> None:
        importance = self._checks.importance(self._decay(_HALF_LIFE_FIT))
        bias, margin, distance, homogeneity, early, before = fitted(
            self.weights, PRIOR, _PULL, self._checks, importance
        )
        self.weights = (
            bias,
            max(margin, 0.0),
            min(distance, 0.0),
            max(homogeneity, 0.0),
            min(early, 0.0),
            max(before, 0.0),
        )

    def _set_bar(self, max_error: float | None) -> None:
        weights = np.array(self.weights)
        checked = self._checks.evidence @ weights
        order = np.argsort(-checked)
        checked = checked[order]
        decay = self._decay(_HALF_LIFE_ERROR)[order]
        mix = self._mix[: min(self._mixed, RECENT)] @ weights
        if max_error is not None:  # each hit is judged by itself: the bar may stand at what was computed, too
            mix = np.concatenate([mix, checked])
        mix = -np.sort(-mix)
        above = np.searchsorted(-checked, -mix, side="right")  # checked samples at or above each candidate bar
        observed = np.concatenate([[0.0], np.cumsum(decay * self._checks.wrong[order])])[above]
        expected = np.concatenate([[0.0], np.cumsum(decay * error_probability(checked))])[above]
        caution = self._caution
        upper = observed + 0.5 * caution**2 + caution * np.sqrt(observed + 0.25 * caution**2)
        belief = 0.0 if max_error is None else _BELIEF
        ratio = np.maximum((upper + belief) / np.maximum(expected + belief, 1e-12), _FLOOR)
        error = error_probability(mix)
        share = np.cumsum(error) / len(mix)
        fits = ratio * share <= _RESERVE * self._epsilon if max_error is None else ratio * error <= max_error
        fits[:-1] &= mix[:-1] > mix[1:]  # a bar takes in all requests that stand exactly at it
        fitting = np.flatnonzero(fits)
        if len(fitting) == 0:
            self.bar = math.inf
            return
        lowest = int(fitting[-1])
        self.bar = float(mix[lowest])
        self.ratio = float(min(max(ratio[lowest], _FLOOR), 5.0))

    def state(self) -> dict[str, Any]:
        """Return weights, bar and rings, JSON-able; rings as base64 of little-endian float32."""
        self.absorb()
        mixed = min(self._mixed, RECENT)
        return {
            "weights": list(self.weights),
            "bar": None if math.isinf(self.bar) else self.bar,
            "ratio": self.ratio,
            "clock": self.clock,
            "seen": self._checks.seen,
            "mixed": self._mixed,
            "checked": self._checks.packed(self.clock),
            "mix": pack(self._mix[:mixed]),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state. Raises KeyError, TypeError or ValueError where it is none."""
        weights = [float(weight) for weight in state["weights"]]
        bar = math.inf if state["bar"] is None else float(state["bar"])
        ratio, clock = float(state["ratio"]), int(state["clock"])
        seen, mixed = int(state["seen"]), int(state["mixed"])
        table, mix = table_of(state["checked"], seen), unpack(state["mix"], WIDTH)
        if len(weights) != WIDTH or not all(map(math.isfinite, [*weights, ratio])) or math.isnan(bar):
            raise ValueError("weights, ratio or bar out of range")
        if len(mix) != min(mixed, RECENT) or clock < 0:
            raise ValueError("rings of another length than their counts say")
        self.weights = (weights[0], weights[1], weights[2], weights[3], weights[4], weights[5])
        self.bar, self.ratio, self.clock, self._mixed = bar, ratio, clock, mixed
        self._checks.restore(seen, table, clock)
        self.fresh_mix.clear()
        self._mix[: len(mix)] = mix


def plausible(sample: Sample) -> bool:
    """Say whether a policy with this evidence can have made a sample."""
    return (
        len(sample.evidence) == WIDTH
        and all(map(math.isfinite, sample.evidence))
        and 0.0 < sample.probability <= 1.0
        and 0.0 < sample.scale < math.inf
    )
