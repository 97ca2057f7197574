"""Where to compute, learned from what it took: exponentially weighted means, and the other way tried now and then."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Way = Literal["edge", "device"]

WEIGHT = 0.1
"""Of what is new in a mean; more at first, so that it begins as the plain mean."""
TRIED = 0.05
"""What tries of the dearer way may cost in the mean, as a share of what the cheaper one costs."""
MOST_TRIED = 0.1
"""Of all requests, the largest share that tries the dearer way."""


@dataclass
class Cost:
    """What one way takes."""

    seconds: float = 0.0
    """The mean of late; 0 before the first."""
    count: int = 0

    def add(self, seconds: float) -> None:
        """Take in what one request took."""
        self.count += 1
        self.seconds += max(WEIGHT, 1.0 / self.count) * (seconds - self.seconds)


class Choice:
    """What is known of one function. Not locked.

    A way costs the seconds that it takes, and its joules (watts × seconds) at the price of the battery.
    """

    def __init__(self, rng: random.Random, device_w: float = 0.0, radio_w: float = 0.0) -> None:
        """Set up. device_w, radio_w: watts that it takes to compute, and to wait for an answer."""
        self.edge = Cost()
        self.device = Cost()
        self._rng = rng
        self._watts = {"edge": radio_w, "device": device_w}

    def way(self, seconds_per_joule: float = 0.0) -> Way:
        """Return where to compute next. seconds_per_joule: how many seconds a joule is worth now."""
        if not self.edge.count or not self.device.count:
            return "device" if self.edge.count else "edge"
        edge, device = (self._cost(way, seconds_per_joule) for way in ("edge", "device"))
        better: Way = "edge" if edge <= device else "device"
        other: Way = "device" if better == "edge" else "edge"
        apart, least = abs(edge - device), min(edge, device)
        share = MOST_TRIED if apart * MOST_TRIED <= TRIED * least else TRIED * least / apart
        return other if self._rng.random() < share else better

    def _cost(self, way: str, seconds_per_joule: float) -> float:
        cost = self.edge if way == "edge" else self.device
        return cost.seconds * (1.0 + self._watts[way] * seconds_per_joule)
