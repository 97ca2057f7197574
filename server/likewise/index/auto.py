"""The default index: a scan while small, beyond that the kind that answers cheapest, and never a pause in between."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from time import monotonic

from likewise.errors import InvalidValue
from likewise.index.contenders import Contenders
from likewise.index.hnsw import EF_CONSTRUCTION, M
from likewise.index.keyed import KeyedIndex, SlotsOf
from likewise.index.moves import Build, Cancelled, Move, drop
from likewise.index.outline import Outline
from likewise.index.parts import Parts
from likewise.index.saved import SavedIndex
from likewise.index.trials import Measure, Measured, Trial, measure
from likewise.index.wrapper import Replacing
from likewise.ports import Projection
from likewise.types import Key, Keys, Slots

logger = logging.getLogger(__name__)

TRIED_AT = 64_000
"""Numbers in all keys from which on something may be faster than a scan: 1,000 keys of 64 dimensions."""
LEAST, MOST = 64, 2000
"""Keys among which the first trial is made at the earliest and at the latest."""
AGAIN = {"exact": 2, "ivf": 4, "ivf-sq8": 4, "hnsw": 4}
"""Times as many keys as at the last trial, when the kind that won it has to face the next."""
SETTLED = 100_000
"""Keys among which a graph that wins need not be tried again as they grow: the others slow down more."""


class AutoIndex(Replacing):
    """Holds one index of another kind, and replaces it when it is worn or another kind answers cheaper.

    Few keys are scanned. Then, whenever they have doubled or quadrupled since the last time, or quartered, all kinds
    are built from them and timed (see Trial), and the cheapest of those that find enough is taken. Replacements are
    tried and built in a background thread and taken over between two calls on the loop. Without background that
    happens inside `add` or `remove`, with pauses.
    """

    def __init__(
        self,
        dimension: int,
        *,
        background: bool = True,
        exact_limit: int | None = None,
        first_trial: int | None = None,
        m: int = M,
        ef_construction: int = EF_CONSTRUCTION,
        ef_search: int | None = None,
        precision: str = "float32",
        measure: Measure = measure,
    ) -> None:
        """Set up an empty index.

        exact_limit: keys that are scanned, more are put in a graph, and nothing is tried; 0: a graph from the start;
        None: by trial. first_trial: keys beyond which kinds are tried, at least 64; None: by the dimension.
        m, ef_construction, ef_search: of graphs; see Graph. precision: of the keys that graphs hold, "float32",
        "float16" or "int8"; a scan's are exact. With less than float32 only those two are tried. measure: says in a
        trial what a kind is worth. Raises InvalidValue for an unknown precision.
        """
        self._dimension = dimension
        self.background = background
        self._exact_limit = exact_limit
        self._first_trial = max(LEAST, min(MOST, TRIED_AT // dimension) if first_trial is None else first_trial)
        self._trial_at = self._first_trial
        self._chosen_at = 0
        self._contenders = Contenders(
            dimension, m=m, ef_construction=ef_construction, ef_search=ef_search, precision=precision
        )
        self._measure = measure
        self._measured: dict[str, Measured] = {}
        self._current: KeyedIndex = self._contenders.empty("hnsw" if exact_limit == 0 else "exact")
        self._move: Move | None = None
        self._trial: Trial | None = None
        self._held: int | None = None
        self._restored_at = 0
        self._closed = False
        self._given_up: Cancelled | None = None

    @property
    def dimension(self) -> int:
        """Length of a key."""
        return self._dimension

    @property
    def measured(self) -> dict[str, Measured]:
        """What the last trial found out about each kind; empty before the first."""
        return dict(self._measured)

    def release(self, cancelled: Cancelled | None = None) -> None:
        """The bulk load is over: replace what is due to be. cancelled: gives that up, without background."""
        self._held = None
        self._current.release()
        self._given_up = cancelled
        self._tend()
        self._given_up = None

    @property
    def moving(self) -> bool:
        """True while a replacement is on its way."""
        return self._move is not None

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots), both of shape (n, k), nearest first; +inf and -1 where there are fewer than k."""
        if self._move is not None and (self._move.ready or self._move.rejected):
            self._tend_on_lookup()
        return self._current.search(keys, k)

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) of the at most k nearest keys, nearest first, without padding."""
        # lookups take a replacement over too: after a bulk load there may be no other call for long
        if self._move is not None and (self._move.ready or self._move.rejected):
            self._tend_on_lookup()
        return self._current.search_one(key, k)

    @property
    def worn(self) -> bool:
        """False: it renews itself."""
        return False

    def memory_bytes(self) -> int:
        """Return the bytes it holds, keys included; a replacement on its way is not counted."""
        return self._current.memory_bytes()

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until no replacement is on its way, at most `timeout_s`. Blocks; for tests and tools."""
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while True:
            if self._move is None:
                self._tend()
            if self._move is None:
                return
            left = None if deadline is None else deadline - monotonic()
            self._move.join(None if left is None else max(0.0, left))
            if self._move.over:
                self._tend_move()
            if left is not None and left <= 0:
                return

    def close(self) -> None:
        """Give up a replacement on its way and begin no other; its thread ends by itself. Answers go on."""
        self._closed = True
        if self._move is not None:
            self._move.cancel()
            self._move = None
        self._current.close()

    @property
    def projection(self) -> Projection | None:
        """None: keys are searched as they are."""
        return None

    def outline(self) -> Outline | None:
        """Return what is saved of the index in use, with the count of keys that it was chosen for."""
        outline = self._current.outline()
        return outline and replace(outline, facts={**outline.facts, "chosen_at": self._chosen_at})

    def restore(self, saved: SavedIndex, slots: SlotsOf) -> bool:
        """Begin to replace the scan by a saved index of a kind that could have been chosen; see KeyedIndex."""
        kinds = self._contenders.kinds if self._exact_limit is None else ("hnsw",)
        kind = saved.text("kind")
        if self._closed or self._move is not None or self.kind != "exact" or kind not in kinds:
            return False
        if saved.facts.get("projected", saved.number("dimension")) != self._dimension:
            return False

        def build(parts: Parts, cancelled: Cancelled) -> KeyedIndex | None:
            try:
                return self._contenders.restore(saved, slots(), parts, cancelled)
            except InvalidValue as error:
                logger.warning("a saved index cannot be used and is built anew: %s", error.detail)
                return None

        self._restored_at = saved.number("chosen_at")
        self._move = Move(self._current, build, background=self.background, stopped=self._stopped)
        self._tend_move()
        return True

    def discard(self) -> None:
        """Give the memory back; nothing may be asked any more."""
        self._current.discard()

    def _tend_on_lookup(self) -> None:
        """Go on where a replacement is complete or was no faster: the next trial may be due already."""
        self._tend()
        if self._move is None:
            self._tend()

    def _tend(self) -> None:
        """Take over a replacement that is complete; start one where it is time."""
        if self._move is not None:
            self._tend_move()
            return
        build = None if self._closed or self._held is not None else self._successor()
        if build is not None:
            self._trial = build if isinstance(build, Trial) else None
            self._move = Move(self._current, build, background=self.background, stopped=self._stopped)
            self._tend_move()

    def _stopped(self) -> bool:
        return self._closed or (self._given_up is not None and self._given_up())

    def _successor(self) -> Build | None:
        count, kind, worn = len(self._current), self.kind, self._current.worn
        if self._exact_limit is not None:
            if kind == "exact":
                return self._of("hnsw") if count > self._exact_limit else None
            if count < self._exact_limit // 4:
                return self._of("exact")
        elif kind != "exact" and count < self._first_trial // 4:
            return self._of("exact")
        elif count < self._chosen_at // 4 or (count > self._trial_at and (worn or kind != "hnsw")):
            return Trial(self._contenders, self._measure, keeps=None if worn else kind)
        return self._of(kind) if worn else None

    def _of(self, kind: str) -> Build:
        effort = self._current.effort

        def build(parts: Parts, cancelled: Cancelled) -> KeyedIndex | None:
            return self._contenders.build(kind, parts, len(parts), cancelled, effort)

        return build

    def _tend_move(self) -> None:
        move = self._move
        assert move is not None
        if move.failed:
            self._move = None
            return
        if move.rejected:
            self._move = None
            self._conclude()
            return
        successor = move.finish()
        if successor is None:
            return
        old, self._current, self._move = self._current, successor, None
        self._conclude()
        drop(old, background=self.background)

    def _conclude(self) -> None:
        """Set when the next trial is due."""
        trial, kind = self._trial, self.kind
        self._trial = None
        if trial is None:
            if kind == "exact":
                self._chosen_at, self._trial_at = 0, self._first_trial
            elif self._restored_at:
                self._chosen(self._restored_at)
            self._restored_at = 0
            return
        self._measured = trial.measured
        self._chosen(trial.count)
        logger.info("%d keys are searched by %s: %s", trial.count, kind, trial.measured)

    def _chosen(self, count: int) -> None:
        """Set when the next trial is due after one among so many keys."""
        kind = self.kind
        # a scan cannot be wrong among fewer keys
        self._chosen_at = count if kind != "exact" else 0
        self._trial_at = AGAIN[kind] * count
        if kind == "hnsw" and count >= SETTLED:
            self._trial_at = sys.maxsize
