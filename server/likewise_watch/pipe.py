"""Named pipes and standard input as sources: read within a time limit, which FFmpeg's own reading of them has not."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from likewise_watch.address import PIPED, Address
from likewise_watch.errors import SourceLost

_STANDARD_INPUT = 0


class Pipe:
    """A pipe that is open for reading, as a file that PyAV takes.

    timeout_s: longest wait for a writer, and for what it writes next. Raises OSError where it cannot be opened.
    """

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._shown = address.shown
        self._timeout_s = timeout_s
        # without O_NONBLOCK opening would wait for a writer
        self._descriptor = (
            _STANDARD_INPUT if address.target == PIPED else os.open(_path(address), os.O_RDONLY | os.O_NONBLOCK)
        )
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def read(self, most: int) -> bytes:
        """Return at most so many bytes as soon as there are any, none at the end.

        Raises SourceLost where none came in time.
        """
        until = time.monotonic() + self._timeout_s
        while self._poll.poll(max(0.0, until - time.monotonic()) * 1000):
            try:
                return os.read(self._descriptor, most)
            except BlockingIOError:  # another reader was faster
                continue
        raise SourceLost(f"{self._shown} was silent: nothing was written to this pipe for {self._timeout_s:g} s.")

    def close(self) -> None:
        """Close what was opened here; standard input stays open."""
        if self._descriptor != _STANDARD_INPUT:
            os.close(self._descriptor)


def is_pipe(address: Address) -> bool:
    """Say whether a source is a pipe, on a system where one can be waited for."""
    if not hasattr(select, "poll"):
        return False
    return address.target == PIPED or (address.kind in ("file", "other") and _path(address).is_fifo())


def _path(address: Address) -> Path:
    return Path(address.target.removeprefix("file://"))
