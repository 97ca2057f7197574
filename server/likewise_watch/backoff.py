"""How long to wait before trying again."""

from __future__ import annotations

import random


class Backoff:
    """Waits that double up to a limit, half of each at random, so that many cameras do not come back all at once."""

    def __init__(self, rng: random.Random, first_s: float = 0.25, max_s: float = 10.0) -> None:
        self._rng = rng
        self._first_s = first_s
        self._max_s = max_s
        self._tries = 0

    def next_s(self) -> float:
        """Return how long to wait now."""
        longest = min(self._max_s, self._first_s * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return longest * (0.5 + 0.5 * self._rng.random())

    def reset(self) -> None:
        """Begin with short waits again: it worked."""
        self._tries = 0
