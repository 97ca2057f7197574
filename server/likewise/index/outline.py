"""What is saved of an index beside its keys, as it is at one moment; written in a thread while the index goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from likewise.index.parts import Parts
from likewise.index.saved import Column
from likewise.types import Keys, Slots

_PROBES = 4


@dataclass(frozen=True)
class Outline:
    """Facts of an index and how to read the rest."""

    facts: Mapping[str, Any]
    """JSON-able: kind, dimension, count, effort and what the kind needs."""
    slots: Callable[[int, int], Slots | None]
    """Positions from one to before another -> their slots, -1 where the key was removed; None: it is not in use now."""
    columns: Callable[[], Iterable[Column]]
    """Returns what leads to the keys; called and read in a thread."""
    lease: Parts
    """While somebody has it, the index' memory is not given back."""
    extra: tuple[Column, ...] = field(default=())

    @property
    def count(self) -> int:
        """Number of positions."""
        count: int = self.facts["count"]
        return count


def probes(dimension: int) -> Keys:
    """Return a few keys, shape (n, dimension), always the same: what a projection makes of them tells which it is."""
    return np.random.default_rng(3).standard_normal((_PROBES, dimension), np.float32)
