"""Work beside a drill in a thread of its own; what it dies of fails the drill."""

from __future__ import annotations

import threading
from collections.abc import Callable

from benchmarks.processes import Failed


class Task:
    """A thread whose error is handed to who waits for it."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._work = run
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def check(self) -> None:
        """Raise Failed where it died."""
        if self._error is not None:
            raise Failed(f"a thread of the drill died of {self._error!r}") from self._error

    def join(self, timeout_s: float = 300.0) -> None:
        """Wait for its end. Raises Failed where it died, or does not end."""
        self._thread.join(timeout_s)
        self.check()
        if self._thread.is_alive():
            raise Failed(f"a thread of the drill did not end within {timeout_s:g} s")
