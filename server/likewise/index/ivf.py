"""An index of lists around centroids: cheap to add to and to remove from, and fast where keys lie in groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from likewise.errors import InvalidValue
from likewise.index.kernels import Lists
from likewise.index.parts import Parts
from likewise.index.saved import Column, SavedIndex
from likewise.index.tombstoned import MIN_CAPACITY, TombstonedIndex
from likewise.types import Keys, Slots

EXACT_LIMIT = 512
"""Up to so many keys there is one list: too few to find centroids in, and a scan is as fast."""
CHUNK = 65_536
SAMPLE = 64
"""Keys for each centroid that it is found from."""


def lists_for(count: int) -> int:
    """Return how many lists so many keys are put in."""
    return 1 if count <= EXACT_LIMIT else round(2 * count**0.5)


class IvfIndex(TombstonedIndex):
    """Lists around centroids; new centroids as the keys quadruple or quarter. Its effort is a share of the lists.

    Finding centroids takes long among many keys: let AutoIndex do it in the background.
    """

    kind = "ivf"

    def __init__(
        self,
        dimension: int,
        *,
        capacity: int = MIN_CAPACITY,
        probe_share: float = 0.08,
        seed: int = 0,
        training: Keys | None = None,
        expected: int = 0,
        rebuilds_itself: bool = True,
    ) -> None:
        """Set up an empty index.

        capacity: positions reserved, tombstones included. probe_share: of the lists, how many a search looks
        through, in (0, 1]. training: keys to find the first centroids in, shape (n, d), for `expected` keys.
        Raises InvalidValue for a probe share out of range.
        """
        if not 0 < probe_share <= 1:
            raise InvalidValue(f"A probe share of {probe_share} cannot be used; take more than 0 and at most 1.")
        self._effort = probe_share
        self._least = 4
        self._rng = np.random.default_rng(seed)
        self._training, self._expected = training, expected
        super().__init__(dimension, capacity=capacity, rebuilds_itself=rebuilds_itself)
        self._training = None

    def _make(self, capacity: int, keys: Keys) -> Lists:
        count = self._expected if self._training is not None else len(keys)
        training = keys if self._training is None else self._training
        lists = min(lists_for(count), max(1, len(training)))
        self._trained_at = count if lists > 1 else 0
        sample = training[self._rng.permutation(len(training))[: SAMPLE * lists]] if lists > 1 else None
        self._lists = Lists(self._dimension, capacity, lists, self._probes(lists), sample)
        return self._lists

    def _facts(self) -> dict[str, Any]:
        return {"lists": self._lists.lists, "trained_at": self._trained_at, "least": self._least}

    def _columns(self, count: int) -> Iterable[Column]:
        lists = self._lists
        yield "centroids", [lists.centroids]
        yield "numbers", (lists.numbers(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))

    def restore_from(self, saved: SavedIndex, slots: Slots, parts: Parts, cancelled: Callable[[], bool]) -> bool:
        """Become saved lists over the keys of the parts; see TombstonedIndex."""
        count, number = len(slots), saved.number("lists", 1)
        numbers = saved.column("numbers", "<i4", count)
        if int(numbers.min()) < 0 or int(numbers.max()) >= number:
            raise InvalidValue("a key is in a list that is not there")
        centroids = saved.column("centroids", "<f4", number * self._dimension).reshape(number, self._dimension)
        if not np.isfinite(centroids).all():
            raise InvalidValue("a centroid is no number")
        self._trained_at, self._least = saved.number("trained_at"), saved.number("least", 1)
        capacity = max(MIN_CAPACITY, 2 * count)
        lists = Lists(self._dimension, capacity, number, self._probes(number), centroids=centroids)
        self._engine = self._lists = lists
        self._published = (self._engine, self._positions)
        self._reach_for(capacity)
        highest = int(slots.max(initial=-1)) + 1
        number_of = np.full(highest, -1, np.int64)
        number_of[slots[slots >= 0]] = numbers[slots >= 0]
        for part, keys in parts:
            if cancelled():
                return False
            listed = np.full(len(part), -1, np.int64)
            listed[part < highest] = number_of[part[part < highest]]
            known = listed >= 0
            start = lists.count
            lists.append_to(listed[known], np.ascontiguousarray(keys[known]))
            self._place(part[known], start)
            self.add(part[~known], keys[~known])
        return True

    def _probes(self, lists: int) -> int:
        return max(min(self._least, lists), round(self._effort * lists))

    @property
    def efforts(self) -> tuple[float, ...]:
        """Shares of the lists that come to 1, 2, 3, 4, 6, 8, 12 and so on, at most half of them."""
        count = self._lists.lists
        numbers = sorted({2**power * step // 2 for power in range(1, count.bit_length()) for step in (2, 3)} | {1})
        return tuple(number / count for number in numbers if number == 1 or number <= count // 2)

    @property
    def effort(self) -> float:
        """The share of the lists that a search looks through."""
        return self._effort

    @effort.setter
    def effort(self, effort: float) -> None:
        self._effort, self._least = effort, 1
        self._lists.probe(self._probes(self._lists.lists))

    @property
    def worn(self) -> bool:
        """True: tombstones are many, or the keys have quadrupled or quartered; time for new lists."""
        count = len(self)
        return super().worn or count > max(EXACT_LIMIT, 4 * self._trained_at) or count < self._trained_at // 4
