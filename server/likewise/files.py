"""Files that are there whole or not at all, also after a power cut: written beside, brought to disk, renamed."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from io import BufferedReader
from pathlib import Path

PRIVATE = 0o600
"""The mode of what only the server's user may read."""
PUBLIC = 0o644


def write_atomic(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Replace a file as a whole: a reader, and a start after a crash, sees the old or the new one. Raises OSError."""
    unfinished = _beside(path, content, mode)
    try:
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_out(path: Path, content: bytes) -> None:
    """Write what somebody asked for, where they said: as a whole, but into a device or a pipe, and behind a link.

    Raises OSError.
    """
    if path.exists() and not path.is_file():  # else a file would take the place of /dev/null
        path.write_bytes(content)
    else:
        write_atomic(path.resolve(), content, PUBLIC)


def create_atomic(path: Path, content: bytes, mode: int = PRIVATE) -> bool:
    """Write a file where there is none yet, whole or not at all; False where another process was faster.

    Raises OSError.
    """
    unfinished = _beside(path, content, mode)
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    finally:
        unfinished.unlink()
    sync_folder(path.parent)
    return True


def write_synced(path: Path, content: bytes, mode: int = PUBLIC) -> None:
    """Write a file and bring it to disk, for a folder that is put in place as a whole later. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading. Raises OSError for anything else: a pipe would be waited for, a device never ends."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return what a file holds. Raises OSError for anything else, and for one that is longer."""
    with open_regular(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it has over {most_bytes} bytes", str(path))
    return content


def file_at(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at a path from all others; None where there is none. Raises OSError."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a system on which folders cannot be opened
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, content: bytes, mode: int) -> Path:
    """Write a temporary file next to a path, on disk and with its mode, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # with mode 600
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return unfinished
