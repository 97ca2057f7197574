"""What every policy counts, and the snapshot it gives of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from likewise.errors import UNFIT, InvalidValue
from likewise.types import Lesson, Neighbors, PolicyStatistics, Reason, Source, Verdict

# At hand: reading a member of an enumeration takes as long as a call.
_NEIGHBOR, _WITHIN = Source.NEIGHBOR, Reason.WITHIN_THRESHOLD

Coin = Callable[[], float]
"""Returns a fresh number, uniform in [0, 1), drawn privately: independent of all requests and results."""


class Counters:
    """Counts of one policy. `corrections` sums (1 - π) / π over detected false hits: unbiased for those not seen."""

    __slots__ = ("corrections", "false_hits_seen", "probes", "requests", "would_be_hits")

    def __init__(self) -> None:
        self.requests = 0
        self.would_be_hits = 0
        self.probes = 0
        self.false_hits_seen = 0
        self.corrections = 0.0

    def detected(self, probability: float) -> None:
        """Count a probe, taken with `probability`, that contradicted its would-be hit."""
        self.false_hits_seen += 1
        self.corrections += (1.0 - probability) / probability

    @property
    def estimated_accuracy(self) -> float:
        """1 minus the estimated false hits per request; NaN before the first probe."""
        if self.would_be_hits and not self.probes:
            return math.nan
        return max(0.0, 1.0 - self.corrections / max(1, self.requests))

    @property
    def hit_precision(self) -> float:
        """1 minus the estimated false hits per reused answer; NaN before the first probe, or without a hit."""
        hits = self.would_be_hits - self.probes
        return max(0.0, 1.0 - self.corrections / hits) if hits and self.probes else math.nan

    def statistics(
        self, policy: str, accuracy_target: float, bar: float, bound: float = math.nan, tokens: float = math.nan
    ) -> PolicyStatistics:
        """Return the counts as a snapshot."""
        return PolicyStatistics(
            policy=policy,
            accuracy_target=accuracy_target,
            bar=bar,
            requests=self.requests,
            would_be_hits=self.would_be_hits,
            probes=self.probes,
            false_hits_seen=self.false_hits_seen,
            estimated_accuracy=self.estimated_accuracy,
            false_hits_bound=bound,
            tokens=tokens,
            hit_precision=self.hit_precision,
        )

    def state(self) -> dict[str, float]:
        """Return the counts, JSON-able."""
        return {name: getattr(self, name) for name in self.__slots__}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over counts from `state`. Raises KeyError, TypeError or ValueError where they are not."""
        for name in self.__slots__:
            number = state[name]
            if not math.isfinite(number) or number < 0:
                raise ValueError(f"{name} is {number}")
            setattr(self, name, float(number) if name == "corrections" else int(number))


def unusable(policy: str, why: object) -> InvalidValue:
    """Return the error for a state that a policy cannot take over."""
    return InvalidValue(
        f"The learned state is not one of policy `{policy}` ({why!r}); start without it, or restore one that it wrote."
    )


class Counting:
    """What the policies share that learn nothing from a computed label but whether a probe was right."""

    name: str

    def __init__(self, accuracy_target: float, coin: Coin) -> None:
        self._target = accuracy_target
        self._coin = coin
        self._counters = Counters()

    def learn(self, verdict: Verdict, label: int) -> Lesson:
        """Count a computed label; nothing else is learned, and everything is kept."""
        wrong = verdict.label >= 0 and verdict.label != label
        if wrong and verdict.probe:
            self._counters.detected(verdict.probability)
        return Lesson(True, -1, wrong)

    def abandon(self, verdict: Verdict) -> None:
        """Take note that no answer will come: nothing is held for it."""

    def state(self) -> Mapping[str, Any]:
        """Return the counters, JSON-able."""
        return {"policy": self.name, "counters": self._counters.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned. Raises InvalidValue."""
        try:
            if state["policy"] != self.name:
                raise ValueError(state["policy"])
            self._counters.restore(state["counters"])
        except UNFIT as error:
            raise unusable(self.name, error) from error


def nearest_within(neighbors: Neighbors, threshold: float, dropout: float, coin: Coin, counters: Counters) -> Verdict:
    """Return the verdict on the nearest of some neighbors: reused within a threshold, but for a share of probes."""
    label, slot = neighbors.labels[0], neighbors.slots[0]
    if neighbors.distances[0] > threshold:
        return Verdict(Source.NONE, Reason.BEYOND_THRESHOLD, neighbors, slot, label)
    counters.would_be_hits += 1
    if dropout and coin() < dropout:
        counters.probes += 1
        return Verdict(Source.NONE, Reason.PROBE, neighbors, slot, label, True, dropout)
    return Verdict(_NEIGHBOR, _WITHIN, neighbors, slot, label, False, dropout)
