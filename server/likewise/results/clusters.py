"""Leader clustering: groups of number lists that are close to the first of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_NUMBERS = 8_000_000
MAX_STRUCTURES = 4096
SAMPLED = 8
"""Numbers of each leader that are compared first, with all leaders of a structure."""
COMPARED = 1 << 19
"""Numbers compared in full at most for one list: a millisecond or so; leaders beyond are passed over."""


class _Leaders:
    """The leaders of one structure, as rows of one array, and some columns of it apart."""

    def __init__(self, width: int) -> None:
        self.rows = np.zeros((1, width), np.float32)
        self.columns = np.unique(np.linspace(0, width - 1, min(SAMPLED, width)).astype(np.int64))
        self.samples = np.zeros((1, len(self.columns)), np.float32)
        self.ids: list[int] = []
        self.oldest = 0

    def add(self, values: NDArray[np.float64], id: int, room: int) -> None:
        count = len(self.ids)
        if count >= room and count:
            at = self.oldest
            self.ids[at] = id
            self.oldest = (at + 1) % count
        else:
            at = count
            self.ids.append(id)
            if count == len(self.rows):
                self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
                self.samples = np.concatenate([self.samples, np.zeros_like(self.samples)])
        self.rows[at] = values
        self.samples[at] = values[self.columns]

    def nearest(self, values: NDArray[np.float64], reach: float) -> int:
        """Return the id of the nearest within reach in every number, or -1."""
        asked = values.astype(np.float32)
        sampled = np.abs(self.samples[: len(self.ids)] - asked[self.columns]).max(axis=1)
        near = np.flatnonzero(sampled <= reach)
        most = max(1, COMPARED // len(values))
        if near.size > most:
            near = near[np.argpartition(sampled[near], most - 1)[:most]]
        if not near.size:
            return -1
        differences = np.abs(self.rows[near] - asked).max(axis=1)
        best = int(differences.argmin())
        return self.ids[int(near[best])] if float(differences[best]) <= reach else -1


class Clusters:
    """Finds the nearest leader within a tolerance, in the largest difference of any one number.

    Bounded: `limit` leaders of one structure, 4,096 structures, and 16 million numbers (64 MB) in all; beyond, a new
    leader takes the place of the oldest. Source: leader clustering (Hartigan, Clustering Algorithms, 1975, chapter 3).
    """

    def __init__(self, tolerance: float, limit: int, max_numbers: int = MAX_NUMBERS) -> None:
        """Set up. tolerance: in the numbers' own unit."""
        self._tolerance = tolerance
        self._limit = limit
        self._max_numbers = max_numbers
        self._leaders: dict[bytes, _Leaders] = {}
        self._numbers = 0

    def find(self, structure: bytes, values: NDArray[np.float64]) -> int:
        """Return the id of the nearest leader within the tolerance, or -1; values has shape (n,)."""
        leaders = self._leaders.get(structure)
        if leaders is None or leaders.rows.shape[1] != len(values):
            return -1
        # leaders are kept and compared as float32: allow for what rounding takes away
        return leaders.nearest(values, self._tolerance + 1e-6 * float(np.abs(values).max()))

    def lead(self, structure: bytes, values: NDArray[np.float64], id: int) -> None:
        """Make values, shape (n,), the leader of a new group."""
        leaders = self._leaders.pop(structure, None)
        if leaders is not None:
            self._numbers -= leaders.rows.size
        if leaders is None or leaders.rows.shape[1] != len(values):
            leaders = _Leaders(len(values))
        self._leaders[structure] = leaders
        leaders.add(values, id, min(self._limit, max(1, self._max_numbers // max(1, len(values)))))
        self._numbers += leaders.rows.size
        while len(self._leaders) > 1 and (self._numbers > 2 * self._max_numbers or len(self._leaders) > MAX_STRUCTURES):
            self._numbers -= self._leaders.pop(next(iter(self._leaders))).rows.size
