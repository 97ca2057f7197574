"""Leader clustering: groups of number lists that are close to the first of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_NUMBERS = 8_000_000
MAX_STRUCTURES = 4096
SAMPLED = 8
"""Numbers of each leader that are compared first, with all leaders of a structure."""
COMPARED = 1 << 19
"""Numbers compared in full at most for one list: a millisecond or so; leaders beyond are passed over."""


class Tolerance(NamedTuple):
    """How far two numbers may be apart and still count as equal: absolute + relative × the size of the leader's."""

    absolute: float = 0.01
    """In the numbers' own unit."""
    relative: float = 0.0
    """Of the leader's number, in [0, 1)."""


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

    def nearest(self, values: NDArray[np.float64], absolute: _Reach, relative: _Reach, slack: float) -> int:
        """Return the id of the one that the tolerances exceed the most in every number, or -1.

        absolute, relative: for all numbers, or of shape (n,).
        """
        asked = values.astype(np.float32)
        at = self.columns

        def excess(leaders: NDArray[np.float32], asked: NDArray[np.float32], *reach: _Reach) -> NDArray[np.float64]:
            beyond: NDArray[np.float64] = np.abs(leaders - asked) - reach[0]
            if np.any(reach[1]):
                beyond = beyond - reach[1] * np.abs(leaders)
            most: NDArray[np.float64] = beyond.max(axis=1)
            return most

        some = [each if np.ndim(each) == 0 else np.asarray(each)[at] for each in (absolute, relative)]
        sampled = excess(self.samples[: len(self.ids)], asked[at], *some)
        near = np.flatnonzero(sampled <= slack)
        most = max(1, COMPARED // len(values))
        if near.size > most:
            near = near[np.argpartition(sampled[near], most - 1)[:most]]
        if not near.size:
            return -1
        differences = excess(self.rows[near], asked, absolute, relative)
        best = int(differences.argmin())
        return self.ids[int(near[best])] if float(differences[best]) <= slack else -1


_Reach = float | NDArray[np.float64]


class Clusters:
    """Finds the leader within a tolerance in every number: of several, the one that the tolerance exceeds the most.

    Bounded: `limit` leaders of one structure, 4,096 structures, and 16 million numbers (64 MB) in all; beyond, a new
    leader takes the place of the oldest. Source: leader clustering (Hartigan, Clustering Algorithms, 1975, chapter 3).
    """

    def __init__(self, tolerance: Tolerance, limit: int, max_numbers: int = MAX_NUMBERS) -> None:
        """Set up. tolerance: of numbers that `find` is told no other for."""
        self._tolerance = tolerance
        self._limit = limit
        self._max_numbers = max_numbers
        self._leaders: dict[bytes, _Leaders] = {}
        self._numbers = 0

    def find(self, structure: bytes, values: NDArray[np.float64], tolerances: NDArray[np.float64] | None = None) -> int:
        """Return the id of the nearest leader within the tolerance, or -1; values has shape (n,).

        tolerances: shape (2, n), absolute and relative ones of each number.
        """
        leaders = self._leaders.get(structure)
        if leaders is None or leaders.rows.shape[1] != len(values):
            return -1
        # leaders are kept and compared as float32: allow for what rounding takes away
        absolute, relative = self._tolerance if tolerances is None else tolerances
        return leaders.nearest(values, absolute, relative, 1e-6 * float(np.abs(values).max()))

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
