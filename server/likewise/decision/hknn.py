"""Homogenized k nearest neighbors, FoggyCache's policy: reuse where the neighbors agree."""

from __future__ import annotations

from likewise.decision.counters import Coin, Counting
from likewise.decision.votes import homogeneity
from likewise.errors import InvalidValue
from likewise.types import Neighbors, PolicyStatistics, Reason, Source, Verdict


class Hknn(Counting):
    """Reuses the winner of the vote where its share, the homogeneity factor, is at least `theta`.

    theta: in [0, 1].
    threshold: only neighbors within this L2 distance vote; without a cut-off, the first few entries would agree
        with each other about everything.
    dropout: share of would-be hits that is computed to check, in [0, 1].
    Reasons: homogeneous, heterogeneous, probe, no neighbors (none within the threshold).
    Source: FoggyCache (MobiCom 2018), section on H-kNN.
    """

    name = "hknn"

    def __init__(
        self,
        accuracy_target: float,
        coin: Coin,
        theta: float = 0.9,
        threshold: float = 0.7,
        dropout: float = 0.0,
    ) -> None:
        if not (0.0 <= theta <= 1.0 and threshold >= 0.0 and 0.0 <= dropout <= 1.0):
            raise InvalidValue(
                f"theta is {theta}, threshold {threshold} and dropout {dropout}; give theta and dropout "
                "in [0, 1], and a distance of at least 0."
            )
        super().__init__(accuracy_target, coin)
        self._theta = theta
        self._threshold = threshold
        self._dropout = dropout

    def _vote(self, neighbors: Neighbors) -> tuple[int, int, float] | None:
        distances = neighbors.distances
        if not distances or distances[0] > self._threshold:
            return None
        if distances[-1] > self._threshold:
            within = sum(distance <= self._threshold for distance in distances)
            neighbors = Neighbors(distances[:within], neighbors.labels[:within], neighbors.slots[:within])
        return homogeneity(neighbors)

    def decide(self, neighbors: Neighbors, *_: object, **__: object) -> Verdict:
        """Return the verdict for one request and count it."""
        counters = self._counters
        counters.requests += 1
        vote = self._vote(neighbors)
        if vote is None:
            return Verdict(Source.NONE, Reason.NO_NEIGHBORS, neighbors)
        label, slot, share = vote
        if share < self._theta:
            return Verdict(Source.NONE, Reason.HETEROGENEOUS, neighbors, slot, label, False, 1.0, share)
        counters.would_be_hits += 1
        if self._dropout and self._coin() < self._dropout:
            counters.probes += 1
            return Verdict(Source.NONE, Reason.PROBE, neighbors, slot, label, True, self._dropout, share)
        return Verdict(Source.NEIGHBOR, Reason.HOMOGENEOUS, neighbors, slot, label, False, self._dropout, share)

    def confident(self, neighbors: Neighbors, *_: object, **__: object) -> bool:
        """Say whether such neighbors would be reused."""
        vote = self._vote(neighbors)
        return vote is not None and vote[2] >= self._theta

    def statistics(self) -> PolicyStatistics:
        """Return a snapshot of the counters; the bar is theta."""
        return self._counters.statistics(self.name, self._target, self._theta)
