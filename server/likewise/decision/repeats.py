"""Evidence from the device itself: what it was answered a moment ago.

A camera sends several frames of one sign, a phone several pictures of one shelf. Where devices tend to get one answer
several times in a row, a winner that repeats the last answer is the likelier right, and one that does not the less.
How much so is counted on the stream itself; where answers come in no order, it is nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, log
from typing import Any

from likewise.types import Session

WINDOW = 4096
"""Answers after which those before count half."""
CAUTION = 20.0
"""Answers in no order that are taken for seen before the first."""
LABELS = 1000
"""Labels in a state: chance is their squared shares, to which rare ones hardly add."""


class RepeatPrior:
    """Log-likelihood ratios of a repeated and of a new answer, for one function and key type."""

    __slots__ = ("_counts", "_pairs", "_repeats", "_squares", "answers", "new", "same")

    def __init__(self) -> None:
        self.same = 0.0
        """What it adds to the log-odds that the winner is the device's last answer; at least 0."""
        self.new = 0.0
        """What it adds where the winner is another one; at most 0."""
        self.answers: list[int] = []
        """Labels of answers since `absorb`, `~label` where the device was answered otherwise before."""
        self._counts: dict[int, float] = {}
        self._squares = 0.0  # sum of the squared counts: over the squared number of answers, the chance of a repetition
        self._pairs = self._repeats = 0.0

    def note(self, session: Session, label: int) -> None:
        """Take note of what a device is answered now."""
        last = session.last
        if last >= 0:
            self.answers.append(label if label == last else ~label)
        session.last = label

    def absorb(self) -> None:
        """Count the answers that came since the last time."""
        if not self.answers:
            return
        counts = self._counts
        for answer in self.answers:
            label = answer
            if answer >= 0:
                self._repeats += 1.0
            else:
                label = ~answer
            count = counts.get(label, 0.0)
            counts[label] = count + 1.0
            self._squares += 2.0 * count + 1.0
        self._pairs += len(self.answers)
        self.answers.clear()
        if self._pairs > WINDOW:
            self._pairs *= 0.5
            self._repeats *= 0.5
            self._counts = {label: 0.5 * count for label, count in counts.items() if count > 0.3}
            self._squares = sum(count * count for count in self._counts.values())
        self._weigh()

    def _weigh(self) -> None:
        chance = self._squares / (self._pairs * self._pairs) if self._pairs else 1.0
        repeating = (self._repeats + CAUTION * chance) / (self._pairs + CAUTION)
        if chance < repeating < 1.0:
            self.same, self.new = log(repeating / chance), log((1.0 - repeating) / (1.0 - chance))
        else:
            self.same = self.new = 0.0

    def state(self) -> dict[str, Any]:
        """Return what was counted, JSON-able; of the labels, the `LABELS` most frequent."""
        self.absorb()
        frequent = sorted(self._counts.items(), key=lambda each: -each[1])[:LABELS]
        return {"pairs": self._pairs, "repeats": self._repeats, "counts": [list(each) for each in frequent]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state. Raises KeyError, TypeError or ValueError where it is none."""
        pairs, repeats = float(state["pairs"]), float(state["repeats"])
        counts = {int(label): float(count) for label, count in state["counts"]}
        if not 0.0 <= repeats <= pairs < inf or not all(0.0 < count < inf for count in counts.values()):
            raise ValueError(f"{repeats} of {pairs} answers repeated")
        self._pairs, self._repeats, self._counts = pairs, repeats, counts
        self._squares = sum(count * count for count in counts.values())
        self.answers.clear()
        self._weigh()
