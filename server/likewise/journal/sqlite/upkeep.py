"""Keeping the journal's file small, in steps short enough to fit between two commits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.blocks import select
from likewise.journal.sqlite.database import Database
from likewise.journal.tombstones import Tombstones
from likewise.records import EntryBlock, Inserted, Invalidated

_ROWS = 2000
_PAGES = 512
_FILL = 0.9  # shrink to this share of the bound, so that the next insert does not shrink again
_LOOSE = 0.1  # share of free pages in the file from which some are given back


def compact(database: Database, now: float, until: int, live: Mapping[str, NDArray[np.int64]]) -> Iterator[int]:
    """Delete what can never be replayed again; yield how many rows each step took.

    That is what has expired, what was invalidated, and, of the functions in `live`, what stands at or before the
    position `until` and is not among their live ids (sorted). Invalidations stay until no snapshot needs them.
    """
    tombstones = load_tombstones(database)
    at = 0
    while heads := database.heads(at, _ROWS):
        at = heads[-1][0]
        dead = _superseded(heads, until, live)
        for position, function, entry_id, expires_at in heads:
            if expires_at <= now or _invalidated(database, tombstones, position, function, entry_id):
                dead.add(position)
        if dead:
            database.remove(sorted(dead))
        yield len(dead)


def shrink(database: Database, max_bytes: int) -> Iterator[int]:
    """Delete the oldest entries until the file fits its bound again; yield how many rows each step took."""
    while database.used_bytes()[0] > max_bytes * _FILL:
        removed = database.remove_oldest(_ROWS)
        yield removed
        if not removed:
            return


def vacuum(database: Database) -> Iterator[int]:
    """Give free pages back to the file system while there are many; yields 0 after each step."""
    used, free = database.used_bytes()
    while free > _LOOSE * (used + free) and free > 2**20:
        before = free
        database.give_back(_PAGES)
        yield 0
        used, free = database.used_bytes()
        if free >= before:
            return


def load_tombstones(database: Database, after: int = 0) -> Tombstones:
    """Return the invalidations behind a position as tombstones in journal order.

    One that cannot be read takes out everything of its function that is older: it may have meant that.
    """
    tombstones = Tombstones()
    for position, function, frame in database.invalidations(after):
        try:
            record = codec.decode(frame)
        except JournalError:
            record = Invalidated(function, 0.0, everything=True)
        if isinstance(record, Invalidated):
            tombstones.add(record, position)
    return tombstones


def live(block: EntryBlock, tombstones: Tombstones, now: float) -> EntryBlock:
    """Return a snapshot's entries that have not expired, and that no invalidation since took out."""
    keep = block.facts["expires_at"] > now
    if len(tombstones) and len(block):
        name = block.function
        gone = [tombstones.covers_tags(name, tags, 0) for tags in block.values["tags"]]
        keep &= ~np.array(gone, np.bool_)[block.facts["tags"]]
        keep &= np.array([not tombstones.covers(name, one, 0) for one in block.ids.tolist()], np.bool_)
    return select(block, keep)


def _superseded(
    heads: list[tuple[int, str, int, float]], until: int, live: Mapping[str, NDArray[np.int64]]
) -> set[int]:
    dead: set[int] = set()
    for function, ids in live.items():
        mine = [(position, one) for position, name, one, _ in heads if name == function and position <= until]
        if mine:
            positions, ours = np.array(mine, np.int64).T
            # `ids` are sorted, and may be a million: isin would sort them anew for each step
            at = np.minimum(np.searchsorted(ids, ours), max(len(ids) - 1, 0))
            gone = ids[at] != ours if len(ids) else np.ones(len(ours), np.bool_)
            dead.update(positions[gone].tolist())
    return dead


def _invalidated(database: Database, tombstones: Tombstones, position: int, function: str, entry_id: int) -> bool:
    if tombstones.covers(function, entry_id, position):
        return True
    return tombstones.names_tags(function) and tombstones.covers_tags(
        function, _tags(database.frame(position)), position
    )


def _tags(frame: bytes) -> tuple[str, ...]:
    try:
        record = codec.decode(frame)
    except JournalError:  # replay will find and report it
        return ()
    return record.entry.tags if isinstance(record, Inserted) else ()
