"""Where phones are: random waypoint on a square, and the place that is nearest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE_M = 1000.0
SLOWEST, FASTEST = 0.8, 2.0
"""Meters a second: on foot."""
LONGEST_PAUSE_S = 60.0

Points = NDArray[np.float64]


def scatter(places: int, rng: np.random.Generator) -> Points:
    """Return places at random on the square, shape (places, 2), in meters."""
    return rng.uniform(0.0, SIDE_M, (places, 2))


class Walk:
    """One phone's way: to a random point at a random pace, a pause there, and on (random waypoint, Johnson 1996)."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Begin anywhere, on the way."""
        self._rng = rng
        self._from = rng.uniform(0.0, SIDE_M, 2)
        self._begin = 0.0
        self._leave()

    def at(self, time_s: float) -> Points:
        """Return where it is, shape (2,), in meters; time must not go back."""
        while time_s >= self._end + self._pause:
            self._from, self._begin = self._to, self._end + self._pause
            self._leave()
        share = min(1.0, (time_s - self._begin) / (self._end - self._begin))
        where: Points = self._from + share * (self._to - self._from)
        return where

    def _leave(self) -> None:
        self._to = self._rng.uniform(0.0, SIDE_M, 2)
        length = float(np.linalg.norm(self._to - self._from)) + 1e-9
        self._end = self._begin + length / float(self._rng.uniform(SLOWEST, FASTEST))
        self._pause = float(self._rng.uniform(0.0, LONGEST_PAUSE_S))


def nearest(places: Points, where: Points) -> int:
    """Return the index of the nearest place."""
    return int(np.square(places - where).sum(axis=1).argmin())
