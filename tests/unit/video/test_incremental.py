"""The executor against the full run, over random graphs of all operators, with both kinds of helpers."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from graphs import random_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.video import compiled, plain
from likewise.video.change import Change
from likewise.video.method import EXACT, Thresholds
from likewise.video.model import VideoModel

HELPERS = [pytest.param(compiled, id="numba"), pytest.param(plain, id="numpy")]


def nearly(one: np.ndarray, other: np.ndarray, times: float = 1.0) -> bool:
    """Say whether two outputs agree to 1e-6 of what is in them, or the few last bits of a deep network."""
    scale = max(float(np.abs(other).max()), 1e-3)
    return bool(np.abs(one - other).max() <= times * 4e-6 * scale)


def frames(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> list[np.ndarray]:
    """Return frames in which a patch changes each time."""
    frame = rng.normal(size=shape).astype(np.float32)
    found = [frame]
    for _ in range(count - 1):
        frame = frame.copy()
        _, height, width = shape
        y, x = rng.integers(0, height), rng.integers(0, width)
        patch = frame[:, y : y + 6, x : x + 6]
        patch += rng.normal(size=patch.shape).astype(np.float32)
        found.append(frame)
    return found


@pytest.mark.parametrize("helpers", HELPERS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_threshold_zero_is_the_full_run(helpers: ModuleType, seed: int) -> None:
    """Every frame has the outputs that a full run has, after any number of others, and after a refresh."""
    content, shape, outputs = random_graph(seed)
    model = VideoModel(content, shape, outputs, helpers=helpers)
    assert model.plan.layers
    state = model.network.state()
    change = Change(model.shape, model.unit, helpers)
    rng = np.random.default_rng(seed)
    for number, frame in enumerate(frames(rng, shape, 4)):
        if number == 0:
            model.network.refresh(state, frame)
        else:
            change.find(frame, state.frame, EXACT)
            name = model.plan.input
            places = change.take_over(frame, state.frame, state.kept[name], model.network.pads[name])
            model.network.step(state, places, 0.0)
        assert np.array_equal(state.frame, frame)
        for name, wanted in zip(outputs, model.run(frame), strict=True):
            assert state.outputs[name].shape == wanted.shape
            assert nearly(state.outputs[name], wanted), (number, name)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_thresholded_input_is_what_counts(seed: int) -> None:
    """At alpha 0 the outputs are those of a full run on the frame as it is stored, whatever the input's threshold."""
    content, shape, outputs = random_graph(seed)
    model = VideoModel(content, shape, outputs, unit=0.01)
    state = model.network.state()
    change = Change(model.shape, model.unit, model.kernels)
    thresholds = Thresholds(0.0, 60.0, 3, 1e9)
    first, *rest = frames(np.random.default_rng(seed), shape, 4)
    model.network.refresh(state, first)
    for frame in rest:
        change.find(frame, state.frame, thresholds)
        name = model.plan.input
        places = change.take_over(frame, state.frame, state.kept[name], model.network.pads[name])
        model.network.step(state, places, 0.0)
        for name, wanted in zip(outputs, model.run(state.frame), strict=True):
            assert nearly(state.outputs[name], wanted)


def test_nothing_changed_computes_nothing() -> None:
    """A frame like the one before costs no multiply-adds and keeps the very outputs."""
    content, shape, outputs = random_graph(3)
    model = VideoModel(content, shape, outputs)
    state = model.network.state()
    frame = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    model.network.refresh(state, frame)
    before = dict(state.outputs)
    assert model.network.step(state, np.zeros(0, np.int32), 0.1) == 0
    assert all(state.outputs[name] is before[name] for name in outputs)
