"""Which requests keys are fitted on, and which are played to compare them: in turns, so that each is played."""

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
FEWEST_BLOCKS = 12
"""Blocks that there are at least."""
FEW = 3000
"""Requests up to which they are split twice, at other places."""
_RUNS = 2
"""Times that a result comes up in the mean, each time with nothing else in between, up to which inputs are sorted."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which requests are fitted on, in order, and which are played, as they come."""

    fitted: NDArray[np.int64]
    played: NDArray[np.int64]


def split(devices: Sequence[int], block: int = BLOCK) -> Split:
    """Return two blocks in three of each device for fitting, the others for playing."""
    turns = _turns(devices, 3, block)
    fitted, played = np.flatnonzero(turns), np.flatnonzero(turns == 0)
    if not len(fitted) or not len(played):
        most = 2 * len(devices) // 3
        return Split(np.arange(most), np.arange(most, len(devices)))
    return Split(fitted, played)


def sorted_by_result(labels: Sequence[int]) -> bool:
    """Say whether equal results stand together, as in a folder whose files are named by what they show.

    Played in that order, any key would do: the request before is answered alike.
    """
    kinds = len(set(labels))
    runs = 1 + sum(one != other for one, other in itertools.pairwise(labels))
    return 1 < kinds <= len(labels) // 5 and runs <= _RUNS * kinds


def rounds(devices: Sequence[int], labels: Sequence[int]) -> tuple[Split, ...]:
    """Return how keys are compared: in halves, each of which is played by keys that were fitted to the other.

    What is fitted to half of the inputs and played on as many says how keys compare that are fitted to all, and used
    on as many again. With more for fitting the streams would be shorter, and that favors what is learned: it needs
    fewer entries. Inputs that are sorted by result are played in a random order, always the same.
    """
    in_order = not sorted_by_result(labels)
    # few inputs are taken in shorter blocks, so that some of each half come from every part of them
    block = max(1, min(BLOCK if in_order else SORTED_BLOCK, len(devices) // FEWEST_BLOCKS))
    found: list[Split] = []
    for start in (0, block // 2) if len(devices) <= FEW and block > 1 else (0,):
        turns = _turns(devices, 2, block, start)
        for turn in range(2):
            fitted, played = np.flatnonzero(turns != turn), np.flatnonzero(turns == turn)
            if len(fitted) and len(played):
                order = played if in_order else np.random.default_rng(len(found)).permutation(played)
                found.append(Split(fitted, order))
    return tuple(found) or (split(devices),)


def _turns(devices: Sequence[int], count: int, block: int, start: int = 0) -> NDArray[np.int64]:
    """Return the turn of each request, from 0 up to a count: that of its block. start: where in a block they begin."""
    sent: dict[int, int] = {}
    found = []
    for device in devices:
        at = sent[device] = sent.get(device, start - 1) + 1
        # devices take turns in whose first block is played, so that short streams are in all parts
        found.append((at // block + device) % count)
    return np.array(found)
