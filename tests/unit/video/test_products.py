"""The compiled convolution at places against the one in NumPy: all widths of panels, and whatever is left over."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from likewise.video import compiled, plain
from likewise.video.layers import Activation, Conv, Function, Size, Window
from likewise.video.layout import windows


def convolution(rng: np.random.Generator, channels: int, filters: int, groups: int, window: Window) -> Conv:
    taps = prod(window.kernel) * channels // groups
    weights = rng.normal(size=(groups, taps, filters // groups)).astype(np.float32) / np.sqrt(taps)
    bias = rng.normal(size=filters).astype(np.float32)
    return Conv(("x",), "y", Activation(Function.LEAKY, 0.1), 1, window, weights.astype(np.float32), bias)


@pytest.mark.parametrize(
    ("channels", "filters", "groups", "window"),
    [
        pytest.param(3, 16, 1, Window((3, 3), (1, 1), (1, 1)), id="narrow"),
        pytest.param(3, 40, 1, Window((7, 7), (2, 2), (3, 3)), id="panels-not-filled"),
        pytest.param(200, 64, 1, Window((3, 3), (1, 1), (1, 1)), id="long-windows"),
        pytest.param(263, 1, 1, Window((3, 1), (1, 1), (1, 0)), id="lines-of-a-prime"),
        pytest.param(300, 33, 1, Window((1, 1)), id="points"),
        pytest.param(12, 60, 3, Window((3, 3), (2, 1), (1, 1)), id="groups"),
        pytest.param(9, 24, 1, Window((3, 3), (1, 1), (2, 2), (2, 2)), id="dilated"),
    ],
)
@pytest.mark.parametrize("count", [1, 6, 13, 250])
def test_any_places_have_what_a_convolution_has(
    channels: int, filters: int, groups: int, window: Window, count: int
) -> None:
    """However many rows and columns fit into a block, what is written and what is noted of it agree."""
    rng = np.random.default_rng(count)
    layer = convolution(rng, channels, filters, groups, window)
    height = width = 20
    pad = max(window.pads)
    source = np.zeros((height * window.stride[0] + 2 * pad, width * window.stride[1] + 2 * pad, channels), np.float32)
    source[...] = rng.normal(size=source.shape)
    places = np.sort(rng.choice(height * width, count, replace=False)).astype(np.int32)
    found = []
    for helpers in (compiled, plain):
        size = Size(source.shape[0] - 2 * pad, source.shape[1] - 2 * pad, channels)
        layout = windows(layer, size, pad, helpers.LANES)
        target = np.zeros((height + 2, width + 2, filters), np.float32)
        written, moves = np.zeros(count, np.int32), np.zeros(count, np.float32)
        total = helpers.convolve(
            source, places, width, layout, (2, np.float32(0.1), np.float32(0.0)), 1, 0.5, target, written, moves,
            np.zeros(0, np.float32), np.zeros(helpers.ROOM, np.int64),
            np.empty(helpers.ROOM * layout.bias.shape[1], np.float32),
        )  # fmt: skip
        found.append((target, written[:total], moves[:total]))
    (ours, places_, moves_), (theirs, wanted, far) = found
    assert np.array_equal(places_, wanted)
    assert len(wanted) > 0 or count < 250
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert np.allclose(moves_, far, rtol=1e-3)


@pytest.mark.parametrize("limit", [-1.0, 0.0, 0.1])
@pytest.mark.parametrize("size", [5, 16, 33])
def test_what_overflows_below_zero_is_rectified(limit: float, size: int) -> None:
    """Minus infinity is 0 after ReLU, and a change too small to be squared is one."""
    rows = np.full((2, size), 1e-30, np.float32)
    rows[0, -1] = -np.inf
    rows[1] = -1.0
    target = np.zeros((1, 2, size), np.float32)
    written, moves = np.zeros(2, np.int32), np.zeros(2, np.float32)
    none = np.zeros(0, np.float32)
    count = compiled.settle(
        rows, size, none, 1, np.float32(0.0), np.float32(0.0), np.arange(2, dtype=np.int32), 2, 0, limit, 0, target,
        written, moves, none,
    )  # fmt: skip
    assert list(written[:count]) == {-1.0: [0, 1], 0.0: [0], 0.1: []}[limit]
    assert target[0, 0, -1] == 0.0
    assert target[0, 0, 0] == np.float32(0.0 if limit > 0 else 1e-30)
    assert not target[0, 1].any()
