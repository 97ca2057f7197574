"""Where phones are: random waypoint on a square, and the place that is near."""

from __future__ import annotations

import math
from random import Random

import numpy as np

CELL_M = 500.0
"""Side of the cell that each place has for itself."""
SLOWEST, FASTEST = 0.8, 2.0
"""Meters a second: on foot."""
LONGEST_PAUSE_S = 60.0

Point = tuple[float, float]


class Places:
    """A square of cells with a place at random in each, so that any number of them is found at once."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        """Scatter so many places, at least 1."""
        self._columns = math.ceil(math.sqrt(count))
        self.side_m = CELL_M * self._columns
        self._where: list[Point] = []
        for at, (right, up) in enumerate(rng.uniform(0.0, CELL_M, (count, 2)).tolist()):
            row, column = divmod(at, self._columns)
            self._where.append((CELL_M * column + right, CELL_M * row + up))

    def nearest(self, where: Point) -> int:
        """Return the nearest place of those in the cell there and the eight around it; of all where they have none."""
        column, row = int(where[0] // CELL_M), int(where[1] // CELL_M)
        around = [
            there
            for y in range(max(0, row - 1), row + 2)
            for x in range(max(0, column - 1), min(self._columns, column + 2))
            if (there := y * self._columns + x) < len(self._where)
        ]
        return min(around or range(len(self._where)), key=lambda at: math.dist(self._where[at], where))


class Walk:
    """One phone's way: to a random point at a random pace, a pause there, and on (random waypoint, Johnson 1996)."""

    def __init__(self, side_m: float, rng: Random) -> None:
        """Begin anywhere, on the way. side_m: of the square."""
        self._side_m = side_m
        self._rng = rng
        self._to = self._anywhere()
        self._end = self._pause = 0.0
        self._leave()

    def at(self, time_s: float) -> Point:
        """Return where it is, in meters; time must not go back."""
        while time_s >= self._end + self._pause:
            self._leave()
        share = min(1.0, (time_s - self._begin) / (self._end - self._begin))
        return (
            self._from[0] + share * (self._to[0] - self._from[0]),
            self._from[1] + share * (self._to[1] - self._from[1]),
        )

    def _leave(self) -> None:
        self._from, self._begin = self._to, self._end + self._pause
        self._to = self._anywhere()
        length_m = math.dist(self._from, self._to) + 1e-6
        self._end = self._begin + length_m / self._rng.uniform(SLOWEST, FASTEST)
        self._pause = self._rng.uniform(0.0, LONGEST_PAUSE_S)

    def _anywhere(self) -> Point:
        return self._rng.uniform(0.0, self._side_m), self._rng.uniform(0.0, self._side_m)
