"""What is done about a damaged journal file: it is moved aside, and all that can be read goes into a new one."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from likewise.errors import JournalError
from likewise.files import open_regular, sync_folder
from likewise.journal import codec
from likewise.journal.buffer import Item
from likewise.journal.private import MODE
from likewise.journal.sqlite.database import HEADER_BYTES, Database, readable
from likewise.journal.sqlite.guarded import MAGIC
from likewise.journal.sqlite.invalidation_log import Since, read_log
from likewise.journal.sqlite.snapshot import Snapshot, open_snapshot
from likewise.records import Inserted

_log = logging.getLogger(__name__)
_BATCH = 4096
_KEPT_ASIDE = 2
_T = TypeVar("_T")


def snapshot_path(path: Path) -> Path:
    """Return where the snapshot of a journal is."""
    return path.with_name(path.name + ".snapshot")


def invalidation_log_path(path: Path) -> Path:
    """Return where the invalidations since that snapshot are."""
    return path.with_name(path.name + ".snapshot.invalidated")


class Rescue(NamedTuple):
    """How a rescue went."""

    path: Path
    aside: Path
    """Where the damaged file is now."""
    entries: int
    """How many entries were carried over."""
    snapshot_entries: int | None
    """How many are in the snapshot, which goes on; None: there is none, or it cannot be used."""

    def __str__(self) -> str:
        snapshot = "" if self.snapshot_entries is None else f"; its snapshot of {self.snapshot_entries} is good"
        return (
            f"The journal {self.path} was damaged. It is now {self.aside}; {self.entries} entries were carried over"
            f"{snapshot}. Check the disk; delete the damaged file when nobody needs it any more."
        )


class _Beside(NamedTuple):
    """What stands beside a journal and belongs together."""

    snapshot: Snapshot
    since: Since


def rescue(path: Path) -> Rescue:
    """Replace a damaged journal file by a new one with everything that can still be read.

    Nobody may have the file open. If the invalidations cannot all be read, those since the snapshot are taken from the
    file beside it, and what the snapshot holds stays good. Without that no entry is carried over: one of
    them could have been taken out, and would come back. Raises JournalError where the folder refuses the move.
    """
    fresh = _rescued_path(path)
    saved, epoch = 0, ""
    try:
        remove_database(fresh)
        try:
            saved, epoch = _copy(path, fresh)
        except (sqlite3.Error, JournalError) as error:
            _log.warning("Nothing can be carried over from the damaged journal %s: %s", path, error)
            remove_database(fresh)
        aside = move_aside(path)
        if fresh.exists():
            fresh.replace(path)
            sync_folder(path.parent)
    except OSError as error:
        raise JournalError(
            f"The damaged journal {path} cannot be moved aside: {error}. Move it by hand, or fix the folder."
        ) from error
    snapshot = _snapshot(path)
    done = Rescue(path, aside, saved, snapshot.entries if snapshot and snapshot.epoch == epoch else None)
    _log.error("%s", done)
    return done


def put_back(database: Database) -> str:
    """Write a file anew that others removed while it was open, and return what happened.

    Raises JournalError where another file or a link is in its place by now, sqlite3.Error or OSError where it cannot
    be written.
    """
    path, fresh = database.path, database.path.with_name(database.path.name + ".restored")
    if os.path.lexists(path):  # a link that leads nowhere, too
        raise JournalError("another file is in its place. Restart the server to go on with that one, or remove it")
    try:
        remove_database(fresh)
        database.copy_to(fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        os.link(fresh, path)  # unlike a move, fails where there is a file
    finally:
        remove_database(fresh)
    sync_folder(path.parent)
    done = f"The journal {path} was removed while it was in use, and was written anew. Find out what removed it."
    _log.error("%s", done)
    return done


def finish_rescue(path: Path) -> None:
    """Put what a rescue saved in the journal's place, where its process died before that. Raises OSError."""
    fresh = _rescued_path(path)
    if fresh.is_file() and not path.exists():
        move_aside(path)  # the old write-ahead log, which SQLite would replay on the new file
        fresh.replace(path)
        sync_folder(path.parent)


