"""Hedging: a second request where the first one takes longer than nearly all do, and the first answer counts.

Source: Dean and Barroso, "The tail at scale" (2013).
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Hedge:
    """Settings for hedging calls that may be repeated: `infer`, `lookup` and other reads.

    The second request goes to another node, or to the same one where there is no other: a server that has the input in
    flight computes it once. It takes from the retry budget, and is not sent where that is empty.
    """

    quantile: float = 0.95
    """The second request is sent once the first has taken longer than this share of calls did; 0 < quantile < 1."""
    least_s: float = 0.005
    """Never sooner than this."""
    after_calls: int = 20
    """No hedging before so many calls of the same kind were timed, at least 1."""

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise ValueError(f"Hedge: quantile is a number between 0 and 1, not {self.quantile!r}")
        if not 0 <= self.least_s < math.inf:
            raise ValueError(f"Hedge: least_s is a number of seconds, at least 0, not {self.least_s!r}")
        if isinstance(self.after_calls, float) or self.after_calls < 1:
            raise ValueError(f"Hedge: after_calls is a whole number, at least 1, not {self.after_calls!r}")


class Latencies:
    """How long the latest calls of each kind took. Safe to share between threads."""

    def __init__(self, hedge: Hedge, window: int = 256) -> None:
        """Set up. window: calls of one kind that are remembered."""
        self._hedge = hedge
        self._window = max(window, hedge.after_calls)
        self._seen: dict[tuple[str, str], deque[float]] = {}
        self._lock = threading.Lock()

    def add(self, kind: tuple[str, str], latency_s: float) -> None:
        """Take note of an answered request of a kind (operation and function)."""
        with self._lock:
            self._seen.setdefault(kind, deque(maxlen=self._window)).append(latency_s)

    def wait_s(self, kind: tuple[str, str]) -> float | None:
        """Return how long to wait for the first request; None where too few were timed."""
        with self._lock:
            seen = sorted(self._seen.get(kind, ()))
        if len(seen) < self._hedge.after_calls:
            return None
        return max(self._hedge.least_s, seen[min(len(seen) - 1, int(self._hedge.quantile * len(seen)))])
