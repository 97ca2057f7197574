"""Brings what is committed to the disk, on a thread of its own: how long the disk takes delays no commit.

A commit appends to the write-ahead log, which outlives this process from then on; brought to the disk, the log outlives
the machine. SQLite would do both on one thread. Here the writer commits, and whoever has to know that it is on the disk
waits for this thread; all who come while it is busy share the next sync. It also folds the log into the file
(a checkpoint) beside the commits. Source: sqlite.org/wal.html.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from likewise.errors import JournalError
from likewise.journal.sqlite.invalidation_log import InvalidationLog

_log = logging.getLogger(__name__)
FOLD_BYTES = 4 * 2**20
"""Bytes of records committed after which the log is folded into the file."""
RETRY_S = 1.0
"""After this a sync that failed, or a fold that somebody was in the way of, is tried again."""

Done = Callable[[JournalError | None], None]


class Syncer:
    """One thread that syncs the log of one database, and the invalidations beside it."""

    def __init__(self, path: Path, invalidations: InvalidationLog | None = None) -> None:
        self._path = path
        self._invalidations = invalidations
        self._log_path = path.with_name(path.name + "-wal")
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._stopping = False
        self._waiting: list[Done] = []
        self._unfolded_bytes = 0
        self._half_folded = False
        self._thread: threading.Thread | None = None
        self.syncs = 0
        self.failure = ""
        """What is wrong at the moment, in words; empty while all is well."""

    def start(self) -> None:
        """Begin to sync."""
        self._thread = threading.Thread(target=self._run, name="likewise-journal-sync", daemon=True)
        self._thread.start()

    def committed(self, size_bytes: int) -> None:
        """Take note of a commit."""
        with self._lock:
            self._unfolded_bytes += size_bytes

    def fold(self) -> None:
        """Fold the log into the file soon: only then does the file become smaller."""
        with self._lock:
            self._unfolded_bytes = FOLD_BYTES
        self._asked.set()

    def sync(self, done: Done | None = None) -> None:
        """Bring all that was committed before this call to the disk, then call `done` on the thread."""
        with self._lock:
            self._waiting.append(done or _nobody)
        self._asked.set()

    def stop(self) -> None:
        """Serve those who wait, and end. Blocks."""
        self._stopping = True
        self._asked.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._asked.wait(RETRY_S if self.failure or self._half_folded else None)
            self._asked.clear()
            last = self._stopping
            with self._lock:
                waiting, self._waiting = self._waiting, []
                fold = self._half_folded or self._unfolded_bytes >= FOLD_BYTES
                self._unfolded_bytes = 0 if fold else self._unfolded_bytes
            if waiting or self.failure:
                error = self._sync()
                for done in waiting:
                    done(error)
            if last:
                return
            if fold:
                self._half_folded = not self._fold()

    def _sync(self) -> JournalError | None:
        try:
            if self._invalidations is not None:
                self._invalidations.sync()
            log = os.open(self._log_path, os.O_RDWR | getattr(os, "O_BINARY", 0))
            try:
                os.fsync(log)
            finally:
                os.close(log)
        except FileNotFoundError:  # folded into the file, which SQLite has brought to the disk
            pass
        except OSError as error:
            reason = f"The journal {self._path} cannot be brought to the disk: {error}. Check the disk."
            if reason != self.failure:
                _log.error("%s", reason)
            self.failure = reason
            return JournalError(reason)
        self.syncs += 1
        if self.failure:
            _log.warning("The journal %s is on the disk again.", self._path)
            self.failure = ""
        return None

    def _fold(self) -> bool:
        """Fold the log into the file without waiting for anybody; return False where something is left to fold."""
        try:
            database = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", timeout=0.0, uri=True)
            try:
                busy, pages, folded = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            finally:
                database.close()
        except sqlite3.Error as error:
            _log.debug("the log of %s could not be folded: %s", self._path, error)
            # of anything else the writer hears as well, and knows what to do
            return getattr(error, "sqlite_errorcode", 0) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        return not busy and bool(pages == folded)


def _nobody(_error: JournalError | None) -> None:
    """Nobody waits."""
