"""What is done about a damaged journal file: it is moved aside, and all that can be read goes into a new one."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from likewise.errors import JournalError
from likewise.files import sync_folder
from likewise.journal import codec
from likewise.journal.buffer import Item
from likewise.journal.private import MODE
from likewise.journal.sqlite.database import Database, readable
from likewise.records import Inserted

_log = logging.getLogger(__name__)
_BATCH = 4096
_KEPT_ASIDE = 2


class Rescue(NamedTuple):
    """How a rescue went."""

    aside: Path
    """Where the damaged file is now."""
    entries: int
    """How many entries were carried over."""


def rescue(path: Path) -> Rescue:
    """Replace a damaged journal file by a new one with everything that can still be read.

    Nobody may have the file open. If the invalidations cannot all be read, no entry is carried over: one of
    them could have been taken out, and would come back. Raises JournalError where the folder refuses the move.
    """
    fresh = path.with_name(path.name + ".rescued")
    remove_database(fresh)
    saved = 0
    try:
        saved = _copy(path, fresh)
    except (sqlite3.Error, JournalError) as error:
        _log.warning("Nothing can be carried over from the damaged journal %s: %s", path, error)
        remove_database(fresh)
    try:
        aside = move_aside(path)
        if fresh.exists():
            fresh.replace(path)
            sync_folder(path.parent)
    except OSError as error:
        raise JournalError(
            f"The damaged journal {path} cannot be moved aside: {error.strerror}. Move it by hand, or fix the folder."
        ) from error
    _log.error("The journal %s was damaged. It is now %s; %d entries were carried over.", path, aside, saved)
    return Rescue(aside, saved)


def move_aside(path: Path) -> Path:
    """Rename a database with its side files, keep the newest two such, and return the new name. Raises OSError."""
    stem = f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    aside = path.with_name(stem)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{stem}-{number}")
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.replace(aside.with_name(aside.name + suffix))
            with suppress(OSError):
                aside.with_name(aside.name + suffix).chmod(MODE)
    older = sorted(
        (one for one in path.parent.glob(f"{path.name}.damaged-*") if not one.name.endswith(("-wal", "-shm"))),
        key=lambda one: one.stat().st_mtime,
    )
    for one in older[:-_KEPT_ASIDE]:
        if one != aside:
            remove_database(one)
    return aside


def remove_database(path: Path) -> None:
    """Delete a database with its side files, where there is one."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _copy(path: Path, fresh: Path) -> int:
    old = Database(path, read_only=True)
    try:
        new = Database(fresh)
        try:
            return _copy_into(old, new)
        finally:
            new.close()
    finally:
        old.close()


def _copy_into(old: Database, new: Database) -> int:
    last = old.last_position
    items = [
        Item(position, codec.INVALIDATED, function, -1, 0.0, frame) for position, function, frame in old.invalidations()
    ]
    new.write(items)
    # The same history: a snapshot that spoke for the old file speaks for this one.
    new.set_fact("epoch", old.epoch)
    saved = 0
    batch: list[Item] = []
    for row in readable(old, 1, last):
        try:
            record = codec.decode(row.frame)
        except JournalError:
            continue
        if isinstance(record, Inserted):
            entry = record.entry
            batch.append(Item(row.position, codec.INSERTED, record.function, entry.id, entry.expires_at, row.frame))
            saved += 1
        if len(batch) >= _BATCH:
            new.write(batch)
            batch = []
    if batch:
        new.write(batch)
    try:
        learned = [
            Item(row.position, codec.LEARNED, codec.decode(row.frame).function, -1, 0.0, row.frame)
            for row in old.learned()
        ]
        new.write(learned)
    except (sqlite3.Error, JournalError) as error:
        _log.warning("What was learned cannot be carried over from %s: %s", old.path, error)
    new.set_fact("last_position", last)
    return saved
