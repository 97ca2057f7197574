"""Room for what a step makes on its way; one set for each thread that runs a network."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.video.graph import Plan
from likewise.video.layers import Floats, Ints
from likewise.video.layout import Windows, rows_at_once
from likewise.video.tiling import Tiles, Whole


@dataclass(frozen=True, eq=False)
class Scratch:
    """What helpers are given to write to: without meaning between two calls, but for the zeros of `flags`."""

    flags: NDArray[np.uint8]
    bases: NDArray[np.int64]
    rows: Floats
    tiles: Ints
    inputs: Floats
    """Of tiles; see `compiled.convolve_in_tiles` and `compiled.convolve_whole`."""
    results: Floats


def make_scratch(
    plan: Plan, windows: Collection[Windows], tiles: Collection[Tiles], whole: Collection[Whole], room: int
) -> Scratch:
    """Return what the layers of a plan need. room: `compiled.ROOM`."""
    most = max((size.height * size.width for size in plan.sizes.values()), default=0)
    channels = [plan.sizes[layer.output].channels for layer in plan.layers]
    rows = max([1, *(rows_at_once(each) * each for each in channels), *(room * each.bias.shape[1] for each in windows)])
    apart = [(16 * each.apart[0], 16 * each.apart[1]) for each in tiles]
    apart += [(36 * each.apart[0], 36 * each.apart[1]) for each in whole]
    return Scratch(
        np.zeros(most + 64, np.uint8),
        np.zeros(room, np.int64),
        np.empty(rows, np.float32),
        np.empty(most, np.int32),
        np.empty(max((inputs for inputs, _ in apart), default=0), np.float32),
        np.empty(max((results for _, results in apart), default=0), np.float32),
    )
