"""The retry budget of a client: what it may send beside first attempts, so that retries never make trouble worse.

Source: Brooker, "Fixing retries with token buckets and circuit breakers" (2022), as in the AWS SDKs; gRPC's retry
throttling (proposal A6) and Finagle's RetryBudget do the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Budget:
    """A bucket of tokens, one for each retry or hedge. Safe to share between threads."""

    def __init__(self, ratio: float, burst: float, per_s: float, clock: Callable[[], float]) -> None:
        """Start full. ratio: tokens that a call brings; burst: most that are kept; per_s: tokens that time brings."""
        self._ratio = ratio
        self._burst = self._tokens = burst
        self._per_s = per_s
        self._clock = clock
        self._then = clock()
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """Take note of a call."""
        with self._lock:
            if self._tokens < self._burst:
                self._tokens = min(self._burst, self._tokens + self._ratio)

    def take(self, count: int = 1) -> bool:
        """Take tokens, one for each retry, and say whether there were so many; else none is taken."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + self._per_s * max(0.0, now - self._then))
            self._then = now
            if self._tokens < count:
                return False
            self._tokens -= count
            return True
