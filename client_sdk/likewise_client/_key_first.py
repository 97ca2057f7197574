"""Whether to ask by key first and send the input only on a miss: learned from what calls took and what they found.

Asked by key, a hit costs a round trip and the key's bytes, a miss one round trip more than sending the input at once.
With hit rate h, round trip r, and b and k the seconds that the bytes of the input and of the key take on their way,
asking first is the better way where h · b > (1 - h) · r + k. Each of them is measured: h and r by lookups, b by inputs
that were sent and answered from the cache, so that no model ran. One call in `EXPLORE` goes the other way, since
networks change.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

FIRST = 8
"""Calls of a function that ask by key before anything is known."""
EXPLORE = 32
"""One call in so many goes the other way."""
GAIN = 0.1
"""Weight of the latest measurement in a moving average."""
LEAST_BYTES = 1024
"""Inputs that are not so much larger than their key are sent at once: what is saved would be less than a head."""


@dataclass
class _Seen:
    calls: int = 0
    asked: int = 0
    hit_rate: float = 0.5
    round_trip_s: float | None = None
    s_per_byte: float | None = None


class KeyFirst:
    """What is known of the ways to each function. Safe to share between threads."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def pays(self, function: str, input_bytes: int, key_bytes: int) -> bool:
        """Return whether to ask by key first, this time."""
        with self._lock:
            seen = self._seen.setdefault(function, _Seen())
            seen.calls += 1
            if input_bytes < key_bytes + LEAST_BYTES:
                return False
            if seen.asked < FIRST or seen.round_trip_s is None:
                return True
            return self._better(seen, input_bytes, key_bytes) != (seen.calls % EXPLORE == 0)

    @staticmethod
    def _better(seen: _Seen, input_bytes: int, key_bytes: int) -> bool:
        if seen.s_per_byte is None or seen.round_trip_s is None:
            return seen.hit_rate >= 0.5  # nothing was sent and answered from the cache yet
        missed = 1.0 - seen.hit_rate
        saved_s = seen.hit_rate * input_bytes * seen.s_per_byte
        return saved_s > missed * seen.round_trip_s + key_bytes * seen.s_per_byte

    def asked(self, function: str, hit: bool, spent_s: float) -> None:
        """Take note of a lookup by key."""
        with self._lock:
            seen = self._seen.setdefault(function, _Seen())
            seen.asked += 1
            gain = max(GAIN, 1.0 / (seen.asked + 1))
            seen.hit_rate += gain * (hit - seen.hit_rate)
            seen.round_trip_s = _mean(seen.round_trip_s, spent_s)

    def sent(self, function: str, input_bytes: int, reused: bool, spent_s: float) -> None:
        """Take note of an input that was sent at once."""
        with self._lock:
            seen = self._seen.setdefault(function, _Seen())
            if reused and seen.round_trip_s is not None and input_bytes:
                seen.s_per_byte = _mean(seen.s_per_byte, max(0.0, spent_s - seen.round_trip_s) / input_bytes)


def _mean(before: float | None, value: float) -> float:
    return value if before is None else before + GAIN * (value - before)
