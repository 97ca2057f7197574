"""Sets how coarsely a stream's changes are looked at: as coarse as its checked answers allow."""

from __future__ import annotations

from likewise.video.method import EXACT, Thresholds

LEVELS: tuple[Thresholds, ...] = (
    EXACT,
    Thresholds(0.02, 6.0, 4, 8.0, 2.0, 0.02, 1.2),
    Thresholds(0.03, 8.0, 4, 8.0, 3.0, 0.02, 1.2),
    Thresholds(0.03, 10.0, 4, 8.0, 3.0, 0.02, 1.6),
    Thresholds(0.03, 15.0, 4, 12.0, 3.0, 0.02, 2.5),
    Thresholds(0.04, 15.0, 4, 12.0, 3.5, 0.03, 3.0),
    Thresholds(0.04, 25.0, 8, 16.0, 5.0, 0.04, 4.0),
)
"""From exact to coarse."""
START = 1
UNTRIED = 3
"""Coarsest level that is begun with where finer ones see changes everywhere."""
PATIENCE = 6
"""Right answers in a row, at least, before the next coarser level is tried;"""
ENOUGH = 1.0
"""and so many for each answer that may be wrong: twenty at an accuracy target of 0.95."""
MOST_PATIENCE = 400
FORGET = 0.98
"""What a check is worth after the next one."""
PRIOR = 8.0
"""Checks that a level is thought to have had before its first one,"""
UNKNOWN = 2.0
"""and how much more often than it may it went wrong in them."""
AFTER_WRONG = 0.25
"""Risk of the answer after a wrong one: errors come in rows, whatever is computed anew."""
AFTER_CUT = 3.0
"""The same after all has changed at once, in shares that may be wrong: what was checked was another picture."""
CALM = 0.8
"""What is left of either after each right answer."""


class Record:
    """How often checked answers of one kind were wrong; old checks count for less and less."""

    def __init__(self, wrongs: float, checks: float) -> None:
        """Set up. wrongs, checks: what is thought to have been before the first one."""
        self._wrongs, self._checks = wrongs, checks

    @property
    def risk(self) -> float:
        """Estimate of the probability that the next one is wrong."""
        return self._wrongs / self._checks

    def learn(self, wrong: bool) -> None:
        """Take in a checked answer."""
        self._wrongs = FORGET * self._wrongs + wrong
        self._checks = FORGET * self._checks + 1.0


class Controller:
    """Steps to a finer level at each wrong answer, and to a coarser one after enough right ones.

    Where a coarser level proved wrong, it takes twice as many right answers until it is tried again.
    """

    def __init__(self, epsilon: float = 0.05, start: int = START) -> None:
        """Set up. epsilon: share of answers that may be wrong."""
        self._epsilon = epsilon
        self.level = start
        self._right = 0
        self._rests = 0  # frames computed in full at the exact level, which say nothing of coarser ones
        self._patience = [max(float(PATIENCE), ENOUGH / epsilon)] * len(LEVELS)  # before a level is tried
        self._wrongs = [0.0] * len(LEVELS)
        self._checks = [0.0] * len(LEVELS)
        self._recent = 0.0
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
        return max(self._recent, self._mean(self.level))

    def _mean(self, level: int) -> float:
        return (self._wrongs[level] + PRIOR * UNKNOWN * self._epsilon) / (self._checks[level] + PRIOR)

    def cut(self) -> None:
        """Take in that nearly all of the picture has changed at once: another one, or this level sees noise."""
        self._recent = max(self._recent, min(AFTER_CUT * self._epsilon, AFTER_WRONG))
        self._right = 0
        if 0 < self.level < UNTRIED and not self._wrongs[self.level + 1]:
            self._coarser()

    def rest(self) -> None:
        """Take in a frame computed in full or renewed: the exact level may have nothing to reuse, and ends some day."""
        if not self.level:
            self._rests += 1
            if self._rests >= MOST_PATIENCE:
                self._coarser()

    def learn(self, wrong: bool) -> None:
        """Take in a checked answer."""
        level = self.level
        self._wrongs[level] = FORGET * self._wrongs[level] + wrong
        self._checks[level] = FORGET * self._checks[level] + 1.0
        if wrong:
            self.refresh = True
            self._right = 0
            self._recent = AFTER_WRONG
            if level and self._mean(level) > 0.5 * self._epsilon:
                self._patience[level] = min(2.0 * self._patience[level], MOST_PATIENCE)
                self.level -= 1
            return
        self._recent *= CALM
        self._right += 1
        if level + 1 < len(LEVELS) and self._right >= self._patience[level + 1]:
            self._coarser()

    def _coarser(self) -> None:
        self._right = self._rests = 0
        self.level += 1
        self._wrongs[self.level] *= 0.5
        self._checks[self.level] *= 0.5
