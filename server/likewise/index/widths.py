"""How wide A-LSH's buckets should be."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from likewise.index.exact import ExactIndex
from likewise.types import Key, Keys

LOOKUPS = 1000
"""The width is looked at again after this many lookups, or when half of the keys are new."""
MOVED = 0.2
"""Or when the mean distance to the neighbors has moved by this share."""
QUERIES = 16
KEYS = 256
STEPS = (0.35, 0.6, 0.8, 1.0, 1.25, 1.7, 2.83)


class Tuner:
    """Chooses the width with the best recall among those that keep lookups short, by trying them on a sample.

    Recall grows with the width, and so do the candidates that a lookup looks at: on queries of late and a sample of
    keys, both are measured for some widths around the one in use.
    """

    def __init__(
        self,
        directions: Keys,
        offsets: NDArray[np.float64],
        tables: int,
        candidates_min: int,
        candidates_max: int,
        rng: np.random.Generator,
    ) -> None:
        """Set up for the hashes of a set of tables."""
        self._directions = directions
        self._offsets = offsets
        self._tables = tables
        self._bounds = (candidates_min, candidates_max)
        self._rng = rng
        self._mix = np.random.default_rng(9).integers(1, 2**61, directions.shape[1] // tables) | 1
        self._queries: deque[Key] = deque(maxlen=QUERIES)
        self._lookups = 0
        self._changes = 0
        self._distance = 0.0
        self._tuned_distance = 0.0

    def looked_up(self, key: Key, l2_sq: list[float]) -> None:
        """Take note of a lookup and of what it found."""
        self._lookups += 1
        if self._lookups % 8 == 1:
            self._queries.append(np.array(key, np.float32))
        if l2_sq:
            distance = float(np.sqrt(sum(l2_sq) / len(l2_sq)))
            self._distance = distance if not self._distance else 0.99 * self._distance + 0.01 * distance

    def changed(self, count: int) -> None:
        """Take note of insertions."""
        self._changes += count

    def width(self, store: ExactIndex, width: float) -> float:
        """Return the width to use: mostly the one in use, another where it is time and better."""
        moved = abs(self._distance - self._tuned_distance) > MOVED * self._tuned_distance
        due = self._lookups >= LOOKUPS or 2 * self._changes >= max(200, len(store)) or (moved and self._lookups >= 100)
        if not due or len(store) < 100:
            return width
        self._lookups = self._changes = 0
        self._tuned_distance = self._distance
        return self._best(store, width)

    def _best(self, store: ExactIndex, width: float) -> float:
        slots = store.slots()
        keys = store.keys(slots[self._rng.permutation(len(slots))[:KEYS]])
        # until there were lookups, keys stand in for queries: what is inserted is what was asked for
        queries = np.stack(self._queries) if len(self._queries) >= QUERIES // 2 else keys[:QUERIES]
        distances = np.linalg.norm(queries[:, None, :] - keys[None, :, :], axis=2)
        near = distances <= np.partition(distances, 3, axis=1)[:, 3:4]
        projected, asked = keys @ self._directions, queries @ self._directions
        low, high = self._bounds
        if not self._tuned_distance and width == 1.0:
            # the first time: start from the scale of the data, not from one
            width = float(np.median(distances)) or 1.0
        best, best_worth = width, (-1.0, -1.0)
        for step in STEPS:
            shared = self._shared(projected, asked, width * step)
            candidates = float(shared.mean()) * len(slots)
            recall = float((shared & near).sum() / near.sum())
            # too many candidates are worse the more there are; within the bounds recall decides
            worth = (min(1.0, high / max(candidates, 1.0)), recall)
            if candidates < low:
                worth = (worth[0], recall - 1.0)
            if worth > best_worth:
                best, best_worth = width * step, worth
        return best

    def _shared(self, projected: Keys, asked: Keys, width: float) -> NDArray[np.bool_]:
        """Return which keys share a bucket with which queries, shape (queries, keys)."""
        cells, wanted = self._codes(projected, width), self._codes(asked, width)
        shared: NDArray[np.bool_] = (wanted[:, None] == cells[None]).any(axis=2)
        return shared

    def _codes(self, projected: Keys, width: float) -> NDArray[np.int64]:
        """Return one number for each key and table, shape (n, tables); two buckets share one by chance alone."""
        cells = np.floor(projected / width + self._offsets).astype(np.int64)
        codes: NDArray[np.int64] = cells.reshape(len(projected), self._tables, -1) @ self._mix
        return codes
