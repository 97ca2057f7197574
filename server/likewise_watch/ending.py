"""How Ctrl-C and SIGTERM end the program in good order."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """Takes the first SIGINT or SIGTERM while the block runs; a second one does what it did before.

    Before `patient` is set, while a server is being started or waited for, it raises KeyboardInterrupt; afterwards it
    sets `asked`. Does nothing outside of the main thread, which alone gets signals.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.patient = False
        self.signals: list[int] = []
        """Those that came."""

    def __enter__(self) -> Self:
        self._ours = threading.current_thread() is threading.main_thread()
        if self._ours:
            self._before = {each: signal.signal(each, self._handle) for each in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)
        self._restore()
        self.asked.set()
        if not self.patient:
            raise KeyboardInterrupt

    def _restore(self) -> None:
        if self._ours:
            for each, handler in self._before.items():
                signal.signal(each, handler)
