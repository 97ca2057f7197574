"""Leader clustering of results by a likeness of their own: boxes by overlap, embeddings by angle."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from likewise.results.boxes import read_boxes, same_boxes
from likewise.results.check import is_json
from likewise.types import Result

COMPARED = 256
"""Leaders of one group of candidates that a result is compared with: the newest."""
MAX_GROUPS = 1024
MAX_NUMBERS = 4096
"""Numbers of an embedding at most."""


class Likeness(NamedTuple):
    """How results of one kind are compared."""

    read: Callable[[Result], tuple[Hashable, Any] | None]
    """Returns a group that equal results share, and what of the result is compared; None: it is not of this kind."""
    same: Callable[[Any, Any, float], bool]
    """Says whether two of one group are alike enough."""


def _read_boxes(result: Result) -> tuple[Hashable, Any] | None:
    found = read_boxes(result)
    return None if found is None else (found.labels, found)


def _read_embedding(result: Result) -> tuple[Hashable, Any] | None:
    if not is_json(result.media_type):
        return None
    try:
        document = orjson.loads(result.body)
        values = np.array(document["embedding"] if isinstance(document, dict) else document, np.float64)
    except (orjson.JSONDecodeError, TypeError, ValueError, KeyError, OverflowError):
        return None
    if values.ndim != 1 or not 0 < values.size <= MAX_NUMBERS or not np.isfinite(values).all():
        return None
    norm = float(np.linalg.norm(values))
    return (values.size, norm > 0), (values / norm if norm > 0 else values).astype(np.float32)


def _same_direction(ours: NDArray[np.float32], theirs: NDArray[np.float32], least: float) -> bool:
    return float(ours.dot(theirs)) >= least or not (ours.any() or theirs.any())


LIKENESSES: Mapping[str, Likeness] = {
    "boxes": Likeness(_read_boxes, same_boxes),
    "cosine": Likeness(_read_embedding, _same_direction),
}
"""By equality."""


class Leaders:
    """Finds the newest leader that is alike. Bounded: so many leaders of a group, and so many groups."""

    def __init__(self, likeness: Likeness, least: float) -> None:
        """Set up. least: how alike two results have to be, as the likeness counts it."""
        self._likeness = likeness
        self._least = least
        self._groups: OrderedDict[Hashable, deque[tuple[int, Any]]] = OrderedDict()

    def read(self, result: Result) -> tuple[Hashable, Any] | None:
        """Return what `find` and `lead` take; None for a result that cannot be compared so."""
        return self._likeness.read(result)

    def find(self, read: tuple[Hashable, Any]) -> int:
        """Return the id of the newest leader that is alike, or -1."""
        group, content = read
        for id, leader in self._groups.get(group, ()):
            if self._likeness.same(leader, content, self._least):
                return id
        return -1

    def same(self, one: tuple[Hashable, Any], other: tuple[Hashable, Any]) -> bool:
        """Say whether two results are alike."""
        return one[0] == other[0] and self._likeness.same(one[1], other[1], self._least)

    def lead(self, read: tuple[Hashable, Any], id: int) -> None:
        """Make a result the leader of a new group of equal ones."""
        group, content = read
        leaders = self._groups.pop(group, None) or deque(maxlen=COMPARED)
        leaders.appendleft((id, content))
        self._groups[group] = leaders
        if len(self._groups) > MAX_GROUPS:
            self._groups.popitem(last=False)
