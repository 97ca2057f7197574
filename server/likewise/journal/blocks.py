"""Entries as columns and back: `EntryBlock` from entries, entries from it, and parts of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.errors import JournalError
from likewise.types import Entry, EntryBlock, Result


def block_of(function: str, entries: Sequence[Entry]) -> EntryBlock:
    """Return entries that all have the same key types and dimensions as one block.

    Raises JournalError if they do not.
    """
    names = list(entries[0].keys) if entries else []
    if any(list(entry.keys) != names for entry in entries):
        raise JournalError(f"Entries of {function} with different key types cannot share a block.")
    try:
        keys = {
            name: np.ascontiguousarray(np.stack([entry.keys[name] for entry in entries]), dtype=np.float32)
            for name in names
        }
    except ValueError as error:
        raise JournalError(f"Keys of {function} with different dimensions cannot share a block.") from error
    media_types: dict[str, int] = {}
    tag_sets: dict[tuple[str, ...], int] = {}
    return EntryBlock(
        function=function,
        ids=np.array([entry.id for entry in entries], np.int64),
        created_at=np.array([entry.created_at for entry in entries], np.float64),
        expires_at=np.array([entry.expires_at for entry in entries], np.float64),
        cost_s=np.array([entry.cost_s for entry in entries], np.float64),
        use_counts=np.array([entry.use_count for entry in entries], np.int64),
        keys=keys,
        bodies=np.frombuffer(b"".join(entry.result.body for entry in entries), np.uint8),
        body_ends=np.cumsum([len(entry.result.body) for entry in entries], dtype=np.int64),
        media_type_of=np.array(
            [media_types.setdefault(entry.result.media_type, len(media_types)) for entry in entries], np.int64
        ),
        media_types=list(media_types),
        tag_set_of=np.array([tag_sets.setdefault(entry.tags, len(tag_sets)) for entry in entries], np.int64),
        tag_sets=list(tag_sets),
    )


def entries_of(block: EntryBlock) -> Iterator[Entry]:
    """Yield the entries of a block. Keys are views of its columns, results are copies."""
    bodies = block.bodies.tobytes()
    start = 0
    columns = zip(
        block.ids.tolist(),
        block.created_at.tolist(),
        block.expires_at.tolist(),
        block.cost_s.tolist(),
        block.use_counts.tolist(),
        block.body_ends.tolist(),
        block.media_type_of.tolist(),
        block.tag_set_of.tolist(),
        strict=True,
    )
    for row, (entry_id, created_at, expires_at, cost_s, use_count, end, media_type, tag_set) in enumerate(columns):
        yield Entry(
            entry_id,
            {name: keys[row] for name, keys in block.keys.items()},
            Result(bodies[start:end], block.media_types[media_type]),
            cost_s,
            created_at,
            expires_at,
            block.tag_sets[tag_set],
            use_count,
        )
        start = end


def select(block: EntryBlock, keep: NDArray[np.bool_]) -> EntryBlock:
    """Return the rows for which `keep`, a mask of shape (n,), is true; the block itself if that is all of them."""
    if bool(keep.all()):
        return block
    lengths = np.diff(block.body_ends, prepend=0)
    return EntryBlock(
        function=block.function,
        ids=block.ids[keep],
        created_at=block.created_at[keep],
        expires_at=block.expires_at[keep],
        cost_s=block.cost_s[keep],
        use_counts=block.use_counts[keep],
        keys={name: np.ascontiguousarray(keys[keep]) for name, keys in block.keys.items()},
        bodies=block.bodies[np.repeat(keep, lengths)],
        body_ends=np.cumsum(lengths[keep], dtype=np.int64),
        media_types=block.media_types,
        media_type_of=block.media_type_of[keep],
        tag_sets=block.tag_sets,
        tag_set_of=block.tag_set_of[keep],
    )


def part_of(block: EntryBlock, start: int, end: int) -> EntryBlock:
    """Return rows start to before end, as views."""
    first = int(block.body_ends[start - 1]) if start else 0
    last = int(block.body_ends[end - 1]) if end > start else first
    return EntryBlock(
        function=block.function,
        ids=block.ids[start:end],
        created_at=block.created_at[start:end],
        expires_at=block.expires_at[start:end],
        cost_s=block.cost_s[start:end],
        use_counts=block.use_counts[start:end],
        keys={name: keys[start:end] for name, keys in block.keys.items()},
        bodies=block.bodies[first:last],
        body_ends=block.body_ends[start:end] - first,
        media_types=block.media_types,
        media_type_of=block.media_type_of[start:end],
        tag_sets=block.tag_sets,
        tag_set_of=block.tag_set_of[start:end],
    )


def check(block: EntryBlock) -> None:
    """Raise JournalError unless the columns fit together."""
    n = len(block)
    columns = (
        block.created_at,
        block.expires_at,
        block.cost_s,
        block.use_counts,
        block.body_ends,
        block.media_type_of,
        block.tag_set_of,
    )
    fits = all(column.shape == (n,) for column in columns) and block.bodies.ndim == 1
    fits = fits and all(keys.ndim == 2 and keys.shape[0] == n for keys in block.keys.values())
    if fits and n:
        ends = np.concatenate((block.body_ends, [block.bodies.shape[0]]))
        fits = bool(ends[0] >= 0 and (np.diff(ends) >= 0).all() and ends[-1] == ends[-2])
        for positions, values in ((block.media_type_of, block.media_types), (block.tag_set_of, block.tag_sets)):
            fits = fits and bool(positions.min() >= 0 and positions.max() < len(values))
    if not fits:
        raise JournalError(f"The columns of a block of {block.function} do not fit together.")
