"""All cached state of one function version: entries, their keys by type, and who stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from likewise.clocks import SteadyClock
from likewise.errors import InvalidValue, TooLarge, UnknownEntry
from likewise.index.keyed import KeyedIndex
from likewise.index.make import make_index
from likewise.index.projected import projectable
from likewise.index.views import ints
from likewise.lookup.costs import Costs
from likewise.lookup.eviction import make_eviction
from likewise.lookup.filtered import search_filtered
from likewise.lookup.key_shapes import KeyShapes
from likewise.lookup.store import EntryStore
from likewise.lookup.sweep import Sweep
from likewise.lookup.tags import tag_bytes
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
        monotonic: Clock | None = None,
        account_share: float = 1.0,
    ) -> None:
        """Set up an empty namespace.

        function: what records of it carry: `name@version`, and behind `#` what tells its results from others.
        key_types: dimension by name. capacity_bytes: keys, results and tags. ttl_s: how long entries live that do not
        say so themselves. index_kind: one for all, or by key type. index_options: given to every index, such as
        background=False. precision: of keys held, by key type, where it is not float32. monotonic: what deadlines and
        ages go by, since nobody can set it; None: the clock. account_share: of the room, that an account may take.
        Raises InvalidValue for what cannot be used.
        """
        if not key_types or capacity_bytes < 1 or not ttl_s > 0:
            raise InvalidValue(f"`{function}` needs a key type, room for at least a byte, and a time to live above 0.")
        self.function = function
        self.name = function.partition("#")[0]  # for messages
        self.key_types = dict(key_types)
        self.capacity_entries = capacity_entries
        self.capacity_bytes = capacity_bytes
        self.default_ttl_s = ttl_s
        self._time = SteadyClock(clock, monotonic)
        self._clock, self._shift = self._time.now, self._time.shift
        self._eviction_name, self._account_share = eviction, account_share
        kinds = index_kind if isinstance(index_kind, Mapping) else dict.fromkeys(key_types, index_kind)
        options = {name: {"precision": each} for name, each in (precision or {}).items()}
        self._make_index: dict[str, partial[KeyedIndex]] = {
            name: partial(make_index, kinds.get(name, "auto"), **{**(index_options or {}), **options.get(name, {})})
            for name in key_types
        }
        self._rng = np.random.default_rng(seed)
        self._shapes = KeyShapes(self.name, key_types)
        self._insertions = self._evictions = self._expirations = self._order = 0
        self._costs = Costs()
        self.projections: dict[str, Projection | None] = {}  # by key type, what `project` was told last
        self._start()

    def _start(self) -> None:
        limits = self.capacity_entries, self.capacity_bytes
        self._store = EntryStore(*limits, self.name, self._time, self._costs, self._account_share)
        self._columns = columns = self._store.columns
        self._indexes: dict[str, KeyedIndex] = {
            name: self._make_index[name](dimension) for name, dimension in self.key_types.items()
        }
        self._eviction = make_eviction(self._eviction_name, columns, self._rng, lambda: self._costs.limit_s)
        self._sweep = Sweep(columns)
        self._signatures = columns.names["signature"].number_of
        self._signature_of = ints(columns.facts["signature"])
        self._label_of = columns.label_of
        for name, projection in self.projections.items():
            self.project(name, projection)

    def __len__(self) -> int:
        return self._store.count

    # ── looking up ─────────────────────────────────────────────────────────────────────────────────────────

    def lookup(self, key_type: str, key: Key, k: int, signature: str = "") -> Neighbors:
        """Return the at most k nearest live entries of a signature, nearest first.

        Where others are between them, they are looked for among the 1,024 nearest. Raises InvalidValue for
        a key that does not fit.
        """
        index = self._indexes.get(key_type)
        if index is None or key.shape != (index.dimension,):
            raise self._shapes.misfit(key_type, key.shape)
        if len(self._signatures) > 1 or signature not in self._signatures:
            number = self._signatures.get(signature)
            l2_sq, slots = ([], []) if number is None else search_filtered(index, key, k, self._signature_of, number)
        else:
            l2_sq, slots = index.search_one(key, k)
        if self._sweep.soonest <= self._clock() and self._withdraw_expired(slots):
            return self.lookup(key_type, key, k, signature)
        label_of = self._label_of
        return tuple.__new__(Neighbors, (list(map(sqrt, l2_sq)), [label_of[slot] for slot in slots], slots))

    def lookup_many(self, key_type: str, keys: Keys, k: int, signature: str = "") -> list[Neighbors]:
        """Return what `lookup` would for each key, by one search; keys has shape (n, d)."""
        index = self._indexes.get(key_type)
        if index is None or keys.ndim != 2 or keys.shape[1] != index.dimension:
            raise self._shapes.misfit(key_type, keys.shape[1:])
        if signature not in self._signatures:
            return [NO_NEIGHBORS] * len(keys)
        if len(self._signatures) > 1:
            return [self.lookup(key_type, key, k, signature) for key in keys]
        l2_sq, slots = index.search(keys, k)
        if self._sweep.soonest <= self._clock() and self._withdraw_expired(np.unique(slots[slots >= 0]).tolist()):
            return self.lookup_many(key_type, keys, k, signature)
        distances = np.sqrt(l2_sq).tolist()
        labels = self._columns.labels[slots].tolist()
        if self._store.count < k or (slots[:, -1] < 0).any():
            counts = (slots >= 0).sum(axis=1).tolist()
            return [
                Neighbors(near[:count], label[:count], slot[:count])
                for near, label, slot, count in zip(distances, labels, slots.tolist(), counts, strict=True)
            ]
        return list(map(Neighbors, distances, labels, slots.tolist()))

    def exact(self, digest: bytes) -> int:
        """Return the slot of the newest live entry with a digest of 16 bytes, or -1."""
        while slots := self._store.of_digest(digest) if digest else []:
            if not self._withdraw_expired(slots):
                return slots[0]
        return -1

    def _withdraw_expired(self, slots: list[int]) -> bool:
        """Take out those that have expired; say whether there were any."""
        now, expires_of = self._clock(), self._columns.expires_of
        expired = [slot for slot in slots if expires_of[slot] <= now]
        for slot in expired:
            self._expirations += 1
            self.remove(slot)
        return bool(expired)

    # ── searching projections of keys ──────────────────────────────────────────────────────────────────────

    def project(self, key_type: str, projection: Projection | None) -> None:
        """Begin to search a key type by what a projection makes of its keys, or by the keys as they are (None).

        Lookups go on by what was there until all entries are re-embedded. Keys go in and come out as they are.
        Raises InvalidValue for a projection that does not take such keys.
        """
        index = self._indexes.get(key_type)
        if index is None:
            raise self._shapes.misfit(key_type, ())
        make = self._make_index[key_type]
        wrapped = projectable(index, make, background=make.keywords.get("background", True))
        wrapped.project(projection)
        self._indexes[key_type], self.projections[key_type] = wrapped, projection

    def newest(self, key_type: str, limit: int) -> tuple[Keys, Slots]:
        """Return keys, (n, d), and label ids, (n,), of the `limit` newest that no variant computed, oldest first."""
        columns, live = self._columns, self._columns.live()
        live = live[columns.facts["origin"][live] == columns.names["origin"].number_of.get("", -1)]
        slots = live[np.argsort(columns.order[live])[-limit:]]
        return self._indexes[key_type].keys(slots), columns.labels[slots]

    # ── inserting and removing ─────────────────────────────────────────────────────────────────────────────

    def insert(self, entry: Entry, label: int, account: str = "") -> int:
        """Keep an entry and return its slot; the least worthy go where room is short, its own id's older one always.

        account: who brings it, and gives up entries of its own where it has over its share. Raises InvalidValue where
        a key is missing or does not fit, TooLarge for more bytes than the whole capacity.
        """
        self._shapes.check(entry.keys)
        size = self._shapes.bytes + len(entry.result.body) + tag_bytes(entry.tags)
        if size > self.capacity_bytes:
            raise TooLarge(
                f"The entry takes {size} bytes, all of `{self.name}` has {self.capacity_bytes}; raise its capacity."
            )
        store = self._store
        if crowded := store.columns.check(entry):
            self._evictions += len(crowded)
            self.remove(*crowded)
        self.remove(store.ids.get(entry.id))
        self.expire(SWEPT)
        while store.count >= self.capacity_entries or store.bytes + size > self.capacity_bytes:
            self._evictions += 1
            own = store.owners.crowding(account, size)
            self.remove(self._eviction.worst(own) if own.size else self._eviction.victim())
        self._order += 1
        self._insertions += 1
        slot = store.put(entry, label, self._order, size, account)
        self._sweep.note(self._columns.expires_of[slot])
        slots = np.array([slot], np.int64)
        for name, index in self._indexes.items():
            index.add(slots, np.ascontiguousarray(entry.keys[name], np.float32)[None])
        self._eviction.inserted(slot)
        return slot

    def remove(self, *slots: int) -> None:
        """Take entries out; free slots are a no-op. Many at once take half as long as one by one."""
        held = [slot for slot in slots if self._store.holds(slot)]
        if not held:
            return
        gone = np.array(held, np.int64)
        for index in self._indexes.values():
            index.remove(gone)
        for slot in held:
            self._eviction.removed(slot)
            self._store.drop(slot)

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
            slots = self._store.tags.slots(tag)
        else:
            slots = [slot for slot in map(self._store.ids.get, dict.fromkeys(ids)) if slot >= 0]
        removed = [id_of[slot] for slot in slots]
        self.remove(*slots)
        return removed

    def expire(self, limit: int = 4096) -> int:
        """Look at the next `limit` slots and take out what has expired; return how many. Call it now and then."""
        if expired := self._sweep.expired(self._clock(), limit):
            self._expirations += len(expired)
            self.remove(*expired)
        return len(expired)

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
        result = self._store.result(slot)
        if result is None:
            raise UnknownEntry(f"`{self.name}` has no entry in slot {slot}.")
        return result

    def use(self, slot: int) -> tuple[Result, int, float, float, float]:
        """Count a use of an entry and return its result, id, age and time to live in seconds, and cost in seconds.

        One call for all that a hit needs. Raises UnknownEntry for a free slot.
        """
        columns, now = self._columns, self._clock()
        result = self._store.result(slot) or self.result(slot)
        columns.uses_of[slot] += 1
        self._eviction.touched(slot)
        age_s, ttl_s = now - columns.created_of[slot], columns.expires_of[slot] - now
        age_s, ttl_s = age_s if age_s > 0.0 else 0.0, ttl_s if ttl_s > 0.0 else 0.0
        return result, columns.id_of[slot], age_s, ttl_s, columns.cost_of[slot]

    def entry(self, slot: int) -> Entry:
        """Return everything kept of an entry. Raises UnknownEntry for a free slot."""
        self.result(slot)
        slots = np.array([slot], np.int64)
        return self._store.entry(slot, {name: index.keys(slots)[0] for name, index in self._indexes.items()})

    def entry_id(self, slot: int) -> int:
        """Return an entry's id."""
        return self._columns.id_of[slot]

    def slot_of(self, id: int) -> int:
        """Return where an entry stands, or -1."""
        return self._store.ids.get(id)

    def label_of(self, slot: int) -> int:
        """Return an entry's label id."""
        return self._label_of[slot]

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
        slots, next_after = self._store.page(limit, after or 0)
        return Page([self.entry(slot) for slot in slots], next_after)

    def statistics(self) -> dict[str, int]:
        """Return the counters: entries, bytes (keys, results, tags), evictions, expirations, insertions."""
        return {
            "entries": self._store.count,
            "bytes": self._store.bytes,
            "evictions": self._evictions,
            "expirations": self._expirations,
            "insertions": self._insertions,
        }

    def kinds(self) -> dict[str, str]:
        """Return the kind of index that searches each key type now."""
        return {name: index.kind for name, index in self._indexes.items()}

    def memory_bytes(self) -> int:
        """Return an estimate of all bytes held: keys, indexes, results with their objects, facts, ids and tags."""
        bodies = self._store.bytes - self._store.count * self._shapes.bytes
        indexes = sum(index.memory_bytes() for index in self._indexes.values())
        return indexes + bodies + self._store.memory_bytes()
