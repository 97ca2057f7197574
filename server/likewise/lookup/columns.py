"""What is kept of each entry beside key and result: one array for each fact, 78 bytes for each slot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.facts import DIGEST_BYTES, FACTS, MAX_USE_COUNT, Fact
from likewise.index.views import floats, ints
from likewise.lookup.interning import Names
from likewise.records import EntryBlock
from likewise.types import Entry, Slots

MAX_CAPACITY = 100_000_000
_LARGEST = float(np.finfo(np.float32).max)


class Columns:
    """Facts about entries by slot. Arrays for arithmetic, views of the same memory for single facts.

    The arrays have their full length from the start, so they never grow: a page of them takes memory only once it is
    written. Reading one number through a view takes a third of what it takes through an array.
    """

    no_digest = bytes(DIGEST_BYTES)
    """How a digest that is unknown stands in its column."""

    def __init__(self, capacity: int, owner: str = "") -> None:
        """Set up for `capacity` slots. owner: `name@version`, for messages.

        Raises InvalidValue for fewer than 1 or more than 100 million.
        """
        if not 1 <= capacity <= MAX_CAPACITY:
            raise InvalidValue(f"A capacity of {capacity} entries cannot be used; take 1 to {MAX_CAPACITY}.")
        self.capacity = capacity
        held = [fact for fact in FACTS if fact.held]
        self.facts: dict[str, NDArray[Any]] = {fact.name: np.zeros(capacity, fact.held) for fact in held}
        """By name, those of `facts.FACTS`; times are those of the namespace's own clock."""
        self.names = {fact.name: Names(owner, fact.name.replace("_", " ")) for fact in held if fact.interned}
        """The strings whose numbers stand in the columns of interned facts."""
        self.labels = np.zeros(capacity, np.int64)
        self.order = np.zeros(capacity, np.int64)
        """Number of the insertion, from 1; 0 where the slot is free."""
        self.size = np.zeros(capacity, np.int32)
        """Bytes of keys, result and tags."""
        self.used = np.zeros(capacity, np.uint32)
        """Ticks of the eviction policy; see there."""
        self.ids, self.created, self.expires = (self.facts[name] for name in ("id", "created_at", "expires_at"))
        self.cost, self.uses = self.facts["cost_s"], self.facts["use_count"]
        self.id_of = ints(self.ids)
        self.label_of = ints(self.labels)
        self.order_of = ints(self.order)
        self.created_of = floats(self.created)
        self.expires_of = floats(self.expires)
        self.cost_of = floats(self.cost)
        self.size_of = ints(self.size)
        self.uses_of = ints(self.uses)
        self.used_of = ints(self.used)
        self._media_types, self._media_type_of = self.names["media_type"], ints(self.facts["media_type"])
        self._digests = ints(self.facts["digest"].view(np.uint8))
        self._access = [(fact, *self._view(fact)) for fact in held]
        self._interned = [(fact, self.names[fact.name]) for fact in held if fact.interned]
        self._numbers = [(names, ints(self.facts[fact.name])) for fact, names in self._interned]
        self.high = 0
        """Slots below this have been used."""
        self._free: list[int] = []

    def _view(self, fact: Fact) -> tuple[Callable[[int, Any], None], Callable[[int], Any]]:
        """Return what writes one fact of a slot, and what reads it."""
        array = self.facts[fact.name]
        if fact.interned:
            numbers, names = ints(array), self.names[fact.name]

            def put(slot: int, value: str) -> None:
                numbers[slot] = names.hold(value)

            return put, lambda slot: names[numbers[slot]]
        if array.dtype.kind == "V":
            return self._put_digest, self.digest
        view: Any = memoryview(array)  # type: ignore[arg-type]
        if fact.name == "use_count":
            return lambda slot, value: view.__setitem__(slot, min(value, MAX_USE_COUNT)), view.__getitem__
        if fact.held == "f4":
            return lambda slot, value: view.__setitem__(slot, max(-_LARGEST, min(value, _LARGEST))), view.__getitem__
        return view.__setitem__, view.__getitem__

    # ── whole entries ──────────────────────────────────────────────────────────────────────────────────────

    def check(self, entry: Entry) -> list[int]:
        """Return the slots whose entries have to go before this one is written, since its strings find no room.

        Raises InvalidValue for facts that cannot be kept.
        """
        if len(entry.digest) not in (0, DIGEST_BYTES):
            raise InvalidValue(f"A digest has {DIGEST_BYTES} bytes, not {len(entry.digest)}.")
        crowded: list[int] = []
        for fact, names in self._interned:
            text = fact.of(entry)
            names.check(text)
            if (number := names.in_the_way(text)) >= 0:
                crowded += self.live()[self.facts[fact.name][self.live()] == number].tolist()
        return crowded

    def write(self, slot: int, entry: Entry) -> None:
        """Write the facts of a checked entry to a slot that was taken."""
        for fact, put, _ in self._access:
            put(slot, fact.of(entry))

    def release(self, slot: int) -> None:
        """Let go of the strings that an entry holds, before its slot is free."""
        for names, numbers in self._numbers:
            names.release(numbers[slot])

    def read(self, slot: int) -> dict[str, Any]:
        """Return an entry's facts by name."""
        return {fact.name: get(slot) for fact, _, get in self._access}

    def storable(self, block: EntryBlock) -> NDArray[np.bool_]:
        """Return which of a block's entries have strings that there is room for; shape (n,)."""
        found = np.ones(len(block), np.bool_)
        for name, names in self.names.items():
            fits = names.storable(block.values[name])
            found &= np.array(fits or [True], np.bool_)[block.facts[name]]
        return found

    def write_block(self, slots: Slots, block: EntryBlock, rows: Slots) -> None:
        """Write the facts of a block's rows, which `storable` admits, to slots that were taken."""
        for fact, _, _ in self._access:
            column = block.facts[fact.name][rows]
            if fact.interned:
                positions, counts = np.unique(column, return_counts=True)
                numbers = np.zeros(len(block.values[fact.name]), np.uint16)
                for position, count in zip(positions.tolist(), counts.tolist(), strict=True):
                    numbers[position] = self.names[fact.name].hold(block.values[fact.name][position], count)
                column = numbers[column]
            elif fact.name == "use_count":
                column = np.minimum(column, MAX_USE_COUNT)
            elif fact.held == "f4":
                column = np.clip(column, -_LARGEST, _LARGEST)
            self.facts[fact.name][slots] = column

    def read_block(self, slots: Slots) -> tuple[dict[str, NDArray[Any]], dict[str, list[Any]]]:
        """Return the facts of slots as those of a block, and the values of the interned ones."""
        facts: dict[str, NDArray[Any]] = {}
        values: dict[str, list[Any]] = {}
        for fact, _, _ in self._access:
            column = self.facts[fact.name][slots]
            if fact.interned:
                used, column = np.unique(column, return_inverse=True)
                values[fact.name] = [self.names[fact.name][number] for number in used.tolist()]
            facts[fact.name] = column.astype(fact.dtype)
        return facts, values

    def media_type(self, slot: int) -> str:
        """Return the media type of an entry's result."""
        return self._media_types[self._media_type_of[slot]]

    def digest(self, slot: int) -> bytes:
        """Return an entry's digest, empty where it is unknown."""
        raw = bytes(self._digests[DIGEST_BYTES * slot : DIGEST_BYTES * (slot + 1)])
        return raw if raw != self.no_digest else b""

    def _put_digest(self, slot: int, digest: bytes) -> None:
        self._digests[DIGEST_BYTES * slot : DIGEST_BYTES * (slot + 1)] = memoryview(digest or self.no_digest)

    # ── slots ──────────────────────────────────────────────────────────────────────────────────────────────

    def take(self) -> int:
        """Return a free slot. Raises IndexError where there is none."""
        if self._free:
            return self._free.pop()
        if self.high == self.capacity:
            raise IndexError("no slot is free")
        self.high += 1
        return self.high - 1

    def take_many(self, count: int) -> Slots:
        """Return `count` free slots; those not used before stand last. Raises IndexError where there are fewer."""
        again = min(count, len(self._free))
        if self.high + count - again > self.capacity:
            raise IndexError("not so many slots are free")
        slots = np.empty(count, np.int64)
        if again:
            slots[:again] = self._free[-again:]
            del self._free[-again:]
        slots[again:] = np.arange(self.high, self.high + count - again)
        self.high += count - again
        return slots

    def give(self, slot: int) -> None:
        """Make a slot free again."""
        self.order_of[slot] = 0
        self._free.append(slot)

    def live(self) -> Slots:
        """Return the slots in use, ascending."""
        return np.flatnonzero(self.order[: self.high])

    @property
    def nbytes(self) -> int:
        """Bytes of the slots used so far."""
        arrays: tuple[NDArray[Any], ...] = (self.labels, self.order, self.size, self.used, *self.facts.values())
        return self.high * sum(each.itemsize for each in arrays) + 8 * len(self._free)
