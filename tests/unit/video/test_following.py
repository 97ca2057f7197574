"""What a stream learns from its checks: how coarsely to look, which answers to doubt, and whether it pays at all."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from graphs import GraphBuilder

from likewise.types import Result
from likewise.video.control import ENOUGH, LEVELS, START, Controller
from likewise.video.method import Thresholds
from likewise.video.methods.auto import Auto
from likewise.video.model import VideoModel
from likewise.video.novelty import RATIO, Novelty
from likewise.video.worth import AGAIN, ALLOWANCE, FIRST, Worth

SHAPE = (3, 48, 64)


@pytest.mark.parametrize("epsilon", [0.05, 0.02])
def test_a_coarser_level_takes_as_many_right_answers_as_the_target_asks_for(epsilon: float) -> None:
    """And is not trusted before some of its own were right."""
    controller = Controller(epsilon)
    for _ in range(round(ENOUGH / epsilon)):
        assert controller.level == START
        controller.learn(False)
    assert controller.level == START + 1
    assert controller.risk > epsilon
    for _ in range(10):
        controller.learn(False)
    assert controller.risk <= epsilon


def test_an_error_makes_the_next_answers_doubtful_whatever_the_level_was() -> None:
    """For as long as rows of errors last, not for good."""
    controller = Controller(0.05)
    for _ in range(200):
        controller.learn(False)
    before = controller.level
    controller.learn(True)
    assert controller.level <= before
    assert controller.refresh
    assert controller.risk > 0.2
    for _ in range(40):
        controller.learn(False)
    assert controller.risk <= 0.05


def test_where_fine_levels_see_noise_everywhere_a_coarser_one_is_tried_and_checked() -> None:
    """But no coarser one than the third, and none that was wrong before."""
    controller = Controller(0.02)
    for _ in range(10):
        controller.cut()
    assert controller.level == 3
    assert controller.risk > 0.02
    controller.learn(True)
    assert controller.level == 2
    controller.cut()
    assert controller.level == 2


def test_the_exact_level_is_left_again_after_long() -> None:
    """It may see changes in every frame, so that nothing is ever checked on it."""
    controller = Controller(0.05)
    controller.learn(True)
    assert controller.level == 0
    for _ in range(1000):
        controller.rest()
    assert controller.level == 1


def test_new_answers_bear_most_of_the_risk() -> None:
    """The mean stays what it is."""
    novelty, results = Novelty(), [Result(str(at // 10).encode(), "text/plain") for at in range(2000)]
    risks = [novelty.risk(0.01, each, lambda one, other: one == other) for each in results]
    fresh, same = np.mean(risks[1000::10]), np.mean([risk for at, risk in enumerate(risks) if at > 1000 and at % 10])
    assert fresh == pytest.approx(RATIO * same, rel=0.1)
    assert np.mean(risks[1000:]) == pytest.approx(0.01, rel=0.05)


def test_where_all_answers_are_new_none_is_doubted_more() -> None:
    """As numbers are that differ a little each time."""
    novelty = Novelty()
    for at in range(600):
        risk = novelty.risk(0.01, Result(str(at).encode(), "text/plain"), lambda one, other: one == other)
    assert risk == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize(("part", "checked"), [(1.3, 0.0), (0.5, 1.0), (0.9, 0.3)])
def test_what_never_pays_costs_no_more_than_it_is_allowed(part: float, checked: float) -> None:
    """However often it is tried again. part: of a full run that a frame takes; checked: share that is computed too."""
    worth, spent, tried = Worth(), 0.0, 0
    for at in range(1, 3001):
        if worth.pays:
            tried += 1
            spent += part
            worth.frame(part)
            if (tried * checked) % 1.0 + checked >= 1.0:
                spent += 1.0
                worth.checked()
        else:
            spent += 1.0
            worth.frame(1.0)
        assert spent <= at * (1.0 + ALLOWANCE) + FIRST + AGAIN
    assert 0 < tried < 3000


def test_what_pays_goes_on() -> None:
    """Even where a fifth is checked."""
    worth = Worth()
    for at in range(1000):
        worth.frame(0.4)
        if at % 5 == 0:
            worth.checked()
        assert worth.pays


@pytest.fixture(scope="module")
def model() -> VideoModel:
    net = GraphBuilder(5, *SHAPE)
    x = net.add("Relu", [net.conv("x", 8, 3, 1)], (8, 48, 64))
    model = VideoModel(net.model([net.conv(x, 2, 1, 1)]), SHAPE, [net.nodes[-1].output[0]])
    model.warm()
    model.plain_s = 10.0  # so small a model would always be computed in full
    return model


def test_small_changes_may_be_let_pass_until_they_are_many(model: VideoModel) -> None:
    """A level says how many blocks; what was let pass is computed with the change that is one too many."""
    method = Auto(model, fixed=Thresholds(0.01, 6.0, 2, 1.0, 0.0, skip=0.05))
    rng = np.random.default_rng(0)
    frame = rng.random(SHAPE).astype(np.float32)
    for _ in range(3):
        method.frame(frame)
    works = []
    for at in range(4):  # of 48 blocks one more changes each time
        frame = frame.copy()
        frame[:, :8, 8 * at : 8 * at + 8] = rng.random((3, 8, 8))
        found = method.frame(frame)
        assert found is not None
        works.append(found.work)
    assert works[:2] == [0.0, 0.0]
    assert works[2] > 0.0
    assert works[3] == 0.0
    (wanted,) = model.run(frame)
    assert np.abs(found.outputs[0] - wanted)[..., :8, :16].max() < 0.05 * np.abs(wanted).max()


def test_a_sudden_change_is_answered_by_one_refresh(model: VideoModel) -> None:
    """And what it says is the full run's; a second one at once is left to full runs."""
    method, rng = Auto(model), np.random.default_rng(1)
    frame = rng.random(SHAPE).astype(np.float32)
    for _ in range(12):
        method.frame(frame)
    found = method.frame(1.0 - frame)
    assert found is not None
    assert found.full
    assert np.abs(found.outputs[0] - model.run(1.0 - frame)[0]).max() < 1e-4
    assert method.frame(frame) is None


def test_levels_get_coarser() -> None:
    """In all that says how much of a change is overlooked."""
    for finer, coarser in pairwise(LEVELS):
        assert finer.alpha <= coarser.alpha
        assert finer.pixel <= coarser.pixel
        assert finer.pixels <= coarser.pixels or finer.pixel < coarser.pixel
        assert finer.mean <= coarser.mean
        assert finer.skip <= coarser.skip
