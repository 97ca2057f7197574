"""The entries of a namespace by slot, id, tag and digest: all that is kept of them but their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from likewise.clocks import SteadyClock
from likewise.facts import entry_of
from likewise.lookup.columns import Columns
from likewise.lookup.costs import Costs
from likewise.lookup.digests import Digests
from likewise.lookup.ids import IdTable
from likewise.lookup.owners import Owners
from likewise.lookup.tags import Tags
from likewise.records import EntryBlock
from likewise.types import Entry, Key, Keys, Result, Slots


class EntryStore:
    """What is kept of each entry beside its keys. Times are the steady clock's inside, the wall clock's outside.

    A slot is given to another entry once its entry is gone.
    """

    def __init__(
        self, capacity: int, nbytes: int, owner: str, clock: SteadyClock, costs: Costs, account_share: float = 1.0
    ) -> None:
        """Set up. capacity, nbytes: most entries, and bytes of them; owner: `name@version`, for messages.

        account_share: see `Owners`. Raises InvalidValue for a capacity that cannot be used.
        """
        self.columns = Columns(capacity, owner)
        self.owners = Owners(self.columns, account_share, (capacity, nbytes))
        self.bodies: list[bytes | None] = []
        self.ids = IdTable()
        self.tags = Tags()
        self.count = 0
        self.bytes = 0
        self._clock = clock
        self._costs = costs
        self._media_type_of = self.columns.media_type
        self._digests = Digests()

    def put(self, entry: Entry, label: int, order: int, size: int, account: str = "") -> int:
        """Keep a checked entry under a new id; return its slot. size: what it counts for, in bytes."""
        columns = self.columns
        slot = columns.take()
        columns.write(slot, entry)
        columns.cost_of[slot] = self._costs.note(entry.cost_s)
        if shift := self._clock.shift():
            columns.created_of[slot] += shift
            columns.expires_of[slot] += shift
        columns.order_of[slot] = order
        columns.label_of[slot] = label
        columns.size_of[slot] = size
        self.owners.put(slot, account, size)
        # a copy has the size that it says; what an encoder returned may sit in a buffer of 4 KB
        body = bytes(memoryview(entry.result.body))
        if slot == len(self.bodies):
            self.bodies.append(body)
        else:
            self.bodies[slot] = body
        self.tags.put(slot, entry.tags)
        self.ids.put(entry.id, slot)
        if entry.digest and entry.digest != columns.no_digest:
            self._digests.put(entry.digest, slot)
        self.count += 1
        self.bytes += size
        return slot

    def put_block(
        self,
        block: EntryBlock,
        rows: Slots,
        bodies: Sequence[bytes],
        labels: Sequence[int],
        sizes: NDArray[np.int64],
        order: int,
    ) -> Slots:
        """Keep rows of a block, whose ids are new, as `put` does; order: of the first of them; return their slots."""
        n, columns = len(rows), self.columns
        slots = columns.take_many(n)
        columns.write_block(slots, block, rows)
        columns.cost[slots] = self._costs.note_many(block.facts["cost_s"][rows])
        if shift := self._clock.shift():
            columns.created[slots] += shift
            columns.expires[slots] += shift
        columns.order[slots] = np.arange(order, order + n)
        columns.labels[slots] = np.asarray(labels, np.int64)[rows]
        columns.size[slots] = sizes[rows]
        self.bodies.extend([None] * (columns.high - len(self.bodies)))
        placed = slots.tolist()
        for slot, row in zip(placed, rows.tolist(), strict=True):
            self.bodies[slot] = bodies[row]
        tag_sets = block.values["tags"]
        if any(tag_sets):
            for slot, at in zip(placed, block.facts["tags"][rows].tolist(), strict=True):
                self.tags.put(slot, tag_sets[at])
        put = self.ids.put
        for id, slot in zip(block.facts["id"][rows].tolist(), placed, strict=True):
            put(id, slot)
        for at in np.flatnonzero(block.facts["digest"][rows] != np.void(columns.no_digest)).tolist():
            self._digests.put(columns.digest(placed[at]), placed[at])
        nbytes = int(sizes[rows].sum())
        self.owners.put_many(slots, nbytes)
        self.count += n
        self.bytes += nbytes
        return slots

    def drop(self, slot: int) -> None:
        """Forget the entry in a slot that is in use."""
        columns = self.columns
        self.ids.pop(columns.id_of[slot])
        self.tags.drop(slot)
        if digest := columns.digest(slot):
            self._digests.drop(digest, slot)
        self.bodies[slot] = None
        self.count -= 1
        self.bytes -= columns.size_of[slot]
        self.owners.drop(slot, columns.size_of[slot])
        columns.release(slot)
        columns.give(slot)

    def holds(self, slot: int) -> bool:
        """Say whether there is an entry in a slot."""
        return 0 <= slot < self.columns.high and self.columns.order_of[slot] > 0

    def of_digest(self, digest: bytes) -> list[int]:
        """Return the slots of entries with a digest, newest first, a few at most; expired ones too."""
        return [slot for slot in self._digests.slots(digest) if self.columns.digest(slot) == digest]

    def result(self, slot: int) -> Result | None:
        """Return an entry's result, None for a free slot."""
        bodies = self.bodies
        body = bodies[slot] if 0 <= slot < len(bodies) else None
        return None if body is None else tuple.__new__(Result, (body, self._media_type_of(slot)))

    def entry(self, slot: int, keys: Mapping[str, Key]) -> Entry:
        """Return everything kept of an entry that is there, in the wall clock's time."""
        facts = self.columns.read(slot) | {"tags": self.tags.of(slot)}
        entry = entry_of(facts, dict(keys), self.bodies[slot] or b"")
        shift = self._clock.shift()
        if not shift:
            return entry
        return replace(entry, created_at=entry.created_at - shift, expires_at=entry.expires_at - shift)

    def block(self, function: str, slots: Slots, keys: Mapping[str, Keys]) -> EntryBlock:
        """Return entries that are there as a block, in the wall clock's time."""
        facts, values = self.columns.read_block(slots)
        shift = self._clock.shift()
        for name in ("created_at", "expires_at"):
            facts[name] = facts[name] - shift
        tag_sets: dict[tuple[str, ...], int] = {(): 0}
        tags = [tag_sets.setdefault(self.tags.of(slot), len(tag_sets)) for slot in slots.tolist()]
        facts["tags"], values["tags"] = np.array(tags, np.int64), list(tag_sets)
        bodies = [self.bodies[slot] or b"" for slot in slots.tolist()]
        ends = np.cumsum([len(body) for body in bodies], dtype=np.int64)
        return EntryBlock(function, facts, values, keys, np.frombuffer(b"".join(bodies), np.uint8), ends)

    def page(self, limit: int, after: int) -> tuple[list[int], int | None]:
        """Return the slots of at most `limit` live entries in the order of insertion, and where the next page begins.

        after: the place in that order behind which to begin. None: there is no next page.
        """
        columns = self.columns
        order = columns.order[: columns.high]
        slots = np.flatnonzero(order > after)
        slots = slots[columns.expires[slots] > self._clock.now()]
        more = slots.size > limit
        if more:
            slots = slots[np.argpartition(order[slots], limit)[:limit]]
        slots = slots[np.argsort(order[slots])]
        return slots.tolist(), int(order[slots[-1]]) if more and slots.size else None

    def memory_bytes(self) -> int:
        """Return an estimate of the bytes held beside the results: facts, ids, tags, and what Python takes for each."""
        return self.columns.nbytes + (14 + 41) * self.count + 800 * len(self.tags)
