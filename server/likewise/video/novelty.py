"""Answers that are not like the one before go wrong more often than those that are."""

from __future__ import annotations

from collections.abc import Callable

from likewise.types import Result

RATIO = 6.0
"""How much more often: 5 to 10 times in videos of roads, and 2 times where bottles stand still and move again."""
RATE = 0.02
USUAL = 0.1
LEAST, MOST = 1e-6, 0.999


class Novelty:
    """Shares a stream's risk out between answers that are new and those that are not, so that its mean stays."""

    def __init__(self) -> None:
        self._last: Result | None = None
        self._share = USUAL  # of answers that are new

    def risk(self, risk: float, offered: Result, alike: Callable[[Result, Result], bool]) -> float:
        """Return the probability that an offer is wrong, and remember it as the last one.

        risk: of this stream in the mean. alike: whether two results are equal by themselves.
        """
        new = self._last is not None and not alike(self._last, offered)
        self._last = offered
        found = risk * (RATIO if new else 1.0) / (1.0 + (RATIO - 1.0) * self._share)
        self._share += RATE * (new - self._share)
        return min(max(found, LEAST), MOST)
