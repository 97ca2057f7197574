"""Who asks what, when and where: bursts of looks at one thing, drawn by Zipf's law from those at the phone's place."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from likewise.errors import InvalidValue
from likewise_fleet.movement import Places, Walk

FRAME_S = 0.2
"""Between an answer and the next look at the same thing."""
NOMINAL_S = 0.05
"""What an answer is taken to need, for where a phone has got to meanwhile."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What the demand of a fleet is like."""

    phones: int
    requests: int
    """Of all phones together."""
    workloads: tuple[str, ...]
    things: tuple[int, ...]
    """How many there are of each workload."""
    seed: int = 1
    places: int = 0
    """0: one for every five phones."""
    things_per_place: int = 25
    """Of each workload; where there are fewer in all, places share them."""
    zipf: float = 1.0
    """Exponent of popularity at a place."""
    pause_s: float = 4.0
    """Mean time between bursts, exponential."""
    burst: tuple[int, int] = (3, 5)
    """Fewest and most looks in a burst."""

    def __post_init__(self) -> None:
        """Raise InvalidValue for numbers out of range."""
        for name, least in (("phones", 1), ("requests", 1), ("places", 0), ("things_per_place", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InvalidValue(f"A fleet's {name} is {least} or more, not {getattr(self, name)}.")
        if not (0 <= self.zipf <= 5 and 0 < self.pause_s < math.inf and 1 <= self.burst[0] <= self.burst[1]):
            raise InvalidValue("zipf is 0 to 5, pause_s above 0, and a burst at least one look long.")
        if not self.workloads or len(self.workloads) != len(self.things) or min(self.things) < 1:
            raise InvalidValue("A fleet needs at least one workload, and things in each.")

    @property
    def place_count(self) -> int:
        """How many places there are."""
        return self.places or max(1, self.phones // 5)


@dataclass(frozen=True, slots=True)
class Look:
    """One request, before there is an input."""

    phone: int
    think_s: float
    """Since the phone's answer before."""
    place: int
    workload: int
    thing: int
    first: bool
    """Whether a burst begins with it."""


class Town:
    """The places, what is at each, and how popular."""

    def __init__(self, demand: Demand) -> None:
        """Scatter places and things. The same seed gives the same town."""
        rng = np.random.default_rng([demand.seed, 101])
        self.places = Places(demand.place_count, rng)
        self._things: list[list[list[int]]] = []
        self._shares: list[list[float]] = []
        for there in demand.things:
            count = min(demand.things_per_place, there)
            share = 1 / np.arange(1, count + 1) ** demand.zipf
            self._shares.append(np.cumsum(share / share.sum()).tolist())
            self._things.append(_dealt(there, count, demand.place_count, rng))

    def draw(self, place: int, workload: int, uniform: float) -> int:
        """Return a thing at a place. uniform: in [0, 1)."""
        things = self._things[workload][place]
        return things[min(bisect_right(self._shares[workload], uniform), len(things) - 1)]


def looks(demand: Demand, town: Town, phone: int) -> Iterator[Look]:
    """Yield what one phone asks, without end; the same for the same demand."""
    rng = Random(f"{demand.seed} looks {phone}")
    walk = Walk(town.places.side_m, rng)
    think_s = time_s = rng.uniform(0.0, demand.pause_s)
    low, high = demand.burst
    while True:
        place = town.places.nearest(walk.at(time_s))
        workload = rng.randrange(len(demand.workloads))
        thing = town.draw(place, workload, rng.random())
        for at in range(rng.randint(low, high)):
            yield Look(phone, think_s, place, workload, thing, at == 0)
            think_s = FRAME_S
            time_s += FRAME_S + NOMINAL_S
        think_s = rng.expovariate(1 / demand.pause_s)
        time_s += think_s


def per_phone(demand: Demand) -> Sequence[int]:
    """Return how many requests each phone sends."""
    each, more = divmod(demand.requests, demand.phones)
    return [each + (phone < more) for phone in range(demand.phones)]


def _dealt(there: int, count: int, places: int, rng: np.random.Generator) -> list[list[int]]:
    """Return `count` things for each place, from all of them in turn: places share none while there are enough."""
    hands: list[list[int]] = []
    deck: list[int] = []
    for _ in range(places):
        if len(deck) < count:
            deck = [*rng.permutation(there).tolist(), *deck]
        hands.append(deck[-count:])
        del deck[-count:]
    return hands
