"""Which kind of index answers cheapest, found by building each from the keys at hand and timing it beside a scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from statistics import fmean, median
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from likewise.index.contenders import Contenders, every
from likewise.index.exact import ExactIndex
from likewise.index.kernels import Scan
from likewise.index.keyed import KeyedIndex
from likewise.index.moves import CHUNK, Cancelled
from likewise.index.parts import Parts
from likewise.index.tombstoned import TombstonedIndex
from likewise.types import Key, Keys, Slots

RECALL = 0.97
"""Share of the ten nearest keys that a kind must find, on average; one that finds fewer is out, however fast."""
QUESTIONS = 64
"""Keys that are kept out of the contenders and searched for: at most twice as many, and an eighth of few keys."""
MANY = 100_000
"""Keys from which on there are four times as many questions: effort is dear, and finding out takes seconds anyway."""
NEAREST = 10
TURNS = 3
"""Times each is searched for; the fastest counts."""
SCANNED = 32_768
"""Keys that a scan is timed among; its time among more is in proportion."""
FEW = 16
"""Searches that faiss answers without multiplying matrices, which is less accurate."""
DOUBT = 1.0
"""Standard errors by which what is found among the questions has to be above RECALL, where more effort could help."""
STRIDE = 4
"""Efforts that are passed over at first."""
ADDING = 0.1
"""Insertions that a search is charged with: one search in ten finds nothing and is followed by one."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a trial found out about a kind."""

    recall: float
    """Share of the ten nearest that it found, in [0, 1]."""
    cost: float
    """Seconds of a search and a tenth of an insertion, as a multiple of what a scan of all keys takes for both."""
    effort: float | None = None
    """What it was searched with; None where the kind has no such thing."""


MISSED = Measured(0.0, inf)
"""What stands for a kind that was not tried."""


class Questions:
    """Keys that no contender holds, and what a scan finds for them."""

    def __init__(self, slots: Slots, keys: Keys, index: KeyedIndex) -> None:
        """Scan all keys of an index, as it holds them. slots, keys: shape (n,) and (n, d), not in the index."""
        self.slots, self.keys = slots, keys
        self.scan = ExactIndex(index.dimension)
        nearest, l2_sq = np.full((2, len(keys), NEAREST), inf, np.float32)
        for part, held in index.snapshot(CHUNK):
            room = SCANNED - len(self.scan)
            if room > 0:
                self.scan.add(part[:room], held[:room])
            scan = Scan(held)
            # a few at a time are compared number by number: as accurate as the contenders are
            for start in range(0, len(keys), FEW):
                l2_sq[start : start + FEW] = scan.search(keys[start : start + FEW], NEAREST, len(held))[0]
            nearest = np.sort(np.hstack([nearest, l2_sq]), axis=1)[:, :NEAREST]
        self.k = min(NEAREST, len(index))
        self.reach = nearest[:, self.k - 1 : self.k] * (1 + 1e-5)
        """Within what l2_sq the nearest are, shape (n, 1). Of keys that are equally far any will do."""
        self.scans = len(index) / len(self.scan)
        """How many times as long as the scan here one of all keys takes."""

    def recall(self, index: KeyedIndex) -> float:
        """Return the share of the nearest that an index finds."""
        return float(self._shares(index).mean())

    def surely(self, index: KeyedIndex) -> tuple[float, float]:
        """Return what `recall` does, and that less DOUBT standard errors: so few questions tell just about."""
        shares = self._shares(index)
        recall = float(shares.mean())
        return recall, recall - DOUBT * float(shares.std()) / len(shares) ** 0.5

    def _shares(self, index: KeyedIndex) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (index.search(self.keys, self.k)[0] <= self.reach).mean(axis=1)
        return found


Measure = Callable[[str, KeyedIndex, Questions], Measured]


