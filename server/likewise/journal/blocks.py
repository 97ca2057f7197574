"""Entries as columns and back: `EntryBlock` from entries, entries from it, and parts of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import JournalError
from likewise.facts import FACTS, entry_of, interned
from likewise.records import EntryBlock
from likewise.types import Entry


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
    facts: dict[str, NDArray[Any]] = {}
    values: dict[str, list[Any]] = {}
    try:
        for fact in FACTS:
            found = [fact.of(entry) for entry in entries]
            if fact.interned:
                positions: dict[Any, int] = {}
                found = [positions.setdefault(each, len(positions)) for each in found]
                values[fact.name] = list(positions)
            facts[fact.name] = np.array(found, fact.dtype) if fact.interned else fact.column_of(found)
    except (ValueError, OverflowError) as error:
        raise JournalError(f"An entry of {function} cannot be part of a block: {error}.") from error
    return EntryBlock(
        function,
        facts,
        values,
        keys,
        np.frombuffer(b"".join(entry.result.body for entry in entries), np.uint8),
        np.cumsum([len(entry.result.body) for entry in entries], dtype=np.int64),
    )


def entries_of(block: EntryBlock) -> Iterator[Entry]:
    """Yield the entries of a block. Keys are views of its columns, results are copies."""
    bodies = block.bodies.tobytes()
    columns = {
        fact.name: interned(block, fact.name) if fact.interned else fact.values_of(block.facts[fact.name])
        for fact in FACTS
    }
    start = 0
    for row, end in enumerate(block.body_ends.tolist()):
        facts = {name: column[row] for name, column in columns.items()}
        yield entry_of(facts, {name: keys[row] for name, keys in block.keys.items()}, bodies[start:end])
        start = end


def select(block: EntryBlock, keep: NDArray[np.bool_]) -> EntryBlock:
    """Return the rows for which `keep`, a mask of shape (n,), is true; the block itself if that is all of them."""
    if bool(keep.all()):
        return block
    lengths = np.diff(block.body_ends, prepend=0)
    return EntryBlock(
        block.function,
        {name: column[keep] for name, column in block.facts.items()},
        block.values,
        {name: np.ascontiguousarray(keys[keep]) for name, keys in block.keys.items()},
        block.bodies[np.repeat(keep, lengths)],
        np.cumsum(lengths[keep], dtype=np.int64),
    )


def part_of(block: EntryBlock, start: int, end: int) -> EntryBlock:
    """Return rows start to before end, as views."""
    first = int(block.body_ends[start - 1]) if start else 0
    last = int(block.body_ends[end - 1]) if end > start else first
    return EntryBlock(
        block.function,
        {name: column[start:end] for name, column in block.facts.items()},
        block.values,
        {name: keys[start:end] for name, keys in block.keys.items()},
        block.bodies[first:last],
        block.body_ends[start:end] - first,
    )


def check(block: EntryBlock) -> None:
    """Raise JournalError unless the columns fit together."""
    n = len(block)
    fits = block.bodies.ndim == block.body_ends.ndim == 1
    fits = fits and all(block.facts[fact.name].shape == (n,) for fact in FACTS)
    fits = fits and all(keys.ndim == 2 and keys.shape[0] == n for keys in block.keys.values())
    if fits and n:
        ends = np.concatenate((block.body_ends, [block.bodies.shape[0]]))
        fits = bool(ends[0] >= 0 and (np.diff(ends) >= 0).all() and ends[-1] == ends[-2])
        for fact in FACTS:
            if fact.interned:
                positions = block.facts[fact.name]
                fits = fits and bool(positions.min() >= 0 and positions.max() < len(block.values[fact.name]))
    if not fits:
        raise JournalError(f"The columns of a block of {block.function} do not fit together.")
