"""Which requests keys are fitted on, and which are played to compare them: in turns, so that each is played once."""

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
TURNS = 3
"""Rounds in which keys are compared: in each, one block in so many is played, and the others are fitted on."""
FEWEST_BLOCKS = 12
"""Blocks that there are at least."""
_RUNS = 2
"""Times that a result comes up in the mean, each time with nothing else in between, up to which inputs are sorted."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which requests are fitted on, in order, and which are played, as they come."""

    fitted: NDArray[np.int64]
    played: NDArray[np.int64]


def split(devices: Sequence[int], block: int = BLOCK) -> Split:
    """Return two blocks in three of each device for fitting, the others for playing."""
    turns = _turns(devices, block)
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
    """Return how keys are compared: each request is played in one of them, by keys that were fitted to the others.

    Those of inputs that are sorted by result are played in a random order, always the same.
    """
    in_order = not sorted_by_result(labels)
    # few inputs are taken in shorter blocks, so that some of each round come from every part of them
    block = max(1, min(BLOCK if in_order else SORTED_BLOCK, len(devices) // FEWEST_BLOCKS))
    turns = _turns(devices, block)
    found = []
    for turn in range(TURNS):
        fitted, played = np.flatnonzero(turns != turn), np.flatnonzero(turns == turn)
        if len(fitted) and len(played):
            found.append(Split(fitted, played if in_order else np.random.default_rng(turn).permutation(played)))
    return tuple(found) or (split(devices),)


def _turns(devices: Sequence[int], block: int) -> NDArray[np.int64]:
    """Return the round in which each request is played, from 0."""
    sent: dict[int, int] = {}
    found = []
    for device in devices:
        count = sent[device] = sent.get(device, -1) + 1
        # devices take turns in whose first block is played, so that short streams are in all parts
        found.append((count // block + device) % TURNS)
    return np.array(found)
