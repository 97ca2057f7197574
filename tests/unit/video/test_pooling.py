"""Convolutions that are pooled before they are kept: what is read so, and that it has what a full run has."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from graphs import GraphBuilder

from likewise.video import compiled, plain
from likewise.video.change import Change
from likewise.video.layers import Conv, Pool, Size
from likewise.video.method import EXACT
from likewise.video.model import VideoModel
from likewise.video.state import State

HELPERS = [pytest.param(compiled, id="numba"), pytest.param(plain, id="numpy")]
SQUARES = {"kernel_shape": [2, 2], "strides": [2, 2]}


def graph(
    height: int, width: int, kernel: int = 3, stride: int = 1, filters: int = 40, first: int = 32
) -> tuple[GraphBuilder, str]:
    """Return a graph that ends in a convolution, an activation and a pool; and the name of the pool's output."""
    net = GraphBuilder(5, 3, height, width)
    x = net.add("Relu", [net.conv("x", first, 3, 1)], (first, height, width))
    x = net.conv(x, filters, kernel, stride)
    _, high, wide = size = net.sizes[x]
    x = net.add("LeakyRelu", [x], size, alpha=0.1)
    return net, net.add("MaxPool", [x], (filters, high // 2, wide // 2), **SQUARES)


def model(net: GraphBuilder, x: str, helpers: ModuleType = compiled) -> VideoModel:
    """Return the model of a graph with a convolution of 1 × 1 at its end."""
    output = net.conv(x, 2, 1, 1)
    return VideoModel(net.model([output]), net.shape, [output], helpers=helpers)


def off(found: VideoModel, alpha: float, care: float = 0.0) -> float:
    """Return how far outputs are from a full run's, in their largest, at most, over frames of which patches change."""
    rng, name = np.random.default_rng(1), found.plan.input
    frame = rng.normal(size=found.shape).astype(np.float32)
    state: State = found.network.state()
    found.network.refresh(state, frame)
    change, most = Change(found.shape, found.unit, found.kernels), 0.0
    _, height, width = found.shape
    for _ in range(6):
        frame = frame.copy()
        y, x = rng.integers(0, height), rng.integers(0, width)
        frame[:, y : y + 7, x : x + 7] += 1.0
        frame[:, -2:, -3:] += 0.5
        change.find(frame, state.frame, EXACT)
        places = change.take_over(frame, state.frame, state.kept[name], found.network.pads[name])
        found.network.step(state, places, alpha, care=care)
        wanted = found.run(frame)[0]
        most = max(most, float(np.abs(state.outputs[found.outputs[0]] - wanted).max() / np.abs(wanted).max()))
    return most


@pytest.mark.parametrize("helpers", HELPERS)
@pytest.mark.parametrize(
    ("height", "width", "kernel", "stride"), [(24, 24, 3, 1), (23, 29, 3, 1), (25, 22, 5, 2), (21, 27, 1, 1)]
)
def test_the_largest_of_squares_is_what_a_full_run_has(
    helpers: ModuleType, height: int, width: int, kernel: int, stride: int
) -> None:
    """Exactly at thresholds of zero, and as near where tiles are used: also at odd edges, which no pool reads."""
    found = model(*graph(height, width, kernel, stride), helpers)
    pooled = found.plan.layers[1]
    assert isinstance(pooled, Conv)
    assert pooled.pool == 2
    assert off(found, 0.0) < 4e-6
    assert off(found, 1e-7) < 8e-6


def test_what_is_pooled_is_not_kept() -> None:
    """Only what the pool leaves is stored, and the work is counted for all that is pooled."""
    found = model(*graph(24, 32))
    first, second, _ = found.plan.layers
    assert found.plan.sizes[second.output] == Size(12, 16, 40)
    assert set(found.network.state().kept) == {found.plan.input, *(layer.output for layer in found.plan.layers)}
    assert len(found.plan.sizes) == 4
    assert found.plan.sizes[first.output] == Size(24, 32, 32)
    assert second.work == 4 * (9 * 32 * 40 + 40)


def test_where_changes_are_foreseen_both_kinds_of_helpers_agree() -> None:
    """What is left out, as little is expected of it, costs as little exactness as a threshold allows."""
    for helpers in (compiled, plain):
        assert 0 < off(model(*graph(24, 24), helpers), 0.02, care=2.0) < 0.1


def test_an_activation_after_the_pool_is_taken_in() -> None:
    """As PyTorch's tutorials write it: the pool first, then what rectifies it."""
    net = GraphBuilder(5, 3, 24, 24)
    x = net.add("MaxPool", [net.conv("x", 8, 3, 1)], (8, 12, 12), **SQUARES)
    found = model(net, net.add("Relu", [x], (8, 12, 12)))
    assert len(found.plan.layers) == 2
    assert off(found, 0.0) < 4e-6


@pytest.mark.parametrize("case", ["read-twice", "falling", "overlapping", "beyond-the-edge", "an-output", "mean"])
def test_other_pools_are_computed_from_what_is_kept(case: str) -> None:
    """A convolution is kept where something else reads it, and where the largest is not all that counts."""
    net = GraphBuilder(5, 3, 25, 25)
    size, after = (8, 25, 25), (8, 12, 12)
    raw = net.conv("x", 8, 3, 1)
    x = net.add("LeakyRelu", [raw], size, alpha=-0.5 if case == "falling" else 0.1)
    more, kind = dict(SQUARES), "MaxPool"
    if case == "overlapping":
        more["kernel_shape"] = [3, 3]
    elif case == "beyond-the-edge":
        more["ceil_mode"], after = 1, (8, 13, 13)  # type: ignore[assignment]
    elif case == "mean":
        kind = "AveragePool"
    pooled = net.add(kind, [x], after, **more)
    if case == "read-twice":
        pooled = net.add("Add", [pooled, net.add("AveragePool", [x], after, **SQUARES)], after)
    outputs = [net.conv(pooled, 2, 1, 1), *([x] if case == "an-output" else [])]
    found = VideoModel(net.model(outputs), net.shape, outputs)
    assert any(isinstance(layer, Pool) for layer in found.plan.layers)
    assert all(layer.pool == 1 for layer in found.plan.layers if isinstance(layer, Conv))
    assert off(found, 0.0) < 4e-6
