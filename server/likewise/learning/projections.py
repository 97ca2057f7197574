"""Learning online how a key type's keys are best searched: by a projection where it helps, as they are where not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from threadpoolctl import threadpool_limits

from likewise.errors import InvalidValue
from likewise.learning.lda import FIRST_FIT, Projection, learn_projection, next_fit
from likewise.lookup.namespace import Namespace
from likewise.priority import give_way
from likewise.types import Keys, Slots

log = logging.getLogger("likewise.learning.projections")

RECENT = 1500
"""Newest entries that a projection is learned from; more changed nothing on streams of traffic signs."""
LONGEST_WAIT = 5000
"""Insertions after which it is learned anew at the latest, so that it follows drift."""
GAIN = 0.01
"""Share of requests by which it has to promise more right answers before it is turned on; once on, it stays at par."""


class Projector:
    """Keeps the projection of one key type: learns it from computed results and has the namespace search by it.

    Owned by one event loop. Learning takes tenths of a second, in the executor; re-embedding is the namespace's.
    """

    def __init__(self, namespace: Namespace, key_type: str, executor: Executor | None, *, recent: int = RECENT) -> None:
        """Set up. executor: learns; None: `tend` does, in a deterministic order and with a pause.

        recent: newest entries that it learns from.
        """
        self._namespace = namespace
        self._key_type = key_type
        self._executor = executor
        self._recent = recent
        self._projection: Projection | None = None
        self._due = FIRST_FIT
        self._before = 0
        self._learning: Future[Projection | None] | None = None
        self.fits = 0
        """How often evidence was weighed, by this process or the one whose state it took over."""

    @property
    def projection(self) -> Projection | None:
        """What lookups go by, or will in a moment; None: the keys as they are."""
        return self._projection

    @property
    def learning(self) -> bool:
        """True while the executor is at it."""
        return self._learning is not None

    def tend(self) -> None:
        """Take over what was learned, and learn anew where enough has come in since. Call it with every insertion."""
        if self._learning is not None:
            if self._learning.done():
                done, self._learning = self._learning, None
                self._take_over(done.result())
            return
        seen = self._seen
        if seen < self._due:
            return
        self._due = min(next_fit(seen), seen + LONGEST_WAIT)
        keys, labels = self._namespace.newest(self._key_type, self._recent)
        gain = GAIN if self._projection is None else 0.0
        if self._executor is None:
            self._take_over(_learn(keys, labels, gain))
        else:
            self._learning = self._executor.submit(_learn, keys, labels, gain)

    @property
    def _seen(self) -> int:
        # insertions, those before a restart included, which are not replayed where the entry is gone
        return self._before + self._namespace.statistics()["insertions"]

    @property
    def _name(self) -> str:
        return f"key type `{self._key_type}` of `{self._namespace.name}`"

    def _take_over(self, projection: Projection | None) -> None:
        self.fits += 1
        if projection is None and self._projection is None:
            return
        if projection is None:
            log.info("%s: keys as they are do as well by now; the projection is off", self._name)
        elif self._projection is None:
            log.info("%s: a projection to %d numbers promises more; it is on", self._name, projection.dimension)
        self._projection = projection
        self._namespace.project(self._key_type, projection)

    def state(self) -> Mapping[str, Any]:
        """Return all that was learned, JSON-able."""
        return {
            "fits": self.fits,
            "seen": self._seen,
            "entries": len(self._namespace),
            "projection": self._projection.state() if self._projection else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned once. Raises InvalidValue if unusable, and goes on as before.

        The entries of that time may be in the namespace already or come later: they are nothing new.
        """
        try:
            fits, seen, entries, kept = (
                int(state["fits"]),
                int(state["seen"]),
                int(state["entries"]),
                state["projection"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidValue("The projector's state cannot be read; discard it, it is learned again.") from error
        projection = None if kept is None else Projection.restored(kept)
        expected = self._namespace.key_types[self._key_type]
        if projection is not None and len(projection.mean) != expected:
            raise InvalidValue(
                f"The projection takes keys of {len(projection.mean)} numbers, {self._name} has {expected}; "
                "discard it, it is learned again."
            )
        if projection is not None or self._projection is not None:
            self._namespace.project(self._key_type, projection)
        self._projection, self.fits = projection, fits
        self._learning = None
        self._before = max(0, seen - entries)
        self._due = min(next_fit(seen), seen + LONGEST_WAIT)


def learning_executor() -> ThreadPoolExecutor:
    """Return one thread for all that is learned beside the requests; it gives way to them."""
    return ThreadPoolExecutor(1, "likewise-learn", initializer=give_way)


def _learn(keys: Keys, labels: Slots, gain: float) -> Projection | None:
    # A team of BLAS threads that wait for one another by spinning takes ten times as long where cores are busy.
    with threadpool_limits(1, "blas"):
        try:
            return learn_projection(keys, labels, gain=gain)
        except Exception:
            log.exception("No projection could be learned; keys are searched as they are")
            return None
