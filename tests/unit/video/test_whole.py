"""Convolutions computed as a whole in large tiles, and networks whose frames are renewed by them."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import GraphBuilder

from likewise.video import compiled, plain
from likewise.video.change import Change
from likewise.video.layers import Activation, Conv, Function, Size, Window
from likewise.video.layout import windows
from likewise.video.method import EXACT
from likewise.video.model import VideoModel
from likewise.video.tiling import LARGE_FEW, whole, whole_tiled

SIZES = [
    pytest.param(16, 20, id="whole-tiles"),
    pytest.param(15, 22, id="cut-off"),
    pytest.param(13, 17, id="one-more"),
]


def convolution(channels: int, filters: int, pads: tuple[int, int], activation: Activation, pool: int) -> Conv:
    rng = np.random.default_rng(channels + filters)
    weights = rng.normal(size=(1, 9 * channels, filters)) / np.sqrt(9 * channels)
    bias = rng.normal(size=filters).astype(np.float32)
    window = Window((3, 3), (1, 1), pads)
    return Conv(("x",), "y", activation, 1, window, weights.astype(np.float32), bias, pool)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(
    ("channels", "filters", "pads", "activation", "pool"),
    [
        pytest.param(16, 16, (1, 1), Activation(Function.RELU), 1, id="few-channels"),
        pytest.param(32, 40, (1, 1), Activation(Function.LEAKY, 0.1), 1, id="panels-not-filled"),
        pytest.param(32, 24, (1, 1), Activation(Function.LEAKY, 0.1), 2, id="pooled"),
        pytest.param(24, 33, (0, 0), Activation(), 1, id="linear-without-padding"),
        pytest.param(264, 48, (1, 1), Activation(Function.SILU), 1, id="long-lines"),
        pytest.param(20, 17, (1, 0), Activation(Function.CLIP, -0.5, 0.5), 2, id="clipped-and-pooled"),
    ],
)
def test_a_whole_convolution_is_what_its_places_are(
    height: int, width: int, channels: int, filters: int, pads: tuple[int, int], activation: Activation, pool: int
) -> None:
    """At every place and nowhere else, whatever tiles hang over the edges of what is read and written."""
    layer = convolution(channels, filters, pads, activation, pool)
    size = Size((height - 2 + 2 * pads[0]) // pool, (width - 2 + 2 * pads[1]) // pool, filters)
    source = np.zeros((height + 2, width + 2, channels), np.float32)
    source[1:-1, 1:-1] = np.random.default_rng(1).normal(size=(height, width, channels))
    bend = int(activation.function), np.float32(activation.low), np.float32(activation.high)
    places = np.arange(size.height * size.width, dtype=np.int32)
    wanted = np.full((size.height + 4, size.width + 4, filters), 7.0, np.float32)
    found = wanted.copy()
    layout = windows(layer, Size(height, width, channels), 1, plain.LANES)
    plain.convolve(
        source, places, size.width, layout, bend, 2, -1.0, wanted, places.copy(), np.zeros(len(places), np.float32),
        np.zeros(0, np.float32), np.zeros(plain.ROOM, np.int64), np.empty(4 * plain.ROOM * filters, np.float32),
    )  # fmt: skip
    tiles = whole(layer, size, 1, compiled)
    inputs, results = (np.full(36 * apart, np.nan, np.float32) for apart in tiles.apart)
    compiled.convolve_whole(source, tiles, bend, 2, found, size.height, size.width, inputs, results)
    scale = float(np.square(wanted[2:-2, 2:-2]).mean() ** 0.5)
    assert np.abs(found - wanted).max() < 1e-4 * scale


def test_large_tiles_are_for_large_convolutions_with_few_weights() -> None:
    """Few tiles do not make up for reading four times as many weights, and many weights are not kept four times."""
    layer = convolution(64, 64, (1, 1), Activation(), 1)
    assert whole_tiled(layer, Size(16, 16, 64))
    assert not whole_tiled(layer, Size(4, 4 * LARGE_FEW - 4, 64))
    assert not whole_tiled(convolution(3, 64, (1, 1), Activation(), 1), Size(64, 64, 64))
    assert not whole_tiled(convolution(512, 512, (1, 1), Activation(), 1), Size(64, 64, 512))


@pytest.fixture(scope="module")
def model() -> VideoModel:
    net = GraphBuilder(5, 3, 40, 56)
    x = net.add("Relu", [net.conv("x", 32, 3, 1)], (32, 40, 56))
    x = net.add("MaxPool", [x], (32, 20, 28), kernel_shape=[2, 2], strides=[2, 2])
    y = net.add("Relu", [net.conv(x, 32, 3, 1)], (32, 20, 28))
    y = net.add("Add", [net.conv(y, 32, 3, 1), x], (32, 20, 28))
    return VideoModel(net.model([net.conv(y, 2, 1, 1)]), net.shape, [net.nodes[-1].output[0]])


def test_a_renewed_frame_is_a_full_run(model: VideoModel) -> None:
    """In outputs, activations and what frames after it are computed from."""
    rng, network, name = np.random.default_rng(0), model.network, model.plan.input
    frame = rng.normal(size=model.shape).astype(np.float32)
    other = rng.normal(size=model.shape).astype(np.float32)
    ours, full = network.state(), network.state()
    network.refresh(full, frame)
    for given in (other, frame):
        network.renew(ours, given)
    assert np.array_equal(ours.frame, frame)
    for each, scale in full.scales.items():
        assert np.abs(ours.kept[each] - full.kept[each]).max() <= 1e-4 * scale
        assert ours.scales[each] == pytest.approx(scale, rel=0.2)
    frame = frame.copy()
    frame[:, 11:19, 20:31] += 1.0
    change = Change(model.shape, model.unit, model.kernels)
    change.find(frame, ours.frame, EXACT)
    network.step(ours, change.take_over(frame, ours.frame, ours.kept[name], network.pads[name]), 1e-6)
    (wanted,) = model.run(frame)
    (found,) = ours.outputs.values()
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_a_renewal_forgets_what_was_let_pass(model: VideoModel) -> None:
    """What is expected of an activation counts from when it was computed last."""
    network, frame = model.network, np.random.default_rng(0).normal(size=model.shape).astype(np.float32)
    state = network.state()
    network.refresh(state, frame)
    change = Change(model.shape, model.unit, model.kernels)
    other = frame.copy()
    other[:, 8:12, 8:12] += 0.1
    change.find(other, state.frame, EXACT)
    places = change.take_over(other, state.frame, state.kept[model.plan.input], network.pads[model.plan.input])
    network.step(state, places, 0.02, care=2.0)
    assert any(debt.any() for debt in state.debts.values())
    network.renew(state, other)
    assert not any(debt.any() for debt in state.debts.values())
