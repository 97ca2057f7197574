"""A sealed snapshot: all live entries as columns in one file, read as fast as the disk delivers.

```text
0        16  magic "likewise-snap" and the version
16       -   columns, one behind the other
table    -   JSON: epoch, position, blocks with name, type, shape, offset and CRC-32 of each column
last 28      offset and length of the table, its CRC-32, the magic's first 8 bytes
```

It is written beside its final place, brought to disk and renamed over the old one, so there is always a
whole one or none. `position` is the place in the journal up to which it speaks; `epoch` names that journal.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np
import orjson
from numpy.typing import NDArray

from likewise.errors import JournalError
from likewise.facts import FACTS
from likewise.files import open_regular, sync_folder
from likewise.journal.blocks import check
from likewise.journal.private import private
from likewise.records import EntryBlock

VERSION = 1
_MAGIC = b"likewise-snap\0" + struct.pack("<H", VERSION)
_TRAILER = struct.Struct("<QQI8s")
_MAX_TABLE_BYTES = 256 * 2**20
_RESULTS = {"bodies": "|u1", "body_ends": "<i8"}


class SnapshotWriter:
    """Writes one snapshot. Use as a context manager: leaving it without `seal` leaves the old snapshot alone."""

    def __init__(self, path: Path, epoch: str, position: int) -> None:
        self._path = path
        self._unfinished = path.with_name(path.name + ".unfinished")
        self._epoch = epoch
        self._position = position
        self._blocks: list[dict[str, Any]] = []
        self._offset = len(_MAGIC)
        self._file: BinaryIO | None = None

    def __enter__(self) -> SnapshotWriter:
        try:
            self._file = open(self._unfinished, "wb", opener=private)
            self._file.write(_MAGIC)
        except OSError as error:
            raise _cannot_write(self._path, error) from error
        return self

    def add(self, block: EntryBlock) -> None:
        """Write one block. Raises JournalError when the disk does not take it, or the columns do not fit."""
        check(block)
        columns = {fact.column: self._column(block.facts[fact.name], fact.dtype) for fact in FACTS}
        columns |= {name: self._column(getattr(block, name), kind) for name, kind in _RESULTS.items()}
        self._blocks.append(
            {
                "function": block.function,
                "entries": len(block),
                "columns": columns,
                "keys": {name: self._column(keys, "<f4") for name, keys in block.keys.items()},
                **{fact.interned: list(block.values[fact.name]) for fact in FACTS if fact.interned},
            }
        )

    def seal(self) -> int:
        """Finish the file, put it in place and return its size in bytes. Raises JournalError."""
        table = orjson.dumps({"epoch": self._epoch, "position": self._position, "blocks": self._blocks})
        file = self._open()
        try:
            file.write(table)
            file.write(_TRAILER.pack(self._offset, len(table), crc32(table), _MAGIC[:8]))
            file.flush()
            os.fsync(file.fileno())
            file.close()
            self._unfinished.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise _cannot_write(self._path, error) from error
        return self._offset + len(table) + _TRAILER.size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._unfinished.unlink(missing_ok=True)

    def _column(self, values: NDArray[Any], kind: str) -> dict[str, Any]:
        raw = np.ascontiguousarray(values, dtype=kind)
        view = raw.reshape(-1).view(np.uint8).data
        try:
            self._open().write(view)
        except OSError as error:
            raise _cannot_write(self._path, error) from error
        column = {"type": kind, "shape": list(raw.shape), "offset": self._offset, "crc": crc32(view)}
        self._offset += view.nbytes
        return column

    def _open(self) -> BinaryIO:
        if self._file is None or self._file.closed:
            raise JournalError("This snapshot is not open for writing.")
        return self._file


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot whose table of contents was read and verified."""

    path: Path
    epoch: str
    position: int
    """Place in the journal up to which it speaks."""
    table: list[dict[str, Any]]

    @property
    def entries(self) -> int:
        """How many entries it holds, live or not."""
        return sum(block["entries"] for block in self.table)

    def digest(self) -> str:
        """Return what tells this snapshot from any other, as hexadecimal digits: made of all that it holds."""
        return sha256(orjson.dumps([self.epoch, self.position, self.table])).hexdigest()

    def blocks(self) -> Iterator[EntryBlock]:
        """Read one block after the other and verify it. Raises JournalError at the first that is damaged."""
        try:
            with open_regular(self.path) as file:
                size = os.fstat(file.fileno()).st_size
                for block in self.table:
                    yield _read_block(file, block, size)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise _damaged(self.path, str(error)) from error


def open_snapshot(path: Path) -> Snapshot | None:
    """Return the snapshot at a path, None if there is none. Raises JournalError if it is damaged."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size < len(_MAGIC) + _TRAILER.size or file.read(len(_MAGIC)) != _MAGIC:
                raise _damaged(path, "it is no snapshot of this version")
            file.seek(size - _TRAILER.size)
            offset, length, expected, magic = _TRAILER.unpack(file.read(_TRAILER.size))
            if magic != _MAGIC[:8] or length > _MAX_TABLE_BYTES or offset + length + _TRAILER.size != size:
                raise _damaged(path, "its end is missing")
            file.seek(offset)
            raw = file.read(length)
            if crc32(raw) != expected:
                raise _damaged(path, "its table of contents does not match its checksum")
            table = orjson.loads(raw)
            return Snapshot(path, table["epoch"], table["position"], table["blocks"])
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _read_block(file: BinaryIO, block: dict[str, Any], size: int) -> EntryBlock:
    columns, n = block["columns"], block["entries"]
    facts: dict[str, NDArray[Any]] = {}
    values: dict[str, list[Any]] = {}
    for fact in FACTS:
        known = fact.column in columns or not fact.later  # else the snapshot is older than the fact
        facts[fact.name] = _read(file, columns[fact.column], fact.dtype, size) if known else fact.default_column(n)
        if fact.interned:
            found = block[fact.interned] if known else [fact.default]
            values[fact.name] = [tuple(each) if isinstance(each, list) else each for each in found]
    result = EntryBlock(
        block["function"],
        facts,
        values,
        {name: _read(file, column, "<f4", size) for name, column in block["keys"].items()},
        **{name: _read(file, columns[name], kind, size) for name, kind in _RESULTS.items()},
    )
    check(result)
    return result


def _read(file: BinaryIO, column: dict[str, Any], kind: str, size: int) -> NDArray[Any]:
    shape, offset = tuple(column["shape"]), column["offset"]
    length = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
    if column["type"] != kind or length < 0 or offset < 0 or offset + length > size:
        raise ValueError("a column lies outside the file")
    values = np.empty(shape, dtype=kind)
    view = values.reshape(-1).view(np.uint8).data
    file.seek(offset)
    if file.readinto(view) != length or crc32(view) != column["crc"]:  # type: ignore[attr-defined]
        raise ValueError("a column does not match its checksum")
    return values


def _damaged(path: Path, reason: str) -> JournalError:
    return JournalError(f"The snapshot {path} cannot be used: {reason}. Delete it; what the journal has goes on.")


def _cannot_write(path: Path, error: OSError) -> JournalError:
    return JournalError(f"The snapshot {path} cannot be written: {error.strerror}. Free some space or fix the folder.")
