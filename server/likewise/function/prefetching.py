"""Which entries go to a device with an answer, before it asks for them: those that it may soon want."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from weakref import WeakKeyDictionary

import numpy as np

from likewise.decision.leases import Purse
from likewise.lookup.namespace import Namespace
from likewise.lookup.popularity import rates
from likewise.types import Clock

RANKED = 512
"""Entries that are sent to whoever has them not, those used most;"""
RANKED_S = 1.0
"""chosen anew after so many seconds."""


class Prefetch:
    """Remembers what each device was sent; owned by the function's event loop."""

    def __init__(self, namespace: Namespace, clock: Clock) -> None:
        """Set up. clock: monotonic seconds."""
        self._namespace = namespace
        self._clock = clock
        self._ranked: list[int] = []
        self._ranked_at = -inf
        self._sent: WeakKeyDictionary[Purse, set[int]] = WeakKeyDictionary()

    def note(self, device: Purse, entry_id: int) -> None:
        """Take note that a device has an entry, or that it is no use to it."""
        sent = self._sent.setdefault(device, set())
        if len(sent) >= 2 * RANKED:
            sent.intersection_update(self._ranked)
        sent.add(entry_id)

    def unsent(self, device: Purse, ids: Iterable[int], most: int) -> Iterator[int]:
        """Yield at most so many of the ids, those of entries that a device has not; `note` which it is sent."""
        sent = self._sent.setdefault(device, set())
        for id in ids:
            if most and id not in sent and self._namespace.slot_of(id) >= 0:
                most -= 1
                yield id

    def most_used(self) -> list[int]:
        """Return the ids of those that everybody may soon want, best first."""
        now = self._clock()
        if now - self._ranked_at >= RANKED_S:
            slots, used = rates(self._namespace)
            if len(slots) > RANKED:
                few = np.argpartition(-used, RANKED)[:RANKED]
                slots, used = slots[few], used[few]
            best = slots[np.argsort(-used, kind="stable")].tolist()
            self._ranked, self._ranked_at = [self._namespace.entry_id(slot) for slot in best], now
        return self._ranked
