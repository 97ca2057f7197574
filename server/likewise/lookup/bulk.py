"""Many entries in and out of a namespace at once, as columns: how a million of them come back after a restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.types import EntryBlock, Slots

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
            raise InvalidValue(f"A block of `{space.function}` has no keys of type `{name}` with {dimension} numbers.")
    now = space._clock()
    tag_bytes = np.array([sum(map(len, tags)) for tags in block.tag_sets] or [0], np.int64)
    sizes = np.diff(block.body_ends, prepend=0) + space._key_bytes + tag_bytes[block.tag_set_of]
    media = np.array(space._media.numbers(block.media_types) or [-1], np.int64)[block.media_type_of]
    fits = (block.expires_at > now) & (sizes <= space.capacity_bytes) & (media >= 0)
    get = space._ids.get
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
    while chosen.size and space._bytes + int(sizes[chosen].sum()) > space.capacity_bytes:
        chosen = chosen[1:]
    _write(space, block, chosen, bodies, labels, sizes, media)
    return int(chosen.size)


def _make_room(space: Namespace, count: int, size: int) -> None:
    while space._count and (
        space._count + count > space.capacity_entries or space._bytes + size > space.capacity_bytes
    ):
        space._evictions += 1
        space.remove(space._eviction.victim())


def _write(
    space: Namespace,
    block: EntryBlock,
    rows: Slots,
    bodies: Sequence[bytes],
    labels: Sequence[int],
    sizes: NDArray[np.int64],
    media: NDArray[np.int64],
) -> None:
    n = len(rows)
    columns = space._columns
    slots = columns.take_many(n)
    columns.order[slots] = np.arange(space._order + 1, space._order + n + 1)
    columns.ids[slots] = block.ids[rows]
    columns.labels[slots] = np.asarray(labels, np.int64)[rows]
    columns.created[slots] = block.created_at[rows]
    columns.expires[slots] = block.expires_at[rows]
    columns.cost[slots] = block.cost_s[rows]
    columns.size[slots] = sizes[rows]
    columns.uses[slots] = np.minimum(block.use_counts[rows], 2**32 - 1)
    columns.media[slots] = media[rows]
    space._order += n
    space._bodies.extend([None] * (columns.high - len(space._bodies)))
    placed = slots.tolist()
    for slot, row in zip(placed, rows.tolist(), strict=True):
        space._bodies[slot] = bodies[row]
    if any(block.tag_sets):
        for slot, at in zip(placed, block.tag_set_of[rows].tolist(), strict=True):
            space._tags.put(slot, block.tag_sets[at])
    put, inserted = space._ids.put, space._eviction.inserted
    for id, slot in zip(block.ids[rows].tolist(), placed, strict=True):
        put(id, slot)
    space._count += n
    space._bytes += int(sizes[rows].sum())
    space._insertions += n
    soonest = float(block.expires_at[rows].min())
    space._soonest = min(space._soonest, soonest)
    space._soonest_behind = min(space._soonest_behind, soonest)
    for name, index in space._indexes.items():
        index.add(slots, np.ascontiguousarray(block.keys[name][rows], np.float32))
    for slot in placed:
        inserted(slot)


def blocks(space: Namespace, rows: int = 4096) -> Iterator[EntryBlock]:
    """Yield all entries as blocks of at most `rows`, in the order of insertion.

    Entries may come and go between two blocks: those that came after the first are left out, those that went are left
    out where their block was not yielded yet.
    """
    columns = space._columns
    live = columns.live()
    slots = live[np.argsort(columns.order[live], kind="stable")]
    order = columns.order[slots]
    for start in range(0, len(slots), rows):
        if space._columns is not columns:  # everything was invalidated
            return
        part = slots[start : start + rows]
        part = part[columns.order[part] == order[start : start + rows]]
        if part.size:
            yield _block(space, part)


def _block(space: Namespace, slots: Slots) -> EntryBlock:
    columns = space._columns
    bodies = [space._bodies[slot] or b"" for slot in slots.tolist()]
    tag_sets: dict[tuple[str, ...], int] = {(): 0}
    if space._tags:
        tags = [tag_sets.setdefault(space._tags.of(slot), len(tag_sets)) for slot in slots.tolist()]
    else:
        tags = [0] * len(slots)
    return EntryBlock(
        function=space.function,
        ids=columns.ids[slots],
        created_at=columns.created[slots],
        expires_at=columns.expires[slots],
        cost_s=columns.cost[slots].astype(np.float64),
        use_counts=columns.uses[slots].astype(np.int64),
        keys={name: index.keys(slots) for name, index in space._indexes.items()},
        bodies=np.frombuffer(b"".join(bodies), np.uint8),
        body_ends=np.cumsum([len(body) for body in bodies], dtype=np.int64),
        media_types=list(space._media.names),
        media_type_of=columns.media[slots].astype(np.int64),
        tag_sets=list(tag_sets),
        tag_set_of=np.array(tags, np.int64),
    )


def hold(space: Namespace) -> None:
    """Say that a bulk load begins: indexes wait with what they would do again and again as they grow."""
    for index in space._indexes.values():
        index.hold(space.capacity_entries)


def release(space: Namespace) -> None:
    """Say that a bulk load is over."""
    for index in space._indexes.values():
        index.release()
