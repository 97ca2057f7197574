"""Files that hold what devices sent: readable by the user that serves, and nobody else."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MODE = 0o600


def private(path: str, flags: int) -> int:
    """Open a file so that it is private, as an opener for `open`. Raises OSError."""
    descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0), MODE)
    with suppress(OSError):  # one of before, or of another user
        Path(path).chmod(MODE)
    return descriptor


def keep_private(path: Path) -> None:
    """See to it that a file is private before another library opens it, and that it exists. Raises OSError."""
    os.close(private(str(path), os.O_RDWR | os.O_CREAT))
