"""Who asks what, when and where: bursts of looks at one thing, drawn by Zipf's law from those at the phone's place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from likewise.errors import InvalidValue
from likewise_fleet.movement import Walk, nearest, scatter

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
        self.where = scatter(demand.place_count, rng)
        self._things: list[list[np.ndarray]] = []
        self._shares: list[np.ndarray] = []
        for there in demand.things:
            count = min(demand.things_per_place, there)
            share = 1 / np.arange(1, count + 1) ** demand.zipf
            self._shares.append(np.cumsum(share / share.sum()))
            self._things.append(_dealt(there, count, demand.place_count, rng))

    def draw(self, place: int, workload: int, uniform: float) -> int:
        """Return a thing at a place. uniform: in [0, 1)."""
        things = self._things[workload][place]
        rank = int(np.searchsorted(self._shares[workload], uniform, side="right"))
        return int(things[min(rank, len(things) - 1)])


def looks(demand: Demand, town: Town, phone: int) -> Iterator[Look]:
    """Yield what one phone asks, without end; the same for the same demand."""
    rng = np.random.default_rng([demand.seed, 103, phone])
    walk = Walk(rng)
    time_s = float(rng.uniform(0.0, demand.pause_s))
    think_s = time_s
    low, high = demand.burst
    while True:
        place = nearest(town.where, walk.at(time_s))
        workload = int(rng.integers(len(demand.workloads)))
        thing = town.draw(place, workload, float(rng.random()))
        for at in range(int(rng.integers(low, high + 1))):
            yield Look(phone, think_s, place, workload, thing, at == 0)
            think_s = FRAME_S
            time_s += FRAME_S + NOMINAL_S
        think_s = float(rng.exponential(demand.pause_s))
        time_s += think_s


def per_phone(demand: Demand) -> Sequence[int]:
    """Return how many requests each phone sends."""
    each, more = divmod(demand.requests, demand.phones)
    return [each + (phone < more) for phone in range(demand.phones)]


def _dealt(there: int, count: int, places: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return `count` things for each place, from all of them in turn: places share none while there are enough."""
    hands: list[np.ndarray] = []
    deck = rng.permutation(there)
    for _ in range(places):
        if len(deck) < count:
            deck = np.concatenate([deck, rng.permutation(there)])
        hands.append(deck[:count])
        deck = deck[count:]
    return hands
