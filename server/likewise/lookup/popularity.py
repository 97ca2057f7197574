"""How often entries of a namespace were used, for those who choose among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from likewise.types import Slots

if TYPE_CHECKING:
    from likewise.lookup.namespace import Namespace

# A part of Namespace in a file of its own: nothing else may touch what is private there.

NEWCOMER_S = 60.0
"""Seconds that count on top of an entry's age, so that a single use of a new one is not a high rate."""


def rates(space: Namespace) -> tuple[Slots, NDArray[np.float64]]:
    """Return the slots of all live entries, ascending, and how often a second each was used; shape (n,) both."""
    columns = space._columns
    live = columns.live()
    ages = np.maximum(0.0, space._clock() - columns.created[live].astype(np.float64))
    return live, (columns.uses[live] + 1.0) / (ages + NEWCOMER_S)


def tagged(space: Namespace, tag: str) -> list[int]:
    """Return the slots of the live entries with a tag."""
    return list(space._store.tags.slots(tag))