def check_readable(path: Path) -> None:
    """Raise PermissionError where this user may not read what stands beside a journal: it would be written over."""
    for beside in (snapshot_path(path), invalidation_log_path(path)):
        if beside.exists() and not os.access(beside, os.R_OK):
            raise PermissionError(errno.EACCES, f"{beside} may not be read", str(beside))


def is_emptied(path: Path) -> bool:
    """Say whether a journal file holds no database though what stands beside it shows that it held one.

    SQLite would begin a new one there. A file without company is one whose first start was cut short. Only for one that
    this process does not have open: see `GuardedDatabase`.
    """
    try:
        with open_regular(path) as file:
            head = file.read(HEADER_BYTES)
    except OSError:  # SQLite says what is wrong with it
        return False
    if len(head) == HEADER_BYTES and head.startswith(MAGIC):
        return False
    beside = (snapshot_path(path), invalidation_log_path(path), path.with_name(path.name + "-wal"))
    return any(each.is_file() and each.stat().st_size for each in beside)


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


def _rescued_path(path: Path) -> Path:
    return path.with_name(path.name + ".rescued")


def _snapshot(path: Path) -> Snapshot | None:
    try:
        return open_snapshot(snapshot_path(path))
    except JournalError:  # whoever starts with it will report that
        return None


def _beside(path: Path) -> _Beside | None:
    """Return the snapshot of a journal and what was invalidated since; None where one does not fit the other."""
    snapshot, since = _snapshot(path), read_log(invalidation_log_path(path))
    if snapshot is None or since is None or snapshot.epoch != since.epoch or since.position > snapshot.position:
        return None
    return _Beside(snapshot, since)


def _copy(path: Path, fresh: Path) -> tuple[int, str]:
    """Return how many entries were copied into a new database, and its epoch."""
    try:  # not even opened where it is emptied: SQLite would delete the log beside it
        old = None if is_emptied(path) else Database(path, read_only=True)
    except sqlite3.Error:  # with a damaged head nothing of it can be read
        old = None
    try:
        new = Database(fresh)
        try:
            return _copy_into(old, new, _beside(path)), new.epoch
        finally:
            new.close()
    finally:
        if old is not None:
            old.close()


def _copy_into(old: Database | None, new: Database, beside: _Beside | None) -> int:
    epoch, last = _read(old, lambda it: it.epoch), _read(old, lambda it: it.last_position)
    if beside is not None and epoch not in (None, beside.since.epoch):
        beside = None
    invalidations: Sequence[tuple[int, str, bytes]] | None = _read(old, Database.invalidations)
    after = 0
    if invalidations is None:
        if beside is None:
            raise JournalError("what was invalidated cannot be read, and no whole file beside it tells that")
        invalidations, after = beside.since.invalidations, beside.snapshot.position
    if last is None:
        last = max(_read(old, lambda it: it.newest_entry) or 0, beside.snapshot.position if beside else 0)
    last = max([last, *(position for position, _, _ in invalidations)])
    new.write([Item(position, codec.INVALIDATED, name, -1, 0.0, frame) for position, name, frame in invalidations])
    # The same history: a snapshot that spoke for the old file speaks for this one.
    if epoch is None and beside is not None:
        epoch = beside.since.epoch
    if epoch is not None:
        new.set_fact("epoch", epoch)
    saved = 0 if old is None else _copy_entries(old, new, after, last)
    if old is not None:
        _copy_learned(old, new)
    new.set_fact("last_position", last)
    return saved


def _copy_entries(old: Database, new: Database, after: int, last: int) -> int:
    """Copy what can be read of the entries behind a position; return how many."""
    saved = 0
    batch: list[Item] = []
    for row in readable(old, after + 1, last):
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
    new.write(batch)
    return saved


def _copy_learned(old: Database, new: Database) -> None:
    try:
        learned = [
            Item(row.position, codec.LEARNED, codec.decode(row.frame).function, -1, 0.0, row.frame)
            for row in old.learned()
        ]
        new.write(learned)
    except (sqlite3.Error, JournalError) as error:
        _log.warning("What was learned cannot be carried over from %s: %s", old.path, error)


def _read(old: Database | None, what: Callable[[Database], _T]) -> _T | None:
    """Return something of a database; None where it cannot be read."""
    try:
        return None if old is None else what(old)
    except (sqlite3.Error, ValueError):
        return None
