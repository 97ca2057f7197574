"""Which entries a device that joins is given first: those from which it may expect the most hits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.lookup.namespace import Namespace
from likewise.lookup.popularity import rates, tagged
from likewise.types import Keys


def worth_having(
    space: Namespace, key_type: str, neighbors: int, count: int, asked: Keys | None = None, place: str = ""
) -> list[int]:
    """Return the ids of the at most `count` entries that promise a device most, best first.

    asked: keys that the device asked for before, shape (n, d). place: a tag; entries that carry it are from where
    the device is. An entry's promise is its share of what was used lately everywhere, plus its share of that among the
    entries of the place, plus its share of what is near to what the device asked before.
    """
    slots, everywhere = rates(space)
    if not len(slots):
        return []
    promise = _share(everywhere)
    if place:
        here = np.isin(slots, np.array(tagged(space, place), np.int64))
        promise += _share(np.where(here, everywhere, 0.0))
    if asked is not None and len(asked):
        near = np.zeros(len(slots))
        for found in space.lookup_many(key_type, asked, neighbors):
            rows = np.searchsorted(slots, found.slots)
            weights = 1.0 / (1.0 + np.arange(len(rows)))
            keep = (rows < len(slots)) & (slots[np.minimum(rows, len(slots) - 1)] == found.slots)
            np.add.at(near, rows[keep], weights[keep])
        promise += _share(near)
    best = np.argsort(-promise, kind="stable")[:count]
    return [space.entry_id(slot) for slot in slots[best].tolist()]


def _share(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = float(weights.sum())
    return weights / total if total > 0.0 else weights.copy()
