"""Many entries in and out of a namespace at once, as columns: how a million of them come back after a restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from likewise.errors import InvalidValue
from likewise.lookup.tags import tag_bytes
from likewise.records import EntryBlock

if TYPE_CHECKING:
    from likewise.lookup.namespace import Namespace

# A part of Namespace in a file of its own: nothing else may touch what is private there.


def insert_block(space: Namespace, block: EntryBlock, bodies: Sequence[bytes], labels: Sequence[int]) -> int:
    """Insert the entries of a block that are not there yet; return how many came in.

    bodies, labels: the result's bytes and label id of each entry. Those that expired or are larger than the whole
    capacity are left out; where room is short the least worthy go, as with `insert`. Takes some microseconds for each
    entry, so hand over a few hundred at a time. Raises InvalidValue where a key type is missing or does not fit.
    """
    for name, dimension in space.key_types.items():
        keys = block.keys.get(name)
        if keys is None or keys.shape[1:] != (dimension,):
            raise InvalidValue(f"A block of `{space.name}` has no keys of type `{name}` with {dimension} numbers.")
    now = space._clock()
    store = space._store
    of_tags = np.array([tag_bytes(tags) for tags in block.values["tags"]] or [0], np.int64)
    sizes = np.diff(block.body_ends, prepend=0) + space._shapes.bytes + of_tags[block.facts["tags"]]
    fits = (block.facts["expires_at"] + space._shift() > now) & (sizes <= space.capacity_bytes)
    fits &= store.columns.storable(block)
    get = store.ids.get
    seen: set[int] = set()
    rows: list[int] = []
    for row, id in enumerate(block.ids.tolist()):
        if get(id) < 0 and id not in seen:
            seen.add(id)
            rows.append(row)
    chosen = np.array(rows, np.int64)
    chosen = chosen[fits[chosen]] if chosen.size else chosen
    if not chosen.size:
        return 0
    space.expire()
    _make_room(space, int(chosen.size), int(sizes[chosen].sum()))
    # In a namespace smaller than the block the newest stay, which stand last.
    chosen = chosen[-space.capacity_entries :]
    while chosen.size and store.bytes + int(sizes[chosen].sum()) > space.capacity_bytes:
        chosen = chosen[1:]
    slots = store.put_block(block, chosen, bodies, labels, sizes, space._order + 1)
    space._order += len(slots)
    space._insertions += len(slots)
    space._sweep.note(float(store.columns.expires[slots].min()))
    for name, index in space._indexes.items():
        index.add(slots, np.ascontiguousarray(block.keys[name][chosen], np.float32))
    for slot in slots.tolist():
        space._eviction.inserted(slot)
    return int(chosen.size)


def _make_room(space: Namespace, count: int, size: int) -> None:
    store = space._store
    while store.count and (store.count + count > space.capacity_entries or store.bytes + size > space.capacity_bytes):
        space._evictions += 1
        space.remove(space._eviction.victim())


def blocks(space: Namespace, rows: int = 4096) -> Iterator[EntryBlock]:
    """Yield all entries as blocks of at most `rows`, in the order of insertion.

    Entries may come and go between two blocks: those that came after the first are left out, those that went are left
    out where their block was not yielded yet.
    """
    columns = space._store.columns
    live = columns.live()
    slots = live[np.argsort(columns.order[live], kind="stable")]
    order = columns.order[slots]
    for start in range(0, len(slots), rows):
        if space._store.columns is not columns:  # everything was invalidated
            return
        part = slots[start : start + rows]
        part = part[columns.order[part] == order[start : start + rows]]
        if part.size:
            keys = {name: index.keys(part) for name, index in space._indexes.items()}
            yield space._store.block(space.function, part, keys)


def hold(space: Namespace) -> None:
    """Say that a bulk load begins: indexes wait with what they would do again and again as they grow."""
    for index in space._indexes.values():
        index.hold(space.capacity_entries)


def release(space: Namespace) -> None:
    """Say that a bulk load is over."""
    for index in space._indexes.values():
        index.release()
