"""Which frames of a source are sent."""

from __future__ import annotations


class Sampler:
    """Takes the frames that are nearest to the ticks of a rate, so that it holds on the average, however they come.

    rate: frames per second, above 0; None: all frames. A source that is slower gives all that it has.
    """

    def __init__(self, rate: float | None) -> None:
        self._interval_s = 1.0 / rate if rate else 0.0
        self._due_s: float | None = None
        self._last_s = 0.0

    def takes(self, at_s: float) -> bool:
        """Return whether a frame is sent. at_s: when it was taken, in seconds on any clock."""
        if not self._interval_s:
            return True
        if self._due_s is None or at_s < self._last_s:  # the first one, or the source began anew
            self._due_s = self._last_s = at_s
        gap_s = min(at_s - self._last_s, self._interval_s)
        self._last_s = at_s
        if at_s < self._due_s - gap_s / 2:  # the next one will be nearer
            return False
        self._due_s += self._interval_s
        if self._due_s <= at_s:  # frames were missed: no burst to make up for them
            self._due_s = at_s + self._interval_s
        return True
