"""Which requests keys are fitted on, and which are played to compare them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 30
"""Requests of one device in a row that are all fitted on, or all played: neighbors in time are alike."""
SORTED_BLOCK = 10
"""The same where equal results stand together: longer ones would be all that there is of one kind, and who shows it."""
_RUNS = 2
"""Times that a result comes up in the mean, each time with nothing else in between, up to which inputs are sorted."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which requests are fitted on, in order, and which are played, as they come."""

    fitted: NDArray[np.int64]
    played: NDArray[np.int64]


def split(devices: Sequence[int], block: int = BLOCK) -> Split:
    """Return two blocks in three of each device for fitting, the others for playing."""
    sent: dict[int, int] = {}
    fitted: list[int] = []
    played: list[int] = []
    for at, device in enumerate(devices):
        count = sent[device] = sent.get(device, -1) + 1
        # devices take turns in whose first block is played, so that short streams are in both parts
        (played if (count // block + device) % 3 == 0 else fitted).append(at)
    if not fitted or not played:
        most = 2 * len(devices) // 3
        return Split(np.arange(most), np.arange(most, len(devices)))
    return Split(np.array(fitted), np.array(played))


def sorted_by_result(labels: Sequence[int]) -> bool:
    """Say whether equal results stand together, as in a folder whose files are named by what they show.

    Played in that order, any key would do: the request before is answered alike.
    """
    kinds = len(set(labels))
    runs = 1 + sum(one != other for one, other in itertools.pairwise(labels))
    return 1 < kinds <= len(labels) // 5 and runs <= _RUNS * kinds


def split_sorted(devices: Sequence[int]) -> Split:
    """Return both parts of inputs that are sorted by result; the played ones in a random order, always the same."""
    parts = split(devices, SORTED_BLOCK)
    return Split(parts.fitted, np.random.default_rng(0).permutation(parts.played))
