"""Time that never jumps, and what stamps of the wall clock are on it.

A stamp that leaves the process (in the journal, to other nodes) is of the wall clock, which somebody may set. What is
decided here (is an entry expired, how old is it) goes by a monotonic clock, so setting the wall clock changes nothing.
"""

from __future__ import annotations

import time
from functools import partial

from likewise.types import Clock

STEP_S = 0.5
"""Differences up to this between the two clocks are no step: stamps then stay as they are, to the last bit."""


_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)

monotonic: Clock = time.monotonic if _BOOT is None else partial(time.clock_gettime, _BOOT)
"""Returns seconds that only grow, also while the machine sleeps where the system counts that."""


class SteadyClock:
    """The time of the wall clock as it was at the start, and since then what the monotonic clock says."""

    def __init__(self, wall: Clock, monotonic: Clock | None = None) -> None:
        """Set up. monotonic: seconds from any start; None: the wall clock itself, which then must not be set."""
        self._wall = wall
        self._monotonic = monotonic or wall
        self._base = wall() - monotonic() if monotonic else 0.0

    def now(self) -> float:
        """Return the present, in seconds since the Unix epoch as the wall clock counted them at the start."""
        return self._base + self._monotonic()

    def shift(self) -> float:
        """Return what makes a stamp of the wall clock one of this clock when it is added; 0 while it was not set."""
        shift = self.now() - self._wall()
        return shift if abs(shift) > STEP_S else 0.0
