"""Runs of models that take too long are ended: a loop may go on for ever with one input, and end with all others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import TypeVar

import onnxruntime

T = TypeVar("T")

ENDED = "Exiting due to terminate flag"
"""What ONNX Runtime says of a run that was ended."""
_UNCAPTURED = ("gpu_graph_id", "-1")
"""That a run is no part of a captured graph. `run_with_iobinding` asks that of its options each time, and an option
that is not set is an exception in C++, which takes longer than a small network: 80 us when nothing ran between."""
LOOKS = 20
"""How often it is looked within the limit whether a run is over it."""


class _Own(threading.local):
    """What a thread has of its own."""

    until = inf
    """When its runs have to be over, by `within`."""
    options: onnxruntime.RunOptions | None = None
    """Those of its last run, for the next one, since they take time to make."""


class RunLimit:
    """Bounds the time of runs, in whatever threads they are. One operator is not ended within."""

    def __init__(self) -> None:
        self.seconds = inf
        self._runs: dict[int, tuple[float, onnxruntime.RunOptions]] = {}
        self._own = _Own()
        self._watching = threading.Lock()

    def set(self, seconds: float) -> None:
        """Bound runs that begin from now on; the limit is the process's, and a later one counts for all."""
        self.seconds = seconds
        if seconds != inf and self._watching.acquire(blocking=False):
            threading.Thread(target=self._watch, name="likewise-run-limit", daemon=True).start()

    @contextmanager
    def within(self, share: float) -> Iterator[None]:
        """Bound all runs of this thread together to a share of the limit."""
        own = self._own
        before = own.until
        own.until = min(before, monotonic() + share * self.seconds)
        try:
            yield
        finally:
            own.until = before

    def run(self, work: Callable[[onnxruntime.RunOptions], T]) -> T:
        """Return what a run with the options returns; beyond the limit it raises, see `ENDED`."""
        own, thread = self._own, threading.get_ident()
        options = own.options or run_options()
        until = min(own.until, monotonic() + self.seconds)
        self._runs[thread] = until, options
        try:
            return work(options)
        finally:
            del self._runs[thread]
            # whoever ends a run has seen that it is over its time before this does, and may still be about to
            own.options = options if monotonic() <= until else None

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(self.seconds / LOOKS):
            now = monotonic()
            for until, options in list(self._runs.values()):
                if now > until:
                    options.terminate = True


def run_options() -> onnxruntime.RunOptions:
    """Return options for runs of one thread, with what each run asks of them."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(*_UNCAPTURED)
    return options


RUN_LIMIT = RunLimit()
"""That of this process."""
