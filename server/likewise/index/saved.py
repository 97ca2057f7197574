"""A file of what leads to keys: the links of graphs and the lists, so that they need not be built anew after a restart.

```text
0        16  magic "likewise-near" and the version
16       -   columns, one behind the other
table    -   JSON: digest of the snapshot that it belongs to; what each index is, with name, type, shape, offset and
             CRC-32 of each of its columns
last 28      offset and length of the table, its CRC-32, the magic's first 8 bytes
```

It is written beside its final place, brought to disk and renamed over the old one. Keys are not in it: they are in the
snapshot. Nothing in it is believed: who restores an index checks every number that leads somewhere.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np
import orjson
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.files import open_regular

VERSION = 1
_MAGIC = b"likewise-near\0" + struct.pack("<H", VERSION)
_TRAILER = struct.Struct("<QQI8s")
_MAX_TABLE_BYTES = 16 * 2**20
_TYPES = ("|u1", "<i4", "<i8", "<f4")
ROWS = 1 << 18
"""Numbers that are read or written at once."""

Column = tuple[str, Iterable[NDArray[Any]]]
"""Name of a column, and its numbers in parts of one type."""


class SavedWriter:
    """Writes one file. Use as a context manager: leaving it without `seal` leaves the old file alone."""

    def __init__(self, path: Path, digest: str) -> None:
        self._path = path
        self._unfinished = path.with_name(path.name + ".unfinished")
        self._digest = digest
        self._indexes: list[dict[str, Any]] = []
        self._offset = len(_MAGIC)
        self._file: BinaryIO

    def __enter__(self) -> SavedWriter:
        self._file = self._unfinished.open("wb")
        self._file.write(_MAGIC)
        return self

    def add(self, facts: Mapping[str, Any], columns: Iterable[Column]) -> None:
        """Write one index: what it is, JSON-able, and its columns. Raises OSError."""
        self._indexes.append({**facts, "columns": {name: self._column(parts) for name, parts in columns}})

    def _column(self, parts: Iterable[NDArray[Any]]) -> dict[str, Any]:
        column: dict[str, Any] = {"type": "|u1", "length": 0, "offset": self._offset, "crc": 0}
        for part in parts:
            raw = np.ascontiguousarray(part).reshape(-1)
            view = raw.view(np.uint8).data
            self._file.write(view)
            column["type"] = raw.dtype.str
            column["length"] += len(raw)
            column["crc"] = crc32(view, column["crc"])
            self._offset += view.nbytes
        return column

    def seal(self) -> None:
        """Finish the file and put it in place. Raises OSError."""
        table = orjson.dumps({"digest": self._digest, "indexes": self._indexes})
        self._file.write(table)
        self._file.write(_TRAILER.pack(self._offset, len(table), crc32(table), _MAGIC[:8]))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._unfinished.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._unfinished.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class SavedIndex:
    """One index of such a file: facts whose table was verified, and columns that are verified as they are read."""

    path: Path
    facts: Mapping[str, Any]

    def number(self, name: str, least: int = 0) -> int:
        """Return a whole number. Raises InvalidValue where it is something else, or below `least`."""
        value = self.facts.get(name)
        if not isinstance(value, int) or value < least:
            raise InvalidValue(f"`{name}` is {value!r}")
        return value

    def text(self, name: str) -> str:
        """Return a text. Raises InvalidValue where it is something else."""
        value = self.facts.get(name)
        if not isinstance(value, str):
            raise InvalidValue(f"`{name}` is {value!r}")
        return value

    def length(self, name: str) -> int:
        """Return how many numbers a column has. Raises InvalidValue where there is no such column."""
        return int(self._place(name)["length"])

    def chunks(self, name: str, kind: str) -> Iterator[NDArray[Any]]:
        """Yield a column in parts. Raises InvalidValue, after the last part at the latest, where it is damaged."""
        column = self._place(name)
        if column["type"] != kind and column["length"]:
            raise InvalidValue(f"column `{name}` is of type {column['type']}")
        left, crc = column["length"], 0
        try:
            with open_regular(self.path) as file:
                file.seek(column["offset"])
                while left:
                    part: NDArray[Any] = np.empty(min(left, ROWS), kind)
                    view = part.view(np.uint8).data
                    if file.readinto(view) != view.nbytes:
                        raise InvalidValue(f"column `{name}` ends early")
                    crc = crc32(view, crc)
                    left -= len(part)
                    yield part
        except OSError as error:
            raise InvalidValue(f"column `{name}` cannot be read: {error.strerror}") from error
        if crc != column["crc"]:
            raise InvalidValue(f"column `{name}` does not match its checksum")

    def column(self, name: str, kind: str, length: int) -> NDArray[Any]:
        """Return a whole column. Raises InvalidValue where it is damaged or of another length."""
        if self.length(name) != length:
            raise InvalidValue(f"column `{name}` has {self.length(name)} numbers instead of {length}")
        parts = list(self.chunks(name, kind))
        return np.concatenate(parts) if parts else np.empty(0, kind)

    def _place(self, name: str) -> Mapping[str, Any]:
        column: Mapping[str, Any] | None = self.facts["columns"].get(name)
        if column is None:
            raise InvalidValue(f"there is no column `{name}`")
        return column


def open_saved(path: Path, digest: str) -> list[SavedIndex]:
    """Return the indexes of a file that belongs to a snapshot; none where there is no file.

    Raises InvalidValue where it is damaged, of another version, or belongs to another snapshot.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size < len(_MAGIC) + _TRAILER.size or file.read(len(_MAGIC)) != _MAGIC:
                raise InvalidValue("it is no such file of this version")
            file.seek(size - _TRAILER.size)
            offset, length, expected, magic = _TRAILER.unpack(file.read(_TRAILER.size))
            if magic != _MAGIC[:8] or length > _MAX_TABLE_BYTES or offset + length + _TRAILER.size != size:
                raise InvalidValue("its end is missing")
            file.seek(offset)
            raw = file.read(length)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidValue(f"it cannot be read: {error.strerror}") from error
    if crc32(raw) != expected:
        raise InvalidValue("its table of contents does not match its checksum")
    try:
        table = orjson.loads(raw)
        if table["digest"] != digest:
            raise InvalidValue("it belongs to another snapshot")
        for facts in table["indexes"]:
            for column in facts["columns"].values():
                _check(column, offset)
        return [SavedIndex(path, facts) for facts in table["indexes"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidValue(f"its table of contents cannot be read: {error}") from error


def _check(column: Mapping[str, Any], end: int) -> None:
    length, offset = column["length"], column["offset"]
    if column["type"] not in _TYPES or type(length) is not int or type(offset) is not int or length < 0:
        raise InvalidValue("a column's place cannot be read")
    if offset < len(_MAGIC) or offset + length * np.dtype(column["type"]).itemsize > end:
        raise InvalidValue("a column lies outside the file")
