"""The variants that are loaded: where there is no room for all, those that save most for the bytes that they take.

What a variant saves is seconds of full inference per second: how often it is reached, times its share of opinions that
are given as answers, times what going on would cost beyond it, as the ladder learned them. All of these are known of a
variant that is not loaded as well, so it comes back when its function is asked for more than others.

Source: MCDNN (Han et al., MobiSys 2016) pages models in and out of a device's memory by their benefit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Protocol
from weakref import WeakSet

from likewise.errors import LikewiseError, ModelFailed
from likewise.inference.model import OnnxModel
from likewise.types import Clock, Tensor

_log = logging.getLogger("likewise.function.paging")

PERIOD_S = 5.0
"""Time between two looks at what is worth its room."""
HOLD = 1.25
"""How much more those have to save that take the place of others: loading costs as well."""
RATE = 0.3
"""Weight of the newest period in how often a variant is reached."""


class PagedModel:
    """A model that may be dropped and loaded again. A `likewise.ports.Model`."""

    def __init__(self, model: OnnxModel, load: Callable[[], OnnxModel]) -> None:
        """Set up. load: loads it again, raising InvalidFunction."""
        self.dynamic_batch = model.dynamic_batch
        self._load = load
        self._name = model.path.name
        self._take(model)

    def _take(self, model: OnnxModel) -> None:
        self._loaded: tuple[OnnxModel, Callable[[Tensor], Tensor]] | None = (model, model.run_one())

    @property
    def present(self) -> bool:
        """Whether it is loaded."""
        return self._loaded is not None

    def run(self, batch: Tensor) -> Sequence[Tensor]:
        """Return the outputs for a batch. Raises ModelFailed."""
        return self._at_hand()[0].run(batch)

    def one(self, tensor: Tensor) -> Tensor:
        """Return the first output for one input, both without the batch axis. Raises ModelFailed."""
        return self._at_hand()[1](tensor)

    def _at_hand(self) -> tuple[OnnxModel, Callable[[Tensor], Tensor]]:
        if self._loaded is None:
            raise ModelFailed(f"{self._name} is not loaded now, since others have its room.")
        return self._loaded

    def drop(self) -> None:
        """Give its memory back, once what runs has ended."""
        self._loaded = None

    def load(self) -> None:
        """Load it. Blocks; raises InvalidFunction."""
        self._take(self._load())


class Pageable(Protocol):
    """A variant as the pager sees it."""

    model: PagedModel
    memory_bytes: int
    reached_per_s: float

    def reached(self) -> int:
        """Return how often it was or would have been asked so far."""

    def saved_s(self) -> float:
        """Return the seconds of full inference that it saves each time that it is reached."""


class Pager:
    """The variants of all functions of a worker. Belongs to one event loop; loading happens elsewhere."""

    def __init__(self, limit_bytes: int, executor: Executor, clock: Clock) -> None:
        """Set up. limit_bytes: that loaded variants may take, by what their specs state; clock: monotonic."""
        self._limit = limit_bytes
        self._executor = executor
        self._clock = clock
        self._all: WeakSet[Pageable] = WeakSet()
        self._counts: dict[int, int] = {}
        self._at = clock()
        self._loading: Future[None] | None = None

    @property
    def loaded_bytes(self) -> int:
        """What those that are loaded take, as stated."""
        return sum(each.memory_bytes for each in self._all if each.model.present)

    def put(self, variants: Sequence[Pageable]) -> None:
        """Take in a function's variants, which are loaded; where they do not fit, the least useful of all go."""
        for each in variants:
            self._all.add(each)
        for each in set(self._all) - self._worthy():
            each.model.drop()

    def tend(self) -> None:
        """Drop what others should have the room of, and begin to load one that is worth it, now and then."""
        now = self._clock()
        elapsed = now - self._at
        if elapsed < PERIOD_S:
            return
        self._at = now
        everything = list(self._all)
        counts = {id(each): each.reached() for each in everything}
        for each in everything:
            lately = (counts[id(each)] - self._counts.get(id(each), counts[id(each)])) / elapsed
            each.reached_per_s += RATE * (lately - each.reached_per_s)
        self._counts = counts
        if self._loading is not None and not self._loading.done():
            return
        worthy = self._worthy()
        for each in everything:
            if each not in worthy and each.model.present:
                each.model.drop()
        absent = [each for each in worthy if not each.model.present]
        if absent:
            self._loading = self._executor.submit(self._load, max(absent, key=_benefit))

    def _worthy(self) -> set[Pageable]:
        """Return those that are to be loaded: by what they save for their bytes, as many as fit."""
        found: set[Pageable] = set()
        room = self._limit
        for each in sorted(self._all, key=lambda each: _benefit(each) * (HOLD if each.model.present else 1.0),
                           reverse=True):  # fmt: skip
            if each.memory_bytes <= room:
                found.add(each)
                room -= each.memory_bytes
        return found

    @staticmethod
    def _load(variant: Pageable) -> None:
        try:
            variant.model.load()
        except LikewiseError as error:  # such as for want of memory; it is tried again at the next look
            _log.warning("a variant cannot be loaded: %s", error.detail)


def _benefit(variant: Pageable) -> float:
    """Return the seconds that a variant saves per second and byte."""
    return variant.reached_per_s * variant.saved_s() / variant.memory_bytes
