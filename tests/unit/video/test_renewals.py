"""Frames computed as a whole by the executor where that takes less than a full run: when, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from frames import SHAPE, answered, changed, scene
from graphs import GraphBuilder

from likewise.video.control import LEVELS, MOST_PATIENCE, START
from likewise.video.method import EXACT, Frame, Thresholds
from likewise.video.methods.auto import RENEWAL, ROUNDING, Auto
from likewise.video.model import VideoModel

LEVEL = Thresholds(0.01, 6.0, 2, 8.0, 0.0, skip=0.05, drift=1.0)


@dataclass
class Clock:
    """Stands still: what anything takes is what it is said to take."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def model() -> VideoModel:
    net = GraphBuilder(5, *SHAPE)
    x = net.add("Relu", [net.conv("x", 32, 3, 1)], (32, 48, 64))
    x = net.add("Relu", [net.conv(x, 32, 3, 1)], (32, 48, 64))
    model = VideoModel(net.model([net.conv(x, 2, 1, 1)]), SHAPE, [net.nodes[-1].output[0]], clock=Clock())
    model.warm()
    model.plain_s, model.renewal_runs = 10.0, 0.6
    return model


def right(model: VideoModel, found: Frame, given: np.ndarray) -> bool:
    """Say whether an answer is the full run's but for rounding."""
    (wanted,) = model.run(given)
    return bool(np.abs(found.outputs[0] - wanted).max() <= 1e-4 * np.abs(wanted).max())


def test_what_was_a_full_run_is_a_renewal(model: VideoModel) -> None:
    """In other light, after a sudden change, and while all moves: an offer that is the full run's but for rounding."""
    frame = scene()
    method = Auto(model, fixed=LEVEL)
    assert answered(method, frame).full
    for given in (frame + np.float32(2.0 / 255), 1.0 - frame, frame, changed(frame, range(30))):
        found = answered(method, given)
        assert (found.full, found.work) == (False, 1.0)
        assert right(model, found, given)


def test_a_small_change_is_computed_in_part_at_once(model: VideoModel) -> None:
    """From a renewal on, as all activations are there; and a large one not, as it would take longer than another."""
    frame = scene()
    method = Auto(model, fixed=LEVEL)
    answered(method, frame)
    answered(method, 1.0 - frame)
    assert 0.0 < answered(method, changed(1.0 - frame, range(3))).work < 1.0
    assert answered(method, changed(1.0 - frame, range(20, 35))).work == 1.0


def test_stretches_end_with_a_renewal(model: VideoModel) -> None:
    """After as many frames in part as a refresh would follow."""
    frames = [changed(scene(), range(at, at + 3)) for at in (0, 10, 20, 30)]
    method = Auto(model, fixed=LEVEL, refresh_every=2)
    answered(method, frames[0])
    works = [answered(method, frames[at % 4]).work == 1.0 for at in range(1, 8)]
    assert works == [True, False, False, True, False, False, True]


def renewed(model: VideoModel) -> Auto:
    """Return a method under a target of .95 whose last answer is a renewal's."""
    method = Auto(model, 0.05)
    answered(method, scene())
    answered(method, scene() + np.float32(2.0 / 255))
    return method


def test_a_renewal_says_nothing_of_thresholds(model: VideoModel) -> None:
    """It is hardly doubted, also where what is computed in part is; that it was right makes no level coarser."""
    frame, method = scene(), renewed(model)
    method.learn(False)
    before = method.thresholds
    for at in range(60):
        answered(method, frame if at % 2 else 1.0 - frame)
        assert method.risk <= ROUNDING
        method.learn(False)
    assert answered(method, changed(frame, range(3))).work < 1.0
    assert method.risk > 0.05
    assert LEVELS.index(method.thresholds) <= LEVELS.index(before) + 2  # as cuts alone have it


def test_a_model_whose_renewals_are_wrong_is_doubted(model: VideoModel) -> None:
    """One whose answers hang on the last digits; and its thresholds are left as they are."""
    frame, method = scene(), renewed(model)
    method.learn(True)
    assert method.thresholds == LEVELS[START]
    answered(method, frame - np.float32(2.0 / 255))
    assert method.risk > 0.05


def test_after_a_wrong_answer_all_is_renewed(model: VideoModel) -> None:
    """Whatever the next frame shows, were it the very one that is stored."""
    frame = scene()
    method = Auto(model, fixed=LEVEL)
    answered(method, frame)
    answered(method, 1.0 - frame)
    given = changed(1.0 - frame, range(3))
    answered(method, given)
    method.learn(True)
    found = answered(method, given)
    assert found.work == 1.0
    assert right(model, found, given)
    assert answered(method, given).work == 0.0


@pytest.mark.parametrize("level", [LEVEL, EXACT])
def test_full_runs_are_made_where_renewals_may_not_be(model: VideoModel, level: Thresholds) -> None:
    """Where they cost too much, and at thresholds of zero, as they round otherwise."""
    method, costs = Auto(model, fixed=level), model.renewal_runs
    model.renewal_runs = costs if level is EXACT else RENEWAL + 0.01
    try:
        answered(method, scene())
        assert answered(method, changed(scene(), range(3))).full
    finally:
        model.renewal_runs = costs


def test_a_stream_that_allows_no_change_is_renewed_and_tries_a_coarser_level_some_day(model: VideoModel) -> None:
    """Where what was computed in part was wrong at the finest level that lets anything pass."""
    frame = scene()
    method = Auto(model, 0.05)
    answered(method, frame)
    answered(method, 1.0 - frame)
    for blocks in (range(3), range(6, 9)):
        assert answered(method, changed(1.0 - frame, blocks)).work < 1.0
        method.learn(True)
        assert answered(method, 1.0 - frame).work == 1.0
    assert method.thresholds is EXACT
    for at in range(MOST_PATIENCE - 1):
        assert method.thresholds is EXACT
        assert answered(method, 1.0 - frame if at % 2 else frame).work == 1.0
        assert method.risk <= ROUNDING
    assert method.thresholds is LEVELS[1]
