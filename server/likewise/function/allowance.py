"""An allowance of inference: so many seconds of it per second, with a reserve for bursts."""

from __future__ import annotations

import math

from likewise.types import Clock

BURST_S = 10.0
"""What was not used for so long may be used at once."""
LATELY_S = 3.0
"""Time over which use is averaged."""


class Allowance:
    """A bucket that fills with time and is emptied by inference. Belongs to one event loop."""

    __slots__ = ("_at", "_clock", "_rate", "balance", "per_s", "reserve")

    def __init__(self, per_s: float, clock: Clock) -> None:
        """Set up. per_s: inference seconds per second, above 0; clock: monotonic."""
        self.per_s = per_s
        self._clock = clock
        self._at = clock()
        self._rate = 0.0
        self.reserve = per_s * BURST_S
        """Inference seconds that may be used at once, after a quiet time."""
        self.balance = self.reserve
        """Inference seconds that may be used now; negative: overdrawn."""

    def use(self, seconds: float) -> None:
        """Account for an inference."""
        self._pass_time()
        self.balance -= seconds
        self._rate += seconds / LATELY_S

    @property
    def load(self) -> float:
        """What was used lately as a share of what may be."""
        self._pass_time()
        return self._rate / self.per_s

    @property
    def wait_s(self) -> float:
        """Seconds until anything may be used again; 0: now."""
        self._pass_time()
        return max(0.0, -self.balance / self.per_s)

    def _pass_time(self) -> None:
        now = self._clock()
        elapsed, self._at = max(0.0, now - self._at), now
        self.balance = min(self.balance + elapsed * self.per_s, self.reserve)
        self._rate *= math.exp(-elapsed / LATELY_S)
