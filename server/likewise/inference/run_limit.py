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
LOOKS = 20
"""How often it is looked within the limit whether a run is over it."""
_ASKED_FOR = "gpu_graph_id"
"""ONNX Runtime looks for this option at each run, and raises within where it is missing: 40 to 100 us."""


def run_options() -> onnxruntime.RunOptions:
    """Return options for one run."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_ASKED_FOR, "0")  # what is taken where it is missing
    return options


class RunLimit:
    """Bounds the time of runs, in whatever threads they are. One operator is not ended within."""

    def __init__(self) -> None:
        self.seconds = inf
        self._runs: dict[int, tuple[float, onnxruntime.RunOptions]] = {}
        self._until = threading.local()
        self._watching = threading.Lock()

    def set(self, seconds: float) -> None:
        """Bound runs that begin from now on; the limit is the process's, and a later one counts for all."""
        self.seconds = seconds
        if seconds != inf and self._watching.acquire(blocking=False):
            threading.Thread(target=self._watch, name="likewise-run-limit", daemon=True).start()

    @contextmanager
    def within(self, share: float) -> Iterator[None]:
        """Bound all runs of this thread together to a share of the limit."""
        local = self._until
        before = getattr(local, "at", inf)
        local.at = min(before, monotonic() + share * self.seconds)
        try:
            yield
        finally:
            local.at = before

    def run(self, work: Callable[[onnxruntime.RunOptions], T]) -> T:
        """Return what a run with the options returns; beyond the limit it raises, see `ENDED`."""
        options = run_options()
        thread = threading.get_ident()
        self._runs[thread] = (min(getattr(self._until, "at", inf), monotonic() + self.seconds), options)
        try:
            return work(options)
        finally:
            del self._runs[thread]

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(self.seconds / LOOKS):
            now = monotonic()
            for until, options in list(self._runs.values()):
                if now > until:
                    options.terminate = True


RUN_LIMIT = RunLimit()
"""That of this process."""
