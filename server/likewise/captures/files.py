"""The files of a capture: one that is written and older ones behind it, within a bound; read in order of arrival.

`requests.capture` is written until it holds a quarter of what the capture may take; then it becomes
`requests.capture.1`, that `.2` and that `.3`, which is the oldest. Workers write `requests-0.capture` and so on. A
frame that is cut off, as by a crash, or damaged is left out, and what comes after it is read.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from likewise.captures.record import HEAD, MAGIC, Recorded, body_length, claimed_length, decode
from likewise.errors import InvalidValue, SettingsError
from likewise.files import PRIVATE

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

SEGMENTS = 4
"""Files that a capture consists of at most: the oldest makes room for the next."""


def worker_path(path: Path, number: int) -> Path:
    """Return where one of several workers writes."""
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def _is_of_worker(name: str, path: Path) -> bool:
    number = name.removeprefix(f"{path.stem}-").removesuffix(path.suffix)
    return name == f"{path.stem}-{number}{path.suffix}" and number.isdecimal()


def capture_segments(path: Path) -> list[Path]:
    """Return the files of a capture that are there, those of all its workers, the oldest of each first."""
    try:
        others = [each for each in path.parent.iterdir() if _is_of_worker(each.name, path)]
    except OSError:
        others = []
    found = []
    for base in [path, *sorted(others)]:
        rotated = [base.with_name(f"{base.name}.{n}") for n in range(SEGMENTS - 1, 0, -1)]
        found += [each for each in (*rotated, base) if each.is_file()]
    return found


def is_capture(path: Path) -> bool:
    """Say whether a file, or the first one of its capture, begins as a capture does."""
    for each in capture_segments(path):
        with each.open("rb") as file:
            if start := file.read(2):
                return start == MAGIC
    return path.is_file() and path.stat().st_size == 0


class CaptureWriter:
    """Appends frames to a capture. Belongs to one thread."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open the file, behind what an earlier process wrote. max_bytes: of all files of the capture together.

        Raises SettingsError where it cannot be written, is something else, or another process writes it.
        """
        self._path = path
        self._limit = max_bytes // SEGMENTS
        self._file = self._open()
        try:
            self._size = self._whole()
            self._file.truncate(self._size)
            self._file.seek(self._size)
        except (OSError, SettingsError) as error:
            self._file.close()
            raise self._unusable(error) from error

    def write(self, frames: list[bytes]) -> None:
        """Append frames and hand them to the operating system. Raises OSError; what was written before is whole."""
        for each in frames:
            if self._size and self._size + len(each) > self._limit:
                self._rotate()
            try:
                if self._file.write(each) < len(each):  # a disk with room for a part of it
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            except OSError:
                self._file.truncate(self._size)  # no torn frame before the next one
                self._file.seek(self._size)
                raise
            self._size += len(each)

    def close(self) -> None:
        """Bring it to disk and close it. Raises OSError."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _open(self) -> BinaryIO:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            file = os.fdopen(os.open(self._path, flags, PRIVATE), "r+b", buffering=0)
        except OSError as error:
            raise self._unusable(error) from error
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.close()
                raise SettingsError(
                    f"Setting capture: another process writes {self._path}; give each server a file of its own."
                ) from error
        return file

    def _whole(self) -> int:
        """Return where the whole frames of the file end; a crash may have left a part of one behind them."""
        size = os.fstat(self._file.fileno()).st_size
        if not size:
            return 0
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[:2] != MAGIC:
                raise SettingsError(f"Setting capture: {self._path} is no capture; name another file, or remove it.")
            end = 0
            for at, length in _frames(content, str(self._path)):
                end = at + HEAD.size + length
        return end

    def _rotate(self) -> None:
        older = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, SEGMENTS))]
        if self._path.exists():  # else the last attempt got so far
            for source, target in reversed(list(pairwise(older))):
                if source.exists():
                    source.replace(target)
        done, self._file = self._file, self._open()
        self._size = 0
        done.close()

    def _unusable(self, error: Exception) -> SettingsError:
        if isinstance(error, SettingsError):
            return error
        reason = error.strerror if isinstance(error, OSError) else error
        return SettingsError(f"Setting capture: {self._path} cannot be written ({reason}); name another file.")


class Capture:
    """The requests of a capture, in the order in which they came. Use as a context manager; iterate as often as wanted.

    Inputs stay in the files until they are asked for.
    """

    def __init__(self, path: Path) -> None:
        """Set up. path: the file that the server was given, or a copy of any of its files."""
        self._path = path
        self.lost = 0
        """Requests that the server could not write in time, or that were damaged since."""
        self._open = ExitStack()
        self._places: list[tuple[float, int, int, int]] = []  # when, which file, offset, length of the body
        self._contents: list[mmap.mmap] = []

    def __enter__(self) -> Self:
        """Look through the files. Raises InvalidValue where there is no capture."""
        found = capture_segments(self._path)
        if not found:
            what = "is no file" if os.path.lexists(self._path) else "is not there"
            raise InvalidValue(f"{self._path} {what}; name the file that `likewise serve --capture FILE` wrote.")
        try:
            for each in found:
                self._scan(each)
        except BaseException:
            self._open.close()
            raise
        self._places.sort()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Recorded]:
        for _, number, at, length in self._places:
            record = decode(self._contents[number], at, length)
            if isinstance(record, Recorded):
                yield record

    def _scan(self, path: Path) -> None:
        try:
            file = self._open.enter_context(path.open("rb"))
            if not os.fstat(file.fileno()).st_size:
                return
            content = self._open.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise InvalidValue(f"{path} cannot be read ({error.strerror}); check file and permissions.") from error
        if content[:2] != MAGIC:
            raise InvalidValue(f"{path} is no capture; name the file that `likewise serve --capture FILE` wrote.")
        self._contents.append(content)
        end = 0
        for at, length in _frames(content, str(path)):
            self.lost += at > end  # something between the frames that is none
            end = at + HEAD.size + length
            try:
                record = decode(content, at, length)
            except ValueError:
                self.lost += 1
                continue
            if isinstance(record, Recorded):
                self._places.append((record.at, len(self._contents) - 1, at, length))
            else:
                self.lost += record
        self.lost += end < len(content)  # cut off there


def _frames(content: mmap.mmap, name: str) -> Iterator[tuple[int, int]]:
    """Yield offset and length of the body of each whole frame; past what is damaged it goes on with the next.

    It ends where so much is damaged that looking for the next would take longer than four times the file.
    """
    at, checked = 0, 0
    while 0 <= at < len(content) and checked <= 4 * len(content):
        try:
            length = body_length(content, at)
        except InvalidValue as error:
            raise InvalidValue(f"{name}: {error.detail}.") from None
        if length >= 0:
            yield at, length
            at += HEAD.size + length
        else:
            checked += claimed_length(content, at)
            at = content.find(MAGIC, at + 1)
