"""An index of lists around centroids: cheap to add to and to remove from, and fast where keys lie in groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from likewise.errors import InvalidValue
from likewise.index.coded import CodedLists
from likewise.index.lists import Lists
from likewise.index.parts import Parts
from likewise.index.saved import Column, SavedIndex
from likewise.index.tombstoned import MIN_CAPACITY, TombstonedIndex
from likewise.types import Keys, Slots

EXACT_LIMIT = 512
"""Up to so many keys there is one list: too few to find centroids in, and a scan is as fast."""
CHUNK = 65_536
SAMPLE = 64
"""Keys for each centroid that it is found from."""


LISTS = 2.0
"""Lists, as a multiple of the square root of the keys."""


def lists_for(count: int, multiple: float = LISTS) -> int:
    """Return how many lists so many keys are put in."""
    return 1 if count <= EXACT_LIMIT else round(multiple * count**0.5)


class IvfIndex(TombstonedIndex):
    """Lists around centroids; new centroids as the keys quadruple or quarter. Its effort is a share of the keys.

    Finding centroids takes long among many keys: let AutoIndex do it in the background.
    """

    kind = "ivf"
    lists = LISTS
    """As many, times the square root of the keys."""
    lasts = 4
    """How many times as many keys there may be as when the centroids were found."""

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

        capacity: positions reserved, tombstones included. probe_share: of the keys, how many a search looks
        at, in (0, 1]. training: keys to find the first centroids in, shape (n, d), for `expected` keys.
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
        lists = min(lists_for(count, self.lists), max(1, len(training)))
        self._trained_at = count if lists > 1 else 0
        sample = training[self._rng.permutation(len(training))[: SAMPLE * lists]] if lists > 1 else None
        self._lists = self._made(capacity, lists, training=sample)
        self._lists.look_at(self._effort, self._least)
        return self._lists

    def _made(self, capacity: int, lists: int, **known: Keys | None) -> Lists:
        return Lists(self._dimension, capacity, lists, **known)

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
        lists = self._made(capacity, number, centroids=centroids, **self._known(saved))
        lists.look_at(self._effort, self._least)
        self._engine = self._lists = lists
        self._published = (self._engine, self._positions)
        self._reach_for(capacity)
        highest = int(slots.max(initial=-1)) + 1
        number_of = np.full(highest, -1, np.int64)
        for start in range(0, count, CHUNK):  # a part at a time: the loop waits for the interpreter meanwhile
            part = slots[start : start + CHUNK]
            number_of[part[part >= 0]] = numbers[start : start + CHUNK][part >= 0]
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

    def _known(self, saved: SavedIndex) -> dict[str, Keys]:
        """Return what a saved index has beside the centroids. Raises InvalidValue where it is damaged."""
        return {}

    @property
    def efforts(self) -> tuple[float, ...]:
        """Shares of the keys that come to 1 to 8, 10, 12, 14, 16, 20 and so on lists, at most half of them."""
        return self._shares({2**power * step // 4 for power in range(2, 31) for step in (4, 5, 6, 7)} | {1, 2, 3})

    def _shares(self, numbers: Iterable[float]) -> tuple[float, ...]:
        count = self._lists.lists
        return tuple(number / count for number in sorted(numbers) if number == 1 or number <= count / 2)

    @property
    def effort(self) -> float:
        """The share of the keys that a search looks at."""
        return self._effort

    @effort.setter
    def effort(self, effort: float) -> None:
        self._effort, self._least = effort, 1
        self._lists.look_at(effort, 1)

    @property
    def worn(self) -> bool:
        """True: tombstones are many, or the keys have quadrupled (or doubled, see `lasts`) or quartered."""
        count = len(self)
        return super().worn or count > max(EXACT_LIMIT, self.lasts * self._trained_at) or count < self._trained_at // 4


class CodedIvfIndex(IvfIndex):
    """Lists of keys in 8 bits a number, of which the best are compared exactly: for very many keys.

    Up to EXACT_LIMIT keys there is one list of keys as they are. Lists are fewer than elsewhere, so that all centroids
    can be scanned: a graph of them misses lists where they stand in groups.
    """

    kind = "ivf-sq8"
    lists = 1.0
    lasts = 2

    def _made(self, capacity: int, lists: int, **known: Keys | None) -> Lists:
        if lists == 1:
            return super()._made(capacity, lists, training=known.get("training"), centroids=known.get("centroids"))
        # room for all that may come before there are new lists: a page of it takes memory only once it is written
        return CodedLists(self._dimension, 5 * capacity // 2, lists, **known)

    def _columns(self, count: int) -> Iterable[Column]:
        yield from super()._columns(count)
        lists = self._lists
        yield "coding", [lists.coding if isinstance(lists, CodedLists) else np.empty(0, np.float32)]

    def built(self) -> None:
        """Say that keys come one by one from now on."""
        if isinstance(self._lists, CodedLists):
            self._lists.join_pages()

    @property
    def efforts(self) -> tuple[float, ...]:
        """Shares of the keys that come to 1, 1 1/8, 1 1/4 … 2, 2 1/4 and so on lists, at most half of them."""
        return self._shares(2.0**power * step / 8 for power in range(31) for step in range(8, 16))

    def _known(self, saved: SavedIndex) -> dict[str, Keys]:
        if saved.number("lists", 1) == 1:
            return {}
        coding = saved.column("coding", "<f4", self._dimension + 1)
        if not np.isfinite(coding).all() or coding[-1] <= 0:
            raise InvalidValue("it cannot be told how its keys were coded")
        return {"coding": coding}
