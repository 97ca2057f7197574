"""The database as the journal's writer has it open: with a look at what others may have done to its file meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

from likewise.journal.sqlite.database import Database

MAGIC = b"SQLite format 3\0"
"""How the file of a database begins."""


class GuardedDatabase(Database):
    """A database that notices, before it is written to, when its head is overwritten or its log cut.

    SQLite looks at neither while it has them open, and would go on writing into a file that nobody can open again.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        # Open until the database is closed: to close a descriptor of a file gives up all locks of the process on it.
        self._file = -1
        try:
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        except OSError:
            self.close()
            raise
        self._log_bytes = self._log_size(0)

    @property
    def is_whole(self) -> bool:
        """Whether the file begins as a database does, and its write-ahead log is as long as it was, at least."""
        os.lseek(self._file, 0, os.SEEK_SET)
        return os.read(self._file, len(MAGIC)) == MAGIC and self._log_size(self._log_bytes) >= self._log_bytes

    def wrote(self) -> None:
        """Take note of how long the log is, after statements of one's own: they alone may make it shorter."""
        self._log_bytes = self._log_size(0)

    def close(self) -> None:
        """Close the connection, then the file."""
        super().close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _log_size(self, missing: int) -> int:
        try:
            return self.log_path.stat().st_size
        except OSError:  # removed, which `in_place` tells
            return missing
