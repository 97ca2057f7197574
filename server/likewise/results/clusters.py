"""Leader clustering: groups of number lists that are close to the first of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_NUMBERS = 8_000_000


class Tolerance(NamedTuple):
    """How far two numbers may be apart and still count as equal: absolute + relative × the size of the leader's."""

    absolute: float = 0.01
    """In the numbers' own unit."""
    relative: float = 0.0
    """Of the leader's number, in [0, 1)."""


class _Leaders:
    """The leaders of one structure, as rows of one array."""

    def __init__(self, width: int) -> None:
        self.rows = np.zeros((4, width), np.float32)
        self.ids: list[int] = []
        self.oldest = 0

    def add(self, values: NDArray[np.float64], id: int, room: int) -> None:
        count = len(self.ids)
        if count >= room and count:
            self.rows[self.oldest] = values
            self.ids[self.oldest] = id
            self.oldest = (self.oldest + 1) % count
            return
        if count == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
        self.rows[count] = values
        self.ids.append(id)


class Clusters:
    """Finds the leader within a tolerance in every number: of several, the one that the tolerance exceeds the most.

    Bounded: `limit` leaders of one structure and 8 million numbers (32 MB) in all; beyond, a new leader takes the
    place of the oldest. Source: leader clustering (Hartigan, Clustering Algorithms, 1975, chapter 3).
    """

    def __init__(self, tolerance: Tolerance, limit: int, max_numbers: int = MAX_NUMBERS) -> None:
        """Set up. tolerance: of numbers that `find` is told no other for."""
        self._tolerance = tolerance
        self._limit = limit
        self._max_numbers = max_numbers
        self._leaders: dict[bytes, _Leaders] = {}

    def find(self, structure: bytes, values: NDArray[np.float64], tolerances: NDArray[np.float64] | None = None) -> int:
        """Return the id of the nearest leader within the tolerance, or -1; values has shape (n,).

        tolerances: shape (2, n), absolute and relative ones of each number.
        """
        leaders = self._leaders.get(structure)
        if leaders is None or leaders.rows.shape[1] != len(values):
            return -1
        rows = leaders.rows[: len(leaders.ids)]
        absolute, relative = self._tolerance if tolerances is None else tolerances
        differences = np.abs(rows - values)
        if np.any(relative):
            differences -= relative * np.abs(rows)
        differences = (differences - absolute).max(axis=1)
        nearest = int(differences.argmin())
        # leaders are kept as float32: allow for what rounding takes away
        slack = 1e-6 * float(np.abs(values).max())
        return leaders.ids[nearest] if float(differences[nearest]) <= slack else -1

    def lead(self, structure: bytes, values: NDArray[np.float64], id: int) -> None:
        """Make values, shape (n,), the leader of a new group."""
        leaders = self._leaders.pop(structure, None)
        if leaders is None or leaders.rows.shape[1] != len(values):
            leaders = _Leaders(len(values))
        self._leaders[structure] = leaders
        leaders.add(values, id, min(self._limit, max(1, self._max_numbers // max(1, len(values)))))
        while sum(each.rows.size for each in self._leaders.values()) > 2 * self._max_numbers and len(self._leaders) > 1:
            del self._leaders[next(iter(self._leaders))]
