"""The convolutions of a plan, each computed in the way that is fastest for the places that are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from likewise.video.graph import Plan
from likewise.video.kernels import Kernels
from likewise.video.layers import Conv, Floats, Ints, Layer
from likewise.video.layout import Windows, windows
from likewise.video.scratch import Scratch, make_scratch
from likewise.video.state import State
from likewise.video.tiling import FULL, Tiles, Whole, tiled, transformed, whole, whole_tiled

NONE: Ints = np.zeros(0, np.int32)
NO_DEBT: Floats = np.zeros(0, np.float32)


class Convolutions:
    """All convolutions of a plan but the depthwise ones, with their weights laid out. Any thread may use it."""

    def __init__(self, plan: Plan, pads: Mapping[str, int], kernels: Kernels) -> None:
        """Set up. pads: how far each tensor is padded."""
        self._plan = plan
        self._pads = pads
        self._kernels: Any = kernels
        self._windows: dict[str, Windows] = {}
        self._tiles: dict[str, Tiles] = {}
        self._whole: dict[str, Whole] = {}
        for layer in plan.layers:
            if not isinstance(layer, Conv) or layer.depthwise:
                continue
            name, given, size = layer.output, layer.inputs[0], plan.sizes[layer.output]
            self._windows[name] = windows(layer, plan.sizes[given], pads[given], kernels.LANES)
            if kernels.TILED and tiled(layer):
                self._tiles[name] = transformed(layer, size, pads[given], kernels)
            if kernels.TILED and whole_tiled(layer, size):
                self._whole[name] = whole(layer, size, pads[given], kernels)

    def __contains__(self, name: str) -> bool:
        """Say whether a tensor is the output of one of them."""
        return name in self._windows

    def scratch(self) -> Scratch:
        """Return room for what all layers of the plan make on their way."""
        layouts = self._windows.values(), self._tiles.values(), self._whole.values()
        return make_scratch(self._plan, *layouts, self._kernels.ROOM)

    def compute(
        self, layer: Layer, state: State, places: Ints, limit: float, rounded: bool, scratch: Scratch, written: Ints,
        moves: Floats,
    ) -> int:  # fmt: skip
        """Compute one at places; return how many were written; see `compiled.settle` for what those are.

        Tiles are used where most of what they hold is wanted. rounded: whether they may be, as their products round
        otherwise than a full run's do.
        """
        name, found = layer.output, NONE
        function, low, high = layer.activation
        width, layout = self._plan.sizes[name].width, self._tiles.get(name) if rounded else None
        if layout is not None and layout.pooled:
            found = places
        elif layout is not None:
            found = scratch.tiles[: self._kernels.tiles(places, width, layout.across, scratch.flags, scratch.tiles)]
        source, target = state.kept[layer.inputs[0]], state.kept[name]
        bend, pad = (int(function), np.float32(low), np.float32(high)), self._pads[name]
        debt = state.debts.get(name, NO_DEBT)
        count: int
        if layout is not None and (layout.pooled or len(places) >= FULL * len(found)):
            count = self._kernels.convolve_in_tiles(
                source, places, found, width, layout, bend, pad, limit, target, written, moves, debt, scratch.inputs,
                scratch.results, scratch.rows,
            )  # fmt: skip
        else:
            count = self._kernels.convolve(
                source, places, width, self._windows[name], bend, pad, limit, target, written, moves, debt,
                scratch.bases, scratch.rows,
            )  # fmt: skip
        return count

    def whole(self, layer: Layer, state: State, scratch: Scratch) -> bool:
        """Compute all of one in large tiles, and write it; return False where none are made for it."""
        layout = self._whole.get(layer.output)
        if layout is None:
            return False
        name, size = layer.output, self._plan.sizes[layer.output]
        function, low, high = layer.activation
        self._kernels.convolve_whole(
            state.kept[layer.inputs[0]], layout, (int(function), np.float32(low), np.float32(high)), self._pads[name],
            state.kept[name], size.height, size.width, scratch.inputs, scratch.results,
        )  # fmt: skip
        if name in state.debts:
            state.debts[name][:] = 0
        return True
