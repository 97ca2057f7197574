"""Sets how coarsely a stream's changes are looked at: as coarse as its checked answers allow."""

from __future__ import annotations

from likewise.video.method import EXACT, Thresholds

LEVELS: tuple[Thresholds, ...] = (
    EXACT,
    Thresholds(0.01, 6.0, 2, 1.0, 2.0),
    Thresholds(0.02, 10.0, 4, 3.0, 2.5),
    Thresholds(0.02, 15.0, 4, 8.0, 2.5),
    Thresholds(0.03, 15.0, 4, 12.0, 3.0),
    Thresholds(0.03, 20.0, 4, 16.0, 5.0),
    Thresholds(0.04, 25.0, 8, 16.0, 5.0),
)
"""From exact to coarse."""
START = 3
PATIENCE = 6
"""Right answers in a row, at least, before the next coarser level is tried."""
MOST_PATIENCE = 200
FORGET = 0.98
"""What a check is worth after the next one."""


class Controller:
    """Steps to a finer level at each wrong answer, and to a coarser one after enough right ones.

    Where a coarser level proved wrong, it takes twice as many right answers until it is tried again.
    """

    def __init__(self, epsilon: float = 0.05, start: int = START) -> None:
        """Set up. epsilon: share of answers that may be wrong."""
        self._epsilon = epsilon
        self.level = start
        self._right = 0
        self._patience = [float(PATIENCE)] * len(LEVELS)  # before a level is tried
        self._wrongs = [0.0] * len(LEVELS)
        self._checks = [0.0] * len(LEVELS)
        self.refresh = False
        """True: the last checked answer was wrong, so what is stored should be computed anew."""

    @property
    def thresholds(self) -> Thresholds:
        """Those of the level in use."""
        return LEVELS[self.level]

    @property
    def risk(self) -> float:
        """Estimate of the probability of a wrong answer at this level."""
        if self.level == 0:
            return 1e-4
        prior = 0.5 * self._epsilon
        return (self._wrongs[self.level] + 4.0 * prior) / (self._checks[self.level] + 4.0)

    def learn(self, wrong: bool) -> None:
        """Take in a checked answer."""
        level = self.level
        self._wrongs[level] = FORGET * self._wrongs[level] + wrong
        self._checks[level] = FORGET * self._checks[level] + 1.0
        if wrong:
            self.refresh = True
            self._right = 0
            if self.risk > 0.5 * self._epsilon and level:
                self._patience[level] = min(2.0 * self._patience[level], MOST_PATIENCE)
                self.level -= 1
            return
        self._right += 1
        if level + 1 < len(LEVELS) and self._right >= self._patience[level + 1]:
            self._right = 0
            self._patience[level + 1] = max(float(PATIENCE), self._patience[level + 1])
            self._wrongs[level + 1] *= 0.5
            self._checks[level + 1] *= 0.5
            self.level += 1