def measure(kind: str, index: KeyedIndex, questions: Questions, clock: Callable[[], float] = thread_time) -> Measured:
    """Search with the least effort that finds enough, and time that and additions in turns with a scan.

    The questions' keys are in the index afterwards, unless it found too few. By default time is the processor's:
    what others do on it meanwhile does not count.
    """
    recall, effort = _least(index, questions)
    if recall < RECALL:
        return Measured(recall, inf, effort)

    def seconds(call: Callable[[], object]) -> float:
        started = clock()
        call()
        return clock() - started

    searches: dict[KeyedIndex, list[float]] = {index: [], questions.scan: []}
    additions: dict[KeyedIndex, list[float]] = {index: [], questions.scan: []}

    def search(contender: KeyedIndex, key: Key) -> float:
        return min(seconds(lambda: contender.search_one(key, NEAREST)) for _ in range(TURNS))

    for key in questions.keys:
        for contender, spent in searches.items():
            spent.append(search(contender, key))
    for row in range(len(questions.slots)):
        slots, keys = questions.slots[row : row + 1], questions.keys[row : row + 1]
        for contender, spent in additions.items():
            spent.append(seconds(lambda contender=contender, slots=slots, keys=keys: contender.add(slots, keys)))  # type: ignore[misc]
    questions.scan.remove(questions.slots)
    own = fmean(searches[index]) + ADDING * median(additions[index])
    scan = questions.scans * fmean(searches[questions.scan]) + ADDING * median(additions[questions.scan])
    return Measured(recall, own / scan, effort)


def _least(index: KeyedIndex, questions: Questions) -> tuple[float, float | None]:
    if not isinstance(index, TombstonedIndex):
        return questions.recall(index), None

    def found(at: int) -> tuple[float, float]:
        index.effort = index.efforts[at]
        return questions.surely(index)

    # in strides first: there may be eighty efforts, and the most take longest
    last = len(index.efforts) - 1
    strides = [*range(0, last, STRIDE), last]
    end = next((at for at in strides if found(at)[1] >= RECALL), last)
    recall = 0.0
    for at in range(max(0, end - STRIDE + 1), end + 1):
        recall, sure = found(at)
        if sure >= RECALL:
            break
    return recall, index.effort


class Trial:
    """Builds every contender, one at a time, measures it, and returns the best.

    All but the last are given up again once they are measured, and built anew where one of them was best: there are
    never two beside the index in use.
    """

    def __init__(self, contenders: Contenders, measure: Measure, *, keeps: str | None) -> None:
        """Set up. keeps: the kind in use, where nothing has to be built if that is best."""
        self._contenders = contenders
        self._measure = measure
        self._keeps = keeps
        self.count = 0
        self.measured: dict[str, Measured] = {}

    def __call__(self, parts: Parts, cancelled: Cancelled) -> KeyedIndex | None:
        """Return an index of the best kind with all keys; None where that is in use already, or it was cancelled."""
        self.count = len(parts)
        if cancelled():
            return None
        step = max(8, self.count // (QUESTIONS if self.count < MANY else 4 * QUESTIONS))
        slots, keys = every(parts, step)
        rest = _Rest(parts, step)
        kinds = self._contenders.among(self.count)
        measured = {"exact": Measured(1.0, 1.0)}
        questions: Questions | None = None
        index: KeyedIndex | None = None
        for kind in kinds:
            if kind == "ivf" and measured.get("ivf-sq8", MISSED).recall >= RECALL:
                continue
            if index is not None:
                index.discard()
            index = None  # before the next takes its place in memory
            index = self._contenders.build(kind, rest, self.count, cancelled)
            if index is None:
                return None
            if questions is None and not cancelled():
                questions = Questions(slots, keys, index)
            if questions is None or cancelled():
                index.discard()
                return None
            measured[kind] = self._measure(kind, index, questions)
        best = min((kind for kind in measured if measured[kind].recall >= RECALL), key=lambda kind: measured[kind].cost)
        self.measured = measured
        if best == self._keeps:
            return None
        if best == kinds[-1] and index is not None:
            if len(index) < self.count:
                index.add(slots, keys)
            return index
        if index is not None:
            index.discard()
        index = None
        return self._contenders.build(best, parts, self.count, cancelled, measured[best].effort)


class _Rest:
    """Parts without every step-th key, as often as they are read."""

    def __init__(self, parts: Parts, step: int) -> None:
        self._parts = parts
        self._step = step

    def __iter__(self) -> Iterator[tuple[Slots, Keys]]:
        before = 0
        for slots, keys in self._parts:
            kept = np.arange(before + 1, before + 1 + len(slots)) % self._step != 0
            yield slots[kept], keys[kept]
            before += len(slots)
