"""The one thread that writes a journal's file: group commits, durable flushes, upkeep, and what to do in trouble."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.buffer import Buffer
from likewise.journal.sqlite import upkeep
from likewise.journal.sqlite.database import Database, is_damage
from likewise.journal.sqlite.guarded import GuardedDatabase
from likewise.journal.sqlite.invalidation_log import InvalidationLog
from likewise.journal.sqlite.lock import FileLock
from likewise.journal.sqlite.rescue import invalidation_log_path, put_back, rescue
from likewise.journal.sqlite.syncer import Syncer
from likewise.priority import WORK, give_way
from likewise.types import Clock

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class WriterOptions(NamedTuple):
    """How a writer behaves; `SqliteJournal` says what each means."""

    commit_interval_s: float = 0.05
    sync_interval_s: float = 1.0
    max_bytes: int = 2**30
    compact_after: int = 20_000
    retry_s: tuple[float, float] = (0.1, 5.0)


class _Task(NamedTuple):
    """Something to do between commits, or (without a job) someone who waits until all is on the disk."""

    job: Callable[[Database], Any] | None
    dropped: int
    """How many records had been dropped when this was asked for."""
    done: Callable[[Any, JournalError | None], None]


class Writer:
    """Takes records from a buffer and commits them to a database that only its thread touches."""

    def __init__(self, path: Path, lock: FileLock, buffer: Buffer, options: WriterOptions, clock: Clock) -> None:
        self._path = path
        self._lock = lock
        self._buffer = buffer
        self._options = options
        self._clock = clock
        self._database: GuardedDatabase | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._stopping = threading.Event()
        self._tasks: deque[_Task] = deque()
        self._chores: deque[Iterator[int]] = deque()
        self._unsynced_since: float | None = None
        self._invalidations = 0
        self._log = InvalidationLog(invalidation_log_path(path))
        self._syncer = Syncer(path, self._log)
        self._failure = ""
        self.file_bytes = 0
        self.rescued = ""
        """How the last rescue went; empty: there was none."""
        self.sealed_position = 0
        """Up to where a snapshot speaks; 0 without one."""
        self._counts = dict.fromkeys(("written", "commits", "write_failures", "rescues", "removed"), 0)

    @property
    def failure(self) -> str:
        """What is wrong at the moment, in words; empty while all is well."""
        return self._failure or self._syncer.failure

    @property
    def counts(self) -> Mapping[str, int]:
        """What was done so far."""
        return {**self._counts, "syncs": self._syncer.syncs}

    @property
    def running(self) -> bool:
        """Whether there is a thread that writes."""
        return self._thread is not None and self._thread.is_alive() and not self._stopping.is_set()

    def take_over(self, database: GuardedDatabase) -> None:
        """Take over an open database, before the start. Blocks. Raises sqlite3.Error."""
        self._invalidations = len(database.invalidations())
        self.file_bytes = database.used_bytes()[0]
        self._database = database

    def begin_log(self, database: Database, position: int) -> None:
        """Keep what is invalidated behind a position beside the snapshot that speaks up to there; for jobs."""
        self._log.begin(database.epoch, position, database.invalidations(position))

    def start(self) -> None:
        """Begin to write."""
        self._syncer.start()
        self._thread = threading.Thread(target=self._run, name="likewise-journal", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that something is in the buffer."""
        self._wake.set()

    async def flush(self) -> None:
        """Return when all that is in the buffer is on the disk. Raises JournalError if it cannot be now."""
        await self._ask(None)

    async def work(self, job: Callable[[Database], _T]) -> _T:
        """Run a job on this thread behind what is in the buffer and return its result. Raises JournalError."""
        result: _T = await self._ask(job)
        return result

    def stop(self, timeout_s: float) -> bool:
        """Write what waits and end the thread; False if that took longer. Blocks."""
        self._stopping.set()
        self._wake_up()
        if self._thread is not None:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True

    def compact(self, database: Database, until: int, live: Mapping[str, NDArray[np.int64]]) -> None:
        """Begin to delete dead rows (`upkeep.compact`), in steps between commits; for jobs."""
        self._chores.append(self._compaction(database, until, live))

    def _compaction(self, database: Database, until: int, live: Mapping[str, NDArray[np.int64]]) -> Iterator[int]:
        last, sealed = database.last_position, self.sealed_position
        self._invalidations = 0  # counted anew: those that a snapshot still needs are no reason to begin again
        yield from upkeep.compact(database, self._clock(), until, live)
        # A snapshot holds what was invalidated behind it, until the next one is sealed.
        database.remove_invalidations(min(last, sealed) if sealed else last)
        yield from upkeep.vacuum(database)

    async def _ask(self, job: Callable[[Database], Any] | None) -> Any:
        if not self.running:
            raise JournalError("The journal is not open. Start it first.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(value: Any, error: JournalError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        def done(value: Any, error: JournalError | None) -> None:
            try:
                loop.call_soon_threadsafe(settle, value, error)
            except RuntimeError:  # the loop is gone, and with it whoever waited
                return

        self._tasks.append(_Task(job, self._buffer.dropped, done))
        self._wake_up()
        return await future

    def _wake_up(self) -> None:
        self._urgent.set()
        self._wake.set()

    # --- on the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        give_way(WORK)
        failures = 0
        while True:
            self._pause(failures)
            stopping = self._stopping.is_set()
            self._wake.clear()
            self._urgent.clear()
            # Tasks first: whoever asks has appended before, so what they mean is in the buffer by now.
            tasks = [self._tasks.popleft() for _ in range(len(self._tasks))]
            error = self._commit()
            failures = failures + 1 if error else 0
            for task in tasks:
                self._settle(task, error)
            self._sync(stopping)
            if not error:
                self._keep_up()
            if stopping:
                break
        for task in self._tasks:
            task.done(None, JournalError("The journal was closed."))
        self._syncer.stop()
        if self._database is not None:
            self._database.close()

    def _pause(self, failures: int) -> None:
        if failures:
            first, longest = self._options.retry_s
            self._stopping.wait(min(longest, first * 2.0 ** min(failures - 1, 20)))
            return
        if self._chores:
            self._wake.wait(0.005)  # leaves the disk and the interpreter to others between two steps
        elif self._unsynced_since is not None:
            self._wake.wait(max(0.0, self._unsynced_since + self._options.sync_interval_s - time.monotonic()))
        else:
            self._wake.wait()
        if not self._urgent.is_set() and len(self._buffer):
            self._urgent.wait(self._options.commit_interval_s)

    def _commit(self) -> JournalError | None:
        items = self._buffer.take()
        if not items:
            return JournalError(self._failure) if self._failure else None
        try:
            for item in items:
                if item.kind == codec.INVALIDATED:
                    self._log.append(item.position, item.frame)
            self._write(lambda database: database.write(items))
        except (sqlite3.Error, JournalError, OSError) as error:
            self._buffer.put_back(items)
            self._counts["write_failures"] += 1
            reason = f"The journal {self._path} cannot be written: {error}. Free some space or mend the disk."
            if reason != self._failure:
                _log.error("%s %d records wait; it is tried again and again.", reason, len(items))
            self._failure = reason
            return JournalError(reason)
        if self._failure:
            _log.warning("The journal %s can be written again.", self._path)
            self._failure = ""
        self._counts["commits"] += 1
        self._counts["written"] += len(items)
        self._invalidations += sum(item.kind == codec.INVALIDATED for item in items)
        self._syncer.committed(sum(len(item.frame) for item in items))
        if self._unsynced_since is None:
            self._unsynced_since = time.monotonic()
        return None

    def _sync(self, now: bool) -> None:
        """Have what was committed brought to the disk, where its time has come, or now."""
        since = self._unsynced_since
        if since is not None and (now or time.monotonic() >= since + self._options.sync_interval_s):
            self._unsynced_since = None
            self._syncer.sync()

    def _write(self, job: Callable[[Database], _T]) -> _T:
        """Run a job; where the file turns out to be damaged, rescue it and run the job on the new one."""
        try:
            return self._run_job(job)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self.rescue()
            return self._run_job(job)

    def _run_job(self, job: Callable[[Database], _T]) -> _T:
        database = self._open()
        done = job(database)
        database.wrote()
        return done

    def rescue(self) -> None:
        """Replace a damaged file; for jobs. Raises JournalError where the folder refuses."""
        if self._database is not None:
            self._database.close()
            self._database = None
        self._chores.clear()
        self.rescued = str(rescue(self._path))
        self._counts["rescues"] += 1

    def _open(self) -> GuardedDatabase:
        """Return the open database. What is written there, and answered as durable, is found again by its path."""
        if self._database is not None:
            if not self._database.in_place:
                self._put_back(self._database)
            elif not self._database.is_whole:
                self.rescue()
        if self._database is None:
            self._database = GuardedDatabase(self._path)
        return self._database

    def _put_back(self, database: Database) -> None:
        """See to it that a file that somebody removed is there again."""
        if database.removed:
            self._path.parent.mkdir(0o700, parents=True, exist_ok=True)
            self._lock.renew()
            self.rescued = put_back(database)
            self._counts["rescues"] += 1
        self._chores.clear()
        self._database = None
        database.close()  # folds its log into the file, also one that was removed

    def _settle(self, task: _Task, error: JournalError | None) -> None:
        if task.job is None:
            if error is None and self._buffer.dropped > task.dropped:
                error = JournalError("The journal's buffer overflowed and the oldest entries were dropped from it.")
            if error is None:
                self._unsynced_since = None
                self._syncer.sync(lambda error: task.done(None, error))
            else:
                task.done(None, error)
            return
        try:
            task.done(self._write(task.job), None)
        except JournalError as failed:
            task.done(None, failed)
        except (sqlite3.Error, OSError) as failed:
            task.done(None, JournalError(f"The journal {self._path} cannot be used: {failed}. Check the disk."))

    def _keep_up(self) -> None:
        try:
            database = self._open()
            self.file_bytes = database.used_bytes()[0]
            if self._chores:
                try:
                    self._counts["removed"] += next(self._chores[0])
                except StopIteration:
                    self._chores.popleft()
                    self._syncer.fold()
            if not self._chores and self._invalidations >= self._options.compact_after:
                self.compact(database, 0, {})
            if not self._chores and self.file_bytes > self._options.max_bytes:
                self._chores.append(upkeep.compact(database, self._clock(), 0, {}))
                self._chores.append(upkeep.shrink(database, self._options.max_bytes))
                self._chores.append(upkeep.vacuum(database))
            database.wrote()
        except (sqlite3.Error, JournalError) as error:
            self._chores.clear()
            self._counts["write_failures"] += 1
            _log.error("The journal %s could not be tidied up: %s", self._path, error)
