"""The journal in one SQLite file: no server to run, and what was flushed survives kill -9 and a power cut.

`append` encodes on the event loop (microseconds) and returns. A thread of its own writes what has gathered in
one transaction every `commit_interval_s`. What each of these promises:

- after `flush()`: on the disk itself; survives everything short of losing the disk.
- `commit_interval_s` after an append (50 ms): survives the death of this process (kill -9).
- `sync_interval_s` after an append (1 s): survives the death of the machine (power cut).

A full disk, or any other failure that may pass, stops nothing: records wait in a bounded buffer, the thread
keeps trying, and `flush()` says what is wrong. A damaged file is moved aside and what can be read of it goes on.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likewise.clocks import SteadyClock, monotonic
from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.buffer import Buffer
from likewise.journal.sqlite import upkeep
from likewise.journal.sqlite.database import Database, Row, is_damage
from likewise.journal.sqlite.guarded import GuardedDatabase
from likewise.journal.sqlite.lock import FileLock
from likewise.journal.sqlite.rescue import Rescue, check_readable, finish_rescue, is_emptied, rescue, snapshot_path
from likewise.journal.sqlite.snapshot import Snapshot, SnapshotWriter, open_snapshot
from likewise.journal.sqlite.writer import Writer, WriterOptions
from likewise.journal.tombstones import Tombstones
from likewise.ports import Registrations
from likewise.records import EntryBlock, Inserted, Observed, Record, Registered, Unregistered
from likewise.types import Clock, Entry

_log = logging.getLogger(__name__)
_DECODE_AT_ONCE = 200  # rows between two chances for the event loop to take the interpreter


class SqliteJournal:
    """Keeps records in one SQLite file, with a snapshot beside it. One process at a time.

    path: the file; `PATH.snapshot` and `PATH.lock` stand beside it.
    commit_interval_s: how long a record may wait for others to share its transaction.
    sync_interval_s: how long a committed record may wait for the disk.
    buffer_records, buffer_bytes: what may wait to be written; then the oldest entries are dropped and counted.
    max_bytes: bound on the file; the oldest entries go first.
    replay_batch: most records in a batch of `replay`.
    compact_after: invalidations after which dead rows are deleted.
    quarantine_rows: damaged rows kept for inspection.
    retry_s: first and longest wait before writing is tried again after a failure.
    close_timeout_s: longest that `close` takes.
    """

    def __init__(
        self,
        path: Path,
        *,
        commit_interval_s: float = 0.05,
        sync_interval_s: float = 1.0,
        buffer_records: int = 65_536,
        buffer_bytes: int = 64 * 2**20,
        max_bytes: int = 2**30,
        replay_batch: int = 2000,
        compact_after: int = 20_000,
        quarantine_rows: int = 1000,
        retry_s: tuple[float, float] = (0.1, 5.0),
        close_timeout_s: float = 10.0,
        clock: Clock = time.time,
    ) -> None:
        self.path = path
        self.snapshot_path = snapshot_path(path)
        self._replay_batch = replay_batch
        self._quarantine_rows = quarantine_rows
        self._close_timeout_s = close_timeout_s
        self._clock = clock
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._buffer = Buffer(buffer_records, buffer_bytes)
        options = WriterOptions(commit_interval_s, sync_interval_s, max_bytes, compact_after, retry_s)
        steady = SteadyClock(clock, monotonic if clock is time.time else None)
        # What is deleted is gone for good, so it has to be over by both: somebody may set the wall clock back again.
        self._writer = Writer(path, self._lock, self._buffer, options, lambda: min(clock(), steady.now()))
        self._sealed: Snapshot | None = None
        self._restored_to = 0
        self._quarantined = 0
        self._replayed = 0
        self._rescue: Rescue | None = None  # one at the start
        self._snapshot_damage = ""

    @property
    def shared(self) -> bool:
        """False: a file has no other nodes."""
        return False

    async def start(self) -> None:
        """Open the file, or begin one; a damaged one is moved aside first. Raises JournalError with a remedy."""
        await asyncio.to_thread(self._open)
        self._writer.sealed_position = self._sealed.position if self._sealed else 0
        self._writer.start()

    def append(self, record: Record) -> None:
        """Buffer one record for writing. Raises JournalError only for a record that the codec refuses.

        What is for other nodes alone is not kept: there are none.
        """
        if isinstance(record, Observed | Registered | Unregistered):
            return
        if self._buffer.append(record):
            self._writer.wake()

    async def flush(self) -> None:
        """Return when everything appended so far is on the disk itself; all who wait share one sync.

        Raises JournalError when the disk does not take it now (it is tried again later all the same), or when
        a full buffer dropped entries meanwhile. Call it right after the append that is to be durable.
        """
        await self._writer.flush()

    async def blocks(self) -> AsyncIterator[EntryBlock]:
        """Yield the live entries of the snapshot in large blocks; nothing where there is none.

        A `replay()` after it yields only what the snapshot does not hold. A damaged snapshot is reported, and
        the replay then yields everything: entries may come twice, so an id that is known already is ignored.
        """
        snapshot = self._sealed
        if snapshot is None:
            return
        tombstones = await self._writer.work(lambda database: upkeep.load_tombstones(database, snapshot.position))
        blocks = snapshot.blocks()
        try:
            while (block := await asyncio.to_thread(next, blocks, None)) is not None:
                live = await asyncio.to_thread(upkeep.live, block, tombstones, self._clock())
                self._replayed += len(live)
                yield live
        except JournalError as error:
            self._report(error)
        else:
            self._restored_to = snapshot.position

    async def replay(self) -> AsyncIterator[Sequence[Record]]:
        """Yield the live entries in order, then the newest learned state of each function and key type.

        What was invalidated or has expired is skipped. Damaged rows are moved to the table `quarantine`,
        reported and counted. Raises JournalError where the disk cannot be read at all.
        """
        tombstones = await self._writer.work(upkeep.load_tombstones)
        until = self._buffer.last_position
        at = self._restored_to
        reader: Database | None = None
        try:
            while True:
                try:
                    if reader is None:
                        reader = await asyncio.to_thread(Database, self.path, read_only=True)
                    rows = await asyncio.to_thread(reader.read, at, until, self._clock(), self._replay_batch)
                except sqlite3.Error as error:
                    if reader is not None:
                        reader.close()
                        reader = None
                    await self._heal(error)
                    continue
                if not rows:
                    break
                at = rows[-1].position
                if records := await self._keep(rows, tombstones, "entries"):
                    self._replayed += len(records)
                    yield records
            if states := await self._keep(await self._writer.work(Database.learned), Tombstones(), "learned"):
                yield states
        finally:
            if reader is not None:
                reader.close()

    async def follow(self) -> AsyncIterator[Sequence[Record]]:
        """End at once: a file has no other nodes."""
        return
        yield  # makes this a generator

    async def seal(self, blocks: Iterable[EntryBlock], *, prune: bool = True) -> None:
        """Write a snapshot of all live entries, replacing the last one, for a fast restart.

        blocks: every live entry of every function, as of the moment of this call or later; an iterator is drawn
        from on the event loop, between writes. With `prune`, what the journal holds up to this moment of the
        functions named and the blocks do not (evicted entries) is deleted from the file.
        Raises JournalError where the disk does not take it; the last snapshot then stays.
        """
        position = self._buffer.last_position
        ids: dict[str, list[NDArray[np.int64]]] = {}
        epoch = await self._writer.work(lambda database: database.epoch)
        with SnapshotWriter(self.snapshot_path, epoch, position) as writer:
            for block in blocks:
                ids.setdefault(block.function, []).append(np.array(block.ids, np.int64))
                await asyncio.to_thread(writer.add, block)
            await asyncio.to_thread(writer.seal)
        self._sealed = await asyncio.to_thread(open_snapshot, self.snapshot_path)
        self._snapshot_damage = ""
        self._writer.sealed_position = position
        await self._writer.work(lambda database: self._writer.begin_log(database, position))
        if prune:
            live = {function: np.sort(np.concatenate(parts)) for function, parts in ids.items()}
            await self._writer.work(lambda database: self._writer.compact(database, position, live))

    def sealed(self) -> tuple[Path, str] | None:
        """Return where the last snapshot is and a digest that tells it from others; None: there is none. Any thread."""
        snapshot = self._sealed
        return None if snapshot is None else (snapshot.path, snapshot.digest())

    def supply(self, live: Callable[[str], Iterable[Entry]], registrations: Registrations | None = None) -> None:
        """Do nothing: a file does not forget."""

    def expect(self, function: str) -> None:
        """Do nothing: there are no others."""

    def statistics(self) -> Mapping[str, float]:
        """Return counters and gauges: `up` is 0 while writing fails; `bytes` is the size of the file in use."""
        counts = self._writer.counts
        return {
            "appended": self._buffer.appended,
            "dropped": self._buffer.dropped,
            "pending": len(self._buffer),
            "pending_bytes": self._buffer.pending_bytes,
            "bytes": self._writer.file_bytes,
            "up": float(self._writer.running and not self._writer.failure),
            "replayed": self._replayed,
            "quarantined": self._quarantined,
            **counts,
            "rescues": counts["rescues"] + (self._rescue is not None),
        }

    @property
    def failure(self) -> str:
        """What is wrong at the moment, in words; empty while all is well."""
        return self._writer.failure

    @property
    def damage(self) -> str:
        """What was found damaged since the start, and where it is kept aside; empty: nothing."""
        return " ".join(filter(None, (str(self._writer.rescued or self._rescue or ""), self._snapshot_damage)))

    async def close(self) -> None:
        """Write what waits within `close_timeout_s`, then release the file."""
        ended = await asyncio.to_thread(self._writer.stop, self._close_timeout_s)
        if len(self._buffer):
            _log.error("The journal %s was closed with %d records unwritten.", self.path, len(self._buffer))
        if ended:
            self._lock.release()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
            self._lock.acquire()
            finish_rescue(self.path)
            check_readable(self.path)
        except OSError as error:
            self._lock.release()
            raise self._unusable(error.strerror or str(error)) from error
        try:
            try:
                self._begin()
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._rescue = rescue(self.path)
                self._begin()
        except sqlite3.Error as error:
            self._lock.release()
            raise self._unusable(str(error)) from error
        except JournalError:
            self._lock.release()
            raise

    def _begin(self) -> None:
        """Open the file, and read all of it that a start needs."""
        if is_emptied(self.path):
            raise sqlite3.DatabaseError("it is empty")
        database = GuardedDatabase(self.path)
        try:
            self._quarantined = database.quarantined()
            self._sealed = self._snapshot_of(database)
            self._buffer.last_position = max(database.last_position, self._sealed.position if self._sealed else 0)
            if self._sealed is not None:
                self._writer.begin_log(database, self._sealed.position)
            self._writer.take_over(database)
        except BaseException:
            database.close()
            raise

    def _unusable(self, reason: str) -> JournalError:
        return JournalError(
            f"The journal {self.path} cannot be opened: {reason}. Choose a folder that this user may write to, with "
            "space left, or the memory journal."
        )

    def _report(self, damage: JournalError) -> None:
        _log.error("%s", damage.detail)
        self._snapshot_damage = damage.detail

    def _snapshot_of(self, database: Database) -> Snapshot | None:
        try:
            snapshot = open_snapshot(self.snapshot_path)
        except JournalError as error:
            self._report(error)
            return None
        if snapshot is not None and snapshot.epoch != database.epoch:
            _log.warning("The snapshot %s belongs to another journal and is left alone.", self.snapshot_path)
            return None
        return snapshot

    async def _keep(self, rows: Sequence[Row], tombstones: Tombstones, source: str) -> list[Record]:
        records, bad, reasons = await asyncio.to_thread(self._decode, rows, tombstones)
        if bad:
            keep = self._quarantine_rows
            await self._writer.work(lambda database: database.quarantine(source, bad, reasons, self._clock(), keep))
            self._quarantined += len(bad)
            _log.error("%d damaged rows of %s were put into quarantine; the first: %s", len(bad), self.path, reasons[0])
        return records

    def _decode(self, rows: Sequence[Row], tombstones: Tombstones) -> tuple[list[Record], list[Row], list[str]]:
        now = self._clock()
        records: list[Record] = []
        bad: list[Row] = []
        reasons: list[str] = []
        for number, row in enumerate(rows):
            if number % _DECODE_AT_ONCE == 0:
                time.sleep(0)
            try:
                record = codec.decode(row.frame)
            except (JournalError, TypeError) as error:
                bad.append(row)
                reasons.append(str(error))
                continue
            if isinstance(record, Inserted):
                entry = record.entry
                if entry.expires_at <= now or tombstones.covers(record.function, entry.id, row.position):
                    continue
                if entry.tags and tombstones.covers_tags(record.function, entry.tags, row.position):
                    continue
            records.append(record)
        return records, bad, reasons

    async def _heal(self, error: sqlite3.Error) -> None:
        if not is_damage(error) or self._writer.counts["rescues"] > 2:
            raise JournalError(f"The journal {self.path} cannot be read: {error}. Check the disk.") from error
        await self._writer.work(lambda _: self._writer.rescue())
