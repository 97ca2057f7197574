"""The invalidations since the last snapshot, in a file beside it, so that a snapshot is of use without its journal.

Where a journal is damaged so badly that it cannot say what was invalidated, its snapshot would bring back what was
taken out. This file says it as well:

```text
0    8  magic "likewinv"
8   32  epoch of the journal, in hexadecimal
40   8  position from which on it has every invalidation
48   4  CRC-32 of the bytes before
52   -  invalidations: position (8), length (4), CRC-32 of both (4), and the journal's frame of that length
```

Little-endian. It is written anew with each snapshot and at each start, and appended to before each commit, so it may
have more than the journal, never less. An end that was cut off was never acknowledged. Anything else that does not fit
makes all of it useless.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from likewise.errors import JournalError
from likewise.files import read_regular, write_atomic
from likewise.journal import codec
from likewise.records import Invalidated

_log = logging.getLogger(__name__)
_HEAD = struct.Struct("<8s32sQ")
_CHECK = struct.Struct("<I")
_RECORD = struct.Struct("<QI")
_MAGIC = b"likewinv"
MAX_BYTES = 64 * 2**20
"""Past this it is given up until the next snapshot."""


class Invalidation(NamedTuple):
    """One invalidation as the journal keeps it."""

    position: int
    function: str
    frame: bytes


class Since(NamedTuple):
    """What was invalidated since a snapshot."""

    epoch: str
    position: int
    """All invalidations behind it are here."""
    invalidations: list[Invalidation]


class InvalidationLog:
    """Keeps the file. All but `sync` is for the thread that writes the journal."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = False
        self._unsynced = False
        self._bytes = 0

    def begin(self, epoch: str, position: int, invalidations: Iterable[tuple[int, str, bytes]]) -> None:
        """Write the file anew, with the invalidations behind a position; without room on the disk there is none."""
        head = _HEAD.pack(_MAGIC, epoch.encode(), position)
        content = b"".join((head, _CHECK.pack(crc32(head)), *(_record(at, frame) for at, _, frame in invalidations)))
        try:
            write_atomic(self._path, content)
            self._kept, self._bytes = True, len(content)
        except OSError as error:
            _log.warning("%s cannot be written, so a damaged journal could cost its snapshot: %s", self._path, error)
            self._give_up()

    def append(self, position: int, frame: bytes) -> None:
        """Add an invalidation that is about to be committed. Raises OSError where neither that nor deletion works."""
        if not self._kept:
            return
        record = _record(position, frame)
        try:
            if self._bytes + len(record) > MAX_BYTES:
                raise OSError("it has grown too large")
            with self._path.open("r+b") as file:
                file.seek(self._bytes)  # behind the last whole one
                file.write(record)
        except OSError as error:
            _log.warning("%s is given up until the next snapshot: %s", self._path, error)
            self._give_up()
            return
        self._bytes += len(record)
        self._unsynced = True

    def sync(self) -> None:
        """Bring what was appended to the disk. Any thread. Raises OSError."""
        if not self._unsynced:
            return
        self._unsynced = False
        try:
            descriptor = os.open(self._path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:  # given up
            return
        try:
            os.fsync(descriptor)
        except OSError:
            self._unsynced = True
            raise
        finally:
            os.close(descriptor)

    def _give_up(self) -> None:
        """Delete the file: one that lacks an invalidation must not be believed."""
        if self._path.is_file():
            self._path.unlink(missing_ok=True)
        self._kept = False


def read_log(path: Path) -> Since | None:
    """Return what the file says; None where there is none, or it is damaged."""
    try:
        content = read_regular(path, MAX_BYTES)
        magic, epoch, position = _HEAD.unpack_from(content)
        if magic != _MAGIC or _CHECK.unpack_from(content, _HEAD.size) != (crc32(content[: _HEAD.size]),):
            raise ValueError("its head is damaged")
        return Since(epoch.decode("ascii"), position, list(_invalidations(content, _HEAD.size + _CHECK.size)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, struct.error, JournalError) as error:
        _log.warning("%s cannot be used: %s", path, error)
        return None


def _invalidations(content: bytes, at: int) -> Iterable[Invalidation]:
    head = _RECORD.size + _CHECK.size
    while at + head <= len(content):
        position, length = _RECORD.unpack_from(content, at)
        if _CHECK.unpack_from(content, at + _RECORD.size) != (crc32(content[at : at + _RECORD.size]),):
            raise ValueError("an invalidation is damaged")
        at += head + length
        if at > len(content):
            return
        frame = content[at - length : at]
        record = codec.decode(frame)
        if not isinstance(record, Invalidated):
            raise ValueError("it holds what is no invalidation")
        yield Invalidation(position, record.function, frame)


def _record(position: int, frame: bytes) -> bytes:
    head = _RECORD.pack(position, len(frame))
    return b"".join((head, _CHECK.pack(crc32(head)), frame))
