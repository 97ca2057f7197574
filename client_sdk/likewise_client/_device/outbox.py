"""Results that wait to be shared, in order, bounded in number and bytes, and kept in a file across restarts.

The file: `LIKEWISE-OUTBOX-1`, a line feed, then records: a letter, the length of its content and the CRC-32 of letter
and content (both 4 bytes, little-endian), the content. `E` is a result: the function's name, a line feed, the entry as
JSON. `D` is a number (4 bytes): so many of the oldest are gone. A record that is cut off or damaged ends the file.
"""

from __future__ import annotations

import logging
import struct
import threading
import zlib
from collections import deque
from pathlib import Path
from typing import NamedTuple

from likewise_client._device import disk

log = logging.getLogger("likewise_client")

MAGIC = b"LIKEWISE-OUTBOX-1\n"
NAME = "computed.likewise-outbox"
OVERHEAD = 64
"""Bytes that a result counts for beside its own."""
SLACK = 1 << 16
"""Bytes of records that are gone, beyond as many as are there, at which the file is written anew."""
_HEAD = struct.Struct("<cII")


class Waiting(NamedTuple):
    """A result that waits."""

    function: str
    entry: bytes
    """JSON."""

    @property
    def size(self) -> int:
        """Bytes that it counts for."""
        return len(self.entry) + len(self.function) + OVERHEAD


class Outbox:
    """Safe to share between threads of one process; a folder belongs to one client at a time."""

    def __init__(self, max_entries: int, max_bytes: int, folder: Path | None = None) -> None:
        """Set up, with what a file in the folder holds. None: nothing is kept across restarts."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._path = None if folder is None else folder / NAME
        self._lock = threading.Lock()
        self._entries: deque[Waiting] = deque()
        self._bytes = self._written = 0
        self._first = 0  # the number of the oldest, counted from the beginning
        self.dropped = 0
        """Results that went for want of room."""
        if self._path is not None:
            self._open(self._path)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Bytes that those waiting count for."""
        return self._bytes

    def add(self, function: str, entry: bytes) -> None:
        """Take a result in; where there is no room the oldest go, and are counted."""
        one = Waiting(function, entry)
        with self._lock:
            if one.size > self._max_bytes:
                self.dropped += 1
                return
            gone = 0
            while len(self._entries) - gone >= self._max_entries or self._bytes + one.size > self._max_bytes:
                self._bytes -= self._entries[gone].size
                gone += 1
            self.dropped += gone
            for _ in range(gone):
                self._entries.popleft()
            self._first += gone
            self._entries.append(one)
            self._bytes += one.size
            self._write((_gone(gone) if gone else b"") + _record(b"E", function.encode() + b"\n" + entry))

    def batch(self, count: int, most_bytes: int) -> tuple[int, str, list[bytes]]:
        """Return the oldest of one function: the number behind the last of them, the function, the entries."""
        with self._lock:
            taken: list[bytes] = []
            size, function = 0, self._entries[0].function if self._entries else ""
            for one in self._entries:
                size += one.size
                if one.function != function or len(taken) == count or (taken and size > most_bytes):
                    break
                taken.append(one.entry)
            return self._first + len(taken), function, taken

    def done(self, until: int) -> None:
        """Let those go whose numbers are below that of `batch`, as far as they are still there."""
        with self._lock:
            gone = max(0, min(until - self._first, len(self._entries)))
            for _ in range(gone):
                self._bytes -= self._entries.popleft().size
            self._first += gone
            if gone:
                self._write(_gone(gone))

    def close(self) -> None:
        """Leave the file to others: what comes now is not kept."""
        with self._lock:
            self._path = None

    def _write(self, records: bytes) -> None:
        if self._path is None:
            return
        try:
            if self._written + len(records) > 2 * self._bytes + SLACK:
                self._anew(self._path)
                return
            with self._path.open("ab", buffering=0) as file:
                file.write(records)
            self._written += len(records)
        except OSError as error:
            log.warning("%s cannot be written, results that wait are not kept: %s", self._path, error)

    def _anew(self, path: Path) -> None:
        """Write the file with what there is."""
        records = [_record(b"E", one.function.encode() + b"\n" + one.entry) for one in self._entries]
        content = MAGIC + b"".join(records)
        disk.write(path, content)
        self._written = len(content)

    def _open(self, path: Path) -> None:
        content, damaged = b"", False
        try:
            if path.exists():
                if path.stat().st_size > 4 * self._max_bytes + (1 << 20):
                    raise ValueError("it is far larger than it may be")
                content = path.read_bytes()
                damaged = not self._replay(content)
        except (OSError, ValueError) as error:
            log.warning("%s cannot be used, no results wait: %s", path, error)
            self._entries.clear()
        while len(self._entries) > self._max_entries or sum(one.size for one in self._entries) > self._max_bytes:
            self._entries.popleft()
            self.dropped += 1
        self._bytes = sum(one.size for one in self._entries)
        if damaged:
            log.warning("%s is damaged; %d results before the damage wait", path, len(self._entries))
        self._anew(path)

    def _replay(self, content: bytes) -> bool:
        """Take in what a file holds; return whether it was whole. Raises ValueError for one that is no such file."""
        if not content.startswith(MAGIC):
            raise ValueError("it does not begin like one")
        at = len(MAGIC)
        while at < len(content):
            if len(content) - at < _HEAD.size:
                return False
            kind, length, checksum = _HEAD.unpack_from(content, at)
            body = content[at + _HEAD.size : at + _HEAD.size + length]
            if len(body) != length or zlib.crc32(kind + body) != checksum:
                return False
            at += _HEAD.size + length
            if kind == b"E":
                function, _, entry = body.partition(b"\n")
                self._entries.append(Waiting(function.decode(errors="replace"), entry))
            elif kind == b"D" and length == 4:
                for _ in range(min(int.from_bytes(body, "little"), len(self._entries))):
                    self._entries.popleft()
            else:
                return False
        return True


def _record(kind: bytes, content: bytes) -> bytes:
    return _HEAD.pack(kind, len(content), zlib.crc32(kind + content)) + content


def _gone(count: int) -> bytes:
    return _record(b"D", count.to_bytes(4, "little"))
