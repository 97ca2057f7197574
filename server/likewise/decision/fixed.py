"""A fixed distance threshold: the policy of most caches, without a promise."""

from __future__ import annotations

import math

from likewise.decision.counters import Coin, Counting, nearest_within
from likewise.errors import InvalidValue
from likewise.types import Neighbors, PolicyStatistics, Reason, Source, Verdict


class Fixed(Counting):
    """Reuses the nearest entry within `threshold`.

    threshold: L2 distance, at least 0.
    dropout: share of would-be hits that is computed to check, in [0, 1].
    Reasons: within threshold, beyond threshold, probe, no neighbors.
    """

    name = "fixed"

    def __init__(self, accuracy_target: float, coin: Coin, threshold: float = 0.2, dropout: float = 0.0) -> None:
        if not (math.isfinite(threshold) and threshold >= 0.0 and 0.0 <= dropout <= 1.0):
            raise InvalidValue(
                f"threshold is {threshold} and dropout {dropout}; give a distance of at least 0, and a share in [0, 1]."
            )
        super().__init__(accuracy_target, coin)
        self._threshold = threshold
        self._dropout = dropout

    def decide(self, neighbors: Neighbors, *_: object, **__: object) -> Verdict:
        """Return the verdict for one request and count it."""
        counters = self._counters
        counters.requests += 1
        if not neighbors.labels:
            return Verdict(Source.NONE, Reason.NO_NEIGHBORS, neighbors)
        return nearest_within(neighbors, self._threshold, self._dropout, self._coin, counters)

    def confident(self, neighbors: Neighbors, *_: object, **__: object) -> bool:
        """Say whether such neighbors would be reused."""
        return bool(neighbors.labels) and neighbors.distances[0] <= self._threshold

    def statistics(self) -> PolicyStatistics:
        """Return a snapshot of the counters; the bar is the threshold."""
        return self._counters.statistics(self.name, self._target, self._threshold)
