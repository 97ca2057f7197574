"""All cached state of one function version: entries, their keys by type, and who stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from likewise.errors import InvalidValue, TooLarge, UnknownEntry
from likewise.index.keyed import KeyedIndex
from likewise.index.make import make_index
from likewise.index.projected import projectable
from likewise.lookup.columns import Columns
from likewise.lookup.eviction import make_eviction
from likewise.lookup.ids import IdTable
from likewise.lookup.tags import MediaTypes, Tags
from likewise.ports import Projection
from likewise.types import NO_NEIGHBORS, Clock, Entry, Key, Keys, Neighbors, Page, Result, Slots

SWEPT = 64
"""Slots looked at for expired entries with every insertion: each is looked at long before it is needed again."""


class Namespace:
    """Entries of one function version by slot, id, key and tag. Owned by one event loop; every call takes microseconds.

    A slot is given to another entry once its entry is gone: hold ids, not slots, across anything that waits.
    """

    def __init__(
        self,
        function: str,
        key_types: Mapping[str, int],
        capacity_entries: int,
        capacity_bytes: int,
        ttl_s: float,
        clock: Clock,
        eviction: str = "importance",
        index_kind: str | Mapping[str, str] = "auto",
        *,
        index_options: Mapping[str, Any] | None = None,
        precision: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> None:
        """Set up an empty namespace.

        function: `name@version`, for messages. key_types: dimension by name. capacity_bytes: keys, results and tags.
        ttl_s: how long entries live that do not say so themselves. index_kind: one for all, or by key type.
        index_options: given to every index, such as background=False. precision: of keys held, by key type, where it
        is not float32. Raises InvalidValue for what cannot be used.
        """
        if not key_types or capacity_bytes < 1 or not ttl_s > 0:
            raise InvalidValue(f"`{function}` needs a key type, room for at least a byte, and a time to live above 0.")
        self.function = function
        self.key_types = dict(key_types)
        self.capacity_entries = capacity_entries
        self.capacity_bytes = capacity_bytes
        self.default_ttl_s = ttl_s
        self._clock = clock
        self._eviction_name = eviction
        kinds = index_kind if isinstance(index_kind, Mapping) else dict.fromkeys(key_types, index_kind)
        self._kinds = {name: kinds.get(name, "auto") for name in key_types}
        self._index_options = {
            name: {
                **(index_options or {}),
                **({"precision": precision[name]} if precision and name in precision else {}),
            }
            for name in key_types
        }
        self._rng = np.random.default_rng(seed)
        self._key_bytes = 4 * sum(key_types.values())
        self._insertions = self._evictions = self._expirations = 0
        self._order = 0
        self._media = MediaTypes(function)
        self._projections: dict[str, Projection | None] = {}
        self._start()

    def _start(self) -> None:
        self._columns = columns = Columns(self.capacity_entries)
        self._indexes: dict[str, KeyedIndex] = {
            name: make_index(self._kinds[name], dimension, **self._index_options[name])
            for name, dimension in self.key_types.items()
        }
        self._eviction = make_eviction(self._eviction_name, columns, self._rng)
        self._bodies: list[bytes | None] = []
        self._ids = IdTable()
        self._tags = Tags()
        self._count = 0
        self._bytes = 0
        self._hand = 0
        # Lower bounds of all expiries: as of now, and of what the sweep has passed or what came since it began.
        self._soonest = self._soonest_behind = float("inf")
        self._label_of = columns.label_of
        for name, projection in self._projections.items():
            self.project(name, projection)

    def __len__(self) -> int:
        return self._count

    # ── looking up ─────────────────────────────────────────────────────────────────────────────────────────

    def lookup(self, key_type: str, key: Key, k: int) -> Neighbors:
        """Return the at most k nearest live entries, nearest first. Raises InvalidValue for a key that does not fit."""
        index = self._indexes.get(key_type)
        if index is None or key.shape != (index.dimension,):
            raise self._misfit(key_type, key.shape)
        l2_sq, slots = index.search_one(key, k)
        if self._soonest <= self._clock() and self._withdraw_expired(slots):
            return self.lookup(key_type, key, k)
        label_of = self._label_of
        return Neighbors(list(map(sqrt, l2_sq)), [label_of[slot] for slot in slots], slots)

    def lookup_many(self, key_type: str, keys: Keys, k: int) -> list[Neighbors]:
        """Return what `lookup` would for each key, by one search; keys has shape (n, d)."""
        index = self._indexes.get(key_type)
        if index is None or keys.ndim != 2 or keys.shape[1] != index.dimension:
            raise self._misfit(key_type, keys.shape[1:])
        if not self._count:
            return [NO_NEIGHBORS] * len(keys)
        l2_sq, slots = index.search(keys, k)
        if self._soonest <= self._clock() and self._withdraw_expired(np.unique(slots[slots >= 0]).tolist()):
            return self.lookup_many(key_type, keys, k)
        distances = np.sqrt(l2_sq).tolist()
        labels = self._columns.labels[slots].tolist()
        if self._count < k or (slots[:, -1] < 0).any():
            counts = (slots >= 0).sum(axis=1).tolist()
            return [
                Neighbors(near[:count], label[:count], slot[:count])
                for near, label, slot, count in zip(distances, labels, slots.tolist(), counts, strict=True)
            ]
        return list(map(Neighbors, distances, labels, slots.tolist()))

    def _withdraw_expired(self, slots: list[int]) -> bool:
        """Take out those that have expired; say whether there were any."""
        now, expires_of = self._clock(), self._columns.expires_of
        expired = [slot for slot in slots if expires_of[slot] <= now]
        for slot in expired:
            self._expirations += 1
            self.remove(slot)
        return bool(expired)

    def _misfit(self, key_type: str, shape: tuple[int, ...]) -> InvalidValue:
        if key_type not in self.key_types:
            known = ", ".join(f"`{name}`" for name in self.key_types)
            return InvalidValue(f"`{self.function}` has no key type `{key_type}`; it has {known}.")
        numbers = shape[-1] if shape else 0
        return InvalidValue(
            f"The key has {numbers} numbers, "
            f"key type `{key_type}` of `{self.function}` takes {self.key_types[key_type]}."
        )

    # ── searching projections of keys ──────────────────────────────────────────────────────────────────────

    def project(self, key_type: str, projection: Projection | None) -> None:
        """Begin to search a key type by what a projection makes of its keys, or by the keys as they are (None).

        Lookups go on by what was there until all entries are re-embedded. Keys go in and come out as they are.
        Raises InvalidValue for a projection that does not take such keys.
        """
        index = self._indexes.get(key_type)
        if index is None:
            raise self._misfit(key_type, ())
        options = self._index_options[key_type]
        make = partial(make_index, self._kinds[key_type], **options)
        wrapped = projectable(index, make, background=options.get("background", True))
        wrapped.project(projection)
        self._indexes[key_type], self._projections[key_type] = wrapped, projection

    def newest(self, key_type: str, limit: int) -> tuple[Keys, Slots]:
        """Return keys, shape (n, d), and label ids, shape (n,), of the at most `limit` newest entries, oldest first."""
        columns = self._columns
        live = columns.live()
        slots = live[np.argsort(columns.order[live])[-limit:]]
        return self._indexes[key_type].keys(slots), columns.labels[slots]

    # ── inserting and removing ─────────────────────────────────────────────────────────────────────────────

    def insert(self, entry: Entry, label: int) -> int:
        """Keep an entry and return its slot; the least worthy go where room is short, its own id's older one always.

        Raises InvalidValue where a key is missing or does not fit, TooLarge for more bytes than the whole capacity.
        """
        for name, dimension in self.key_types.items():
            key = entry.keys.get(name)
            if key is None or key.shape != (dimension,):
                raise self._misfit(name, () if key is None else key.shape)
        size = self._key_bytes + len(entry.result.body) + sum(map(len, entry.tags))
        if size > self.capacity_bytes:
            raise TooLarge(
                f"The entry takes {size} bytes, all of `{self.function}` has {self.capacity_bytes}; raise its capacity."
            )
        media = self._media.number(entry.result.media_type)
        same = self._ids.get(entry.id)
        if same >= 0:
            self.remove(same)
        self.expire(SWEPT)
        while self._count >= self.capacity_entries or self._bytes + size > self.capacity_bytes:
            self._evictions += 1
            self.remove(self._eviction.victim())
        slot = self._columns.take()
        self._write(slot, entry, label, size, media)
        slots = np.array([slot], np.int64)
        for name, index in self._indexes.items():
            index.add(slots, np.ascontiguousarray(entry.keys[name], np.float32)[None])
        self._eviction.inserted(slot)
        return slot

    def _write(self, slot: int, entry: Entry, label: int, size: int, media: int) -> None:
        columns = self._columns
        self._order += 1
        columns.order_of[slot] = self._order
        columns.id_of[slot] = entry.id
        columns.label_of[slot] = label
        columns.created_of[slot] = entry.created_at
        columns.expires_of[slot] = entry.expires_at
        columns.cost_of[slot] = entry.cost_s
        columns.size_of[slot] = size
        columns.uses_of[slot] = entry.use_count
        columns.media_of[slot] = media
        # a copy has the size that it says; what an encoder returned may sit in a buffer of 4 KB
        body = bytes(memoryview(entry.result.body))
        if slot == len(self._bodies):
            self._bodies.append(body)
        else:
            self._bodies[slot] = body
        self._tags.put(slot, entry.tags)
        self._ids.put(entry.id, slot)
        self._count += 1
        self._bytes += size
        self._insertions += 1
        self._soonest = min(self._soonest, entry.expires_at)
        self._soonest_behind = min(self._soonest_behind, entry.expires_at)

    def remove(self, slot: int) -> None:
        """Take an entry out; a free slot is a no-op."""
        columns = self._columns
        if not 0 <= slot < columns.high or not columns.order_of[slot]:
            return
        slots = np.array([slot], np.int64)
        for index in self._indexes.values():
            index.remove(slots)
        self._eviction.removed(slot)
        self._ids.pop(columns.id_of[slot])
        self._tags.drop(slot)
        self._bodies[slot] = None
        self._count -= 1
        self._bytes -= columns.size_of[slot]
        columns.give(slot)

    def invalidate(self, ids: Collection[int] = (), tag: str | None = None, everything: bool = False) -> list[int]:
        """Take entries out by exactly one selector; return the ids that were here. Raises InvalidValue otherwise."""
        if bool(ids) + (tag is not None) + everything != 1:
            raise InvalidValue("Say what to invalidate by exactly one of ids, tag and everything.")
        id_of = self._columns.id_of
        if everything:
            removed: list[int] = self._columns.ids[self._columns.live()].tolist()
            self.close()
            self._start()
            return removed
        if tag is not None:
            slots = self._tags.slots(tag)
        else:
            slots = [slot for slot in map(self._ids.get, dict.fromkeys(ids)) if slot >= 0]
        removed = [id_of[slot] for slot in slots]
        for slot in slots:
            self.remove(slot)
        return removed

    def expire(self, limit: int = 4096) -> int:
        """Look at the next `limit` slots and take out what has expired; return how many. Call it now and then."""
        now = self._clock()
        if now < self._soonest:
            return 0
        columns = self._columns
        start, end = self._hand, min(self._hand + limit, columns.high)
        part = slice(start, end)
        live = columns.order[part] > 0
        expired = np.flatnonzero(live & (columns.expires[part] <= now))
        for slot in (expired + start).tolist():
            self._expirations += 1
            self.remove(slot)
        staying = columns.expires[part][columns.order[part] > 0]
        if staying.size:
            self._soonest_behind = min(self._soonest_behind, float(staying.min()))
        self._hand = end
        if end == columns.high:
            self._hand = 0
            self._soonest, self._soonest_behind = self._soonest_behind, float("inf")
        return int(expired.size)

    def settle(self) -> None:
        """Wait until no index is on its way. Blocks; for tools and tests."""
        for index in self._indexes.values():
            index.settle()

    def close(self) -> None:
        """Give up what runs in the background."""
        for index in self._indexes.values():
            index.close()

    # ── one entry ──────────────────────────────────────────────────────────────────────────────────────────

    def result(self, slot: int) -> Result:
        """Return an entry's result. Raises UnknownEntry for a free slot."""
        body = self._bodies[slot] if 0 <= slot < len(self._bodies) else None
        if body is None:
            raise UnknownEntry(f"`{self.function}` has no entry in slot {slot}.")
        return Result(body, self._media.names[self._columns.media_of[slot]])

    def use(self, slot: int) -> tuple[Result, int, float, float, float]:
        """Count a use of an entry and return its result, id, age and time to live in seconds, and cost in seconds.

        One call for all that a hit needs. Raises UnknownEntry for a free slot.
        """
        result, columns, now = self.result(slot), self._columns, self._clock()
        columns.uses_of[slot] += 1
        self._eviction.touched(slot)
        age_s, ttl_s = now - columns.created_of[slot], columns.expires_of[slot] - now
        return (
            result,
            columns.id_of[slot],
            age_s if age_s > 0.0 else 0.0,
            ttl_s if ttl_s > 0.0 else 0.0,
            columns.cost_of[slot],
        )

    def entry(self, slot: int) -> Entry:
        """Return everything kept of an entry. Raises UnknownEntry for a free slot."""
        result = self.result(slot)
        columns = self._columns
        slots = np.array([slot], np.int64)
        return Entry(
            columns.id_of[slot],
            {name: index.keys(slots)[0] for name, index in self._indexes.items()},
            result,
            columns.cost_of[slot],
            columns.created_of[slot],
            columns.expires_of[slot],
            self._tags.of(slot),
            columns.uses_of[slot],
        )

    def entry_id(self, slot: int) -> int:
        """Return an entry's id."""
        return self._columns.id_of[slot]

    def slot_of(self, id: int) -> int:
        """Return where an entry stands, or -1."""
        return self._ids.get(id)

    def label_of(self, slot: int) -> int:
        """Return an entry's label id."""
        return self._label_of[slot]

    def cost_s(self, slot: int) -> float:
        """Return the seconds that computing an entry's result took."""
        return self._columns.cost_of[slot]

    def age_s(self, slot: int) -> float:
        """Return the seconds since an entry was computed, at least 0."""
        return max(0.0, self._clock() - self._columns.created_of[slot])

    def ttl_s(self, slot: int) -> float:
        """Return the seconds that an entry has left, at least 0; +inf: it never expires."""
        return max(0.0, self._columns.expires_of[slot] - self._clock())

    def touch(self, slot: int) -> None:
        """Count a use of an entry."""
        self._columns.uses_of[slot] += 1
        self._eviction.touched(slot)

    # ── all entries ────────────────────────────────────────────────────────────────────────────────────────

    def page(self, limit: int = 100, after: int | None = None) -> Page:
        """Return live entries in the order of insertion, at most `limit`; after: `next_after` of the page before.

        Entries that came or went between two pages neither repeat nor hide others.
        """
        columns = self._columns
        now = self._clock()
        order = columns.order[: columns.high]
        slots = np.flatnonzero(order > (after or 0))
        slots = slots[columns.expires[slots] > now]
        more = slots.size > limit
        if more:
            slots = slots[np.argpartition(order[slots], limit)[:limit]]
        slots = slots[np.argsort(order[slots])]
        entries = [self.entry(slot) for slot in slots.tolist()]
        return Page(entries, int(order[slots[-1]]) if more and entries else None)

    def statistics(self) -> dict[str, int]:
        """Return the counters: entries, bytes (keys, results, tags), evictions, expirations, insertions."""
        return {
            "entries": self._count,
            "bytes": self._bytes,
            "evictions": self._evictions,
            "expirations": self._expirations,
            "insertions": self._insertions,
        }

    def kinds(self) -> dict[str, str]:
        """Return the kind of index that searches each key type now."""
        return {name: index.kind for name, index in self._indexes.items()}

    def memory_bytes(self) -> int:
        """Return an estimate of all bytes held: keys, indexes, results with their objects, facts, ids and tags."""
        bodies = self._bytes - self._count * self._key_bytes + 41 * self._count
        indexes = sum(index.memory_bytes() for index in self._indexes.values())
        return indexes + bodies + self._columns.nbytes + 14 * self._count + 800 * len(self._tags)
