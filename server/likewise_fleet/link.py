"""What a link does to the bytes of one direction: when they arrive. No I/O, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from likewise_fleet.networks import Network

SEGMENT_BYTES = 1448
"""What a TCP segment carries on Ethernet, with time stamps."""


class Spells:
    """With network and without, in turn, for times that are drawn from exponential distributions."""

    def __init__(self, network: Network, rng: Random, begin: float) -> None:
        """Begin with network. begin: seconds, as `until` takes them."""
        self._network = network
        self._rng = rng
        self._online = True
        self._ends = begin + rng.expovariate(1 / network.online_s) if network.online_s else math.inf

    def until(self, now: float) -> float:
        """Return when the spell without network ends that `now` is in; `now` itself where there is network."""
        while now >= self._ends:
            self._online = not self._online
            mean_s = self._network.online_s if self._online else self._network.offline_s
            self._ends += self._rng.expovariate(1 / mean_s)
        return now if self._online else self._ends


class Direction:
    """One direction of one connection: bytes leave at the link's rate, are delayed, and arrive in order.

    A lost segment arrives a retransmission time-out later, and what is behind it with it: TCP hides loss as delay.
    """

    def __init__(self, network: Network, bps: float, rng: Random, until: Callable[[float], float]) -> None:
        """Set up an idle direction. bps: bits a second; until: as `Spells.until`."""
        self._network = network
        self._bps = bps
        self._rng = rng
        self._until = until
        self._free = 0.0
        self._last = 0.0

    def arrival(self, now: float, count: int) -> float:
        """Return when `count` bytes arrive that are sent now, in seconds; never before those sent earlier."""
        network, rng = self._network, self._rng
        self._free = max(self._until(now), self._free) + 8 * count / self._bps
        arrival = self._free + network.base_s
        if now >= self._last:  # what follows closely shares the wait of what is before it
            jitter_s = rng.lognormvariate(math.log(network.jitter_median_s), network.jitter_sigma)
            arrival += min(jitter_s, network.longest_s)
        if rng.random() >= (1 - network.loss) ** math.ceil(count / SEGMENT_BYTES):
            arrival += network.retransmit_s
        self._last = max(self._last, arrival)
        return self._last
