"""How fast a queue is worked off, from which follows how long one more would wait."""

from __future__ import annotations

from math import exp

MEMORY_S = 0.5
"""Time over which what was served is averaged; what is older counts for less and less."""


STANDING_S = 0.1
"""A queue that is not worked off for so long is a standing one: the interval of CoDel, RFC 8289."""
TIMELY = 0.75
"""Share of the time that an answer is of use which may be spent waiting by estimate: it may be wrong, and the answer
has to get to its client."""


class Throughput:
    """Seconds for each that is served, of a queue in which some wait. Times in seconds, by any one clock."""

    __slots__ = ("_last", "_served", "_spent_s")

    def __init__(self) -> None:
        self._served = 0.0
        self._spent_s = 0.0
        self._last = 0.0

    def begin(self, now: float) -> None:
        """Take note that something waits again: until now there was nothing to do."""
        self._last = now

    def served(self, now: float, count: int = 1) -> None:
        """Take note that some were served since the last time, or since the beginning."""
        since_s = max(0.0, now - self._last)
        kept = exp(-since_s / MEMORY_S)
        self._served = self._served * kept + count
        self._spent_s = self._spent_s * kept + since_s
        self._last = now

    def pace_s(self, now: float) -> float:
        """Return the seconds for each that is served; 0 where nothing is known yet."""
        spent_s = self._spent_s + max(0.0, now - self._last)
        return spent_s / self._served if self._served else 0.0
