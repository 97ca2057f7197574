"""Potluck's tuner: a distance threshold that loosens slowly and tightens at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from likewise.decision.counters import Coin, Counters, nearest_within, unusable
from likewise.errors import UNFIT, InvalidValue
from likewise.types import Lesson, Neighbors, PolicyStatistics, Reason, Source, Verdict


class Potluck:
    """Reuses the nearest entry within a threshold that computed results tune. It has no accuracy target.

    dropout: share of lookups that is computed at random, in [0, 1], so that evidence keeps coming.
    warm_up: computed results before anything is reused.
    Reasons: warming up, within threshold, beyond threshold, probe, no neighbors.
    Source: Potluck (ASPLOS 2018), threshold tuning.
    """

    def __init__(self, accuracy_target: float, coin: Coin, dropout: float = 0.1, warm_up: int = 100) -> None:
        if not (0.0 <= dropout <= 1.0 and warm_up >= 0):
            raise InvalidValue(f"dropout is {dropout} and warm_up {warm_up}; give a share in [0, 1], and at least 0.")
        self._target = accuracy_target
        self._coin = coin
        self._dropout = dropout
        self._warm_up = warm_up
        self._threshold = 0.0
        self._computed = 0
        self._counters = Counters()

    def decide(self, neighbors: Neighbors, *_: object, **__: object) -> Verdict:
        """Return the verdict for one request and count it."""
        counters = self._counters
        counters.requests += 1
        if not neighbors.labels:
            return Verdict(Source.NONE, Reason.NO_NEIGHBORS, neighbors)
        if self._computed < self._warm_up:
            return Verdict(Source.NONE, Reason.WARMING_UP, neighbors, neighbors.slots[0], neighbors.labels[0])
        return nearest_within(neighbors, self._threshold, self._dropout, self._coin, counters)

    def confident(self, neighbors: Neighbors, *_: object, **__: object) -> bool:
        """Say whether such neighbors would be reused."""
        active = self._computed >= self._warm_up
        return active and bool(neighbors.labels) and neighbors.distances[0] <= self._threshold

    def learn(self, verdict: Verdict, label: int) -> Lesson:
        """Move the threshold by what the computed label says about the nearest entry; everything is kept."""
        self._computed += 1
        if not verdict.neighbors.labels:
            return Lesson(True, -1, False)
        distance = verdict.neighbors.distances[0]
        wrong = verdict.neighbors.labels[0] != label
        if wrong and distance < self._threshold:
            self._threshold /= 4.0
        elif not wrong and distance > self._threshold:
            self._threshold = 0.8 * self._threshold + 0.2 * distance
        if wrong and verdict.probe:
            self._counters.detected(verdict.probability)
        return Lesson(True, -1, wrong)

    def abandon(self, verdict: Verdict) -> None:
        """Take note that no answer will come: nothing is held for it."""

    def statistics(self) -> PolicyStatistics:
        """Return a snapshot of the counters; the bar is the threshold, +inf while warming up."""
        bar = self._threshold if self._computed >= self._warm_up else math.inf
        return self._counters.statistics("potluck", self._target, bar)

    def state(self) -> Mapping[str, Any]:
        """Return threshold and counters, JSON-able."""
        return {
            "policy": "potluck",
            "threshold": self._threshold,
            "computed": self._computed,
            "counters": self._counters.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned. Raises InvalidValue."""
        try:
            threshold, computed = float(state["threshold"]), int(state["computed"])
            if state["policy"] != "potluck" or not math.isfinite(threshold) or threshold < 0.0 or computed < 0:
                raise ValueError(f"{state['policy']}, {threshold}, {computed}")
            self._counters.restore(state["counters"])
        except UNFIT as error:
            raise unusable("potluck", error) from error
        self._threshold, self._computed = threshold, computed
