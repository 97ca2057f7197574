"""A lock on a file, so that two processes never write one journal."""

from __future__ import annotations

import os
from pathlib import Path

from likewise.errors import JournalError
from likewise.files import file_at
from likewise.journal.private import private

try:
    import fcntl
except ImportError:  # a system without it; there SQLite's own locks are all there is
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """Held by one process at a time; the system releases it when that process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises JournalError if another process has it, OSError where the file cannot be opened."""
        descriptor = private(str(self._path), os.O_RDWR | os.O_CREAT)
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise JournalError(
                    f"Another process uses the journal beside {self._path}. Stop it, choose another path, or use the "
                    "Redis journal, which many workers and nodes share."
                ) from error
        self._descriptor = descriptor

    def renew(self) -> None:
        """Hold the file at the path where the one that is held was removed. Raises as `acquire` does."""
        held = None if self._descriptor is None else os.fstat(self._descriptor)
        if held is None or file_at(self._path) != (held.st_dev, held.st_ino):
            before, self._descriptor = self._descriptor, None
            try:
                self.acquire()
            except BaseException:
                self._descriptor = before
                raise
            if before is not None:
                os.close(before)

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
