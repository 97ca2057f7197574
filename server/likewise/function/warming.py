"""Which entries a device that joins is given first: those from which it may expect the most hits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from likewise.lookup.namespace import Namespace
from likewise.lookup.popularity import rates, tagged
from likewise.types import Keys

PIECE = 8192
"""Entries of a place that are taken in before others get their turn."""


async def worth_having(
    space: Namespace,
    key_type: str,
    neighbors: int,
    count: int,
    asked: Keys | None = None,
    place: str = "",
    *,
    rest: Callable[[], Awaitable[None]],
) -> list[int]:
    """Return the ids of the at most `count` entries that promise a device most, best first.

    asked: keys that the device asked for before, shape (n, d). place: a tag; entries that carry it are from where
    the device is. rest: awaited between two steps, to let others go first; entries may go meanwhile.
    An entry's promise is its share of what was used lately everywhere, plus its share of that among the
    entries of the place, plus its share of what is near to what the device asked before.
    """
    slots, everywhere = rates(space)
    if not len(slots):
        return []
    room = int(slots[-1]) + 1
    promise = _share(everywhere)
    if place:
        await rest()
        carriers = tagged(space, place)
        marked = np.zeros(room, np.bool_)
        for begin in range(0, len(carriers), PIECE):
            await rest()
            piece = np.array(carriers[begin : begin + PIECE], np.int64)
            marked[piece[piece < room]] = True
        promise += _share(np.where(marked[slots], everywhere, 0.0))
    if asked is not None and len(asked):
        near = np.zeros(room)
        for key in asked:
            await rest()  # a search looks at every key, where there is no better index
            found = np.array(space.lookup(key_type, key, neighbors).slots, np.int64)
            weights = 1.0 / (1.0 + np.arange(len(found)))
            keep = found < room
            np.add.at(near, found[keep], weights[keep])
        promise += _share(near[slots])
    await rest()
    if count < len(slots):
        few = np.argpartition(-promise, count)[:count]
        slots, promise = slots[few], promise[few]
    best = np.argsort(-promise, kind="stable")
    return [space.entry_id(slot) for slot in slots[best].tolist()]


def _share(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = float(weights.sum())
    return weights / total if total > 0.0 else weights.copy()
