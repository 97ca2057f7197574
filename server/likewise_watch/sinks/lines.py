"""Results as JSON lines, in a file or on standard output."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import IO

from likewise.errors import LikewiseError, SettingsError
from likewise_watch.found import Found


class Lines:
    """Writes a line for each result, at once. path: appended to, so that nothing is lost; None: standard output.

    Raises SettingsError for a file that cannot be written.
    """

    lost = 0

    def __init__(self, path: Path | None) -> None:
        self._name = "standard output" if path is None else str(path)
        self._lock = threading.Lock()
        self._ours = path is not None
        self._closed = False
        try:
            self._file: IO[bytes] = sys.stdout.buffer if path is None else path.open("ab", buffering=0)
        except OSError as error:
            raise SettingsError(f"--output {path} cannot be written: {error.strerror}.") from error

    def put(self, found: Found) -> None:
        """Write a line. Raises LikewiseError where it cannot be written, as on a full disk."""
        line = found.document() + b"\n"
        with self._lock:
            if self._closed:
                return
            try:
                while line:  # a disk that is nearly full takes a part
                    line = line[self._file.write(line) :]
                self._file.flush()
            except (OSError, ValueError) as error:
                self._closed = True
                raise LikewiseError(f"{self._name} takes no more: {error}.") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            if self._ours:
                self._file.close()
