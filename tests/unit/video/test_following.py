"""What a stream learns from its checks: how coarsely to look, which answers to doubt, and whether it pays at all."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import numpy as np
import pytest
from frames import SHAPE, answered, changed, scene
from graphs import GraphBuilder

from likewise.types import Result
from likewise.video.control import ENOUGH, LEVELS, MOST_PATIENCE, START, Controller
from likewise.video.method import Thresholds
from likewise.video.methods.auto import Auto
from likewise.video.model import VideoModel
from likewise.video.novelty import RATIO, Novelty
from likewise.video.worth import AGAIN, ALLOWANCE, FIRST, Worth


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
    """It may see changes in every frame, and noise all over the picture, so that nothing is ever checked on it."""
    controller = Controller(0.05)
    controller.learn(True)
    assert controller.level == 0
    for _ in range(MOST_PATIENCE // 2):
        controller.rest()
        controller.cut()
        controller.rest()
    assert controller.level == 1


def test_frames_that_were_not_checked_are_no_evidence_for_a_coarser_level() -> None:
    """However many the exact level left to full runs or renewed: one right answer after them does not end it."""
    controller = Controller(0.05)
    controller.learn(True)
    for _ in range(MOST_PATIENCE - 1):
        controller.rest()
    controller.learn(False)
    assert controller.level == 0


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
def built() -> VideoModel:
    net = GraphBuilder(5, *SHAPE)
    x = net.add("Relu", [net.conv("x", 8, 3, 1)], (8, 48, 64))
    model = VideoModel(net.model([net.conv(x, 2, 1, 1)]), SHAPE, [net.nodes[-1].output[0]])
    model.warm()
    return model


@pytest.fixture
def model(built: VideoModel) -> VideoModel:
    built.plain_s = 10.0  # so small a model would always be computed in full
    built.renewal_runs = inf
    return built


LEVEL = Thresholds(0.01, 6.0, 2, 8.0, 0.0, skip=0.05, drift=1.0)


def following(model: VideoModel, frame: np.ndarray, level: Thresholds = LEVEL) -> Auto:
    """Return a method that computes in part: frames were much like each other, and not enough so for one answer."""
    method = Auto(model, fixed=level)
    for given in (frame, changed(frame, range(20, 25)), frame):
        assert answered(method, given).full
    return method


def test_small_changes_may_be_let_pass_until_they_are_many(model: VideoModel) -> None:
    """As many as the level says, since the frame that was answered; to save a full run more than part of one."""
    frame = scene()
    method = Auto(model, fixed=LEVEL)
    assert answered(method, frame).full
    works = [answered(method, changed(frame, range(at))).work for at in (0, 1, 2)]
    assert works == [0.0, 0.0, 0.0]
    assert answered(method, changed(frame, range(3))).full
    assert 0.0 < answered(following(model, frame), changed(frame, range(1))).work < 1.0


def test_what_is_computed_in_part_is_nearly_the_full_run(model: VideoModel) -> None:
    """Where a tenth of the blocks changed."""
    frame = scene()
    method = following(model, frame)
    given = changed(frame, range(4, 9))
    found = answered(method, given)
    assert 0.0 < found.work < 1.0
    (wanted,) = model.run(given)
    assert np.abs(found.outputs[0] - wanted).max() < 0.05 * np.abs(wanted).max()


def test_frames_that_are_alike_need_no_state(model: VideoModel) -> None:
    """A camera at rest keeps one picture with its answer, and no activations."""
    frame = scene()
    method = Auto(model)
    outputs = answered(method, frame).outputs
    for _ in range(100):
        found = answered(method, frame)
        assert found.work == 0.0
        assert found.outputs is outputs
    assert method.nbytes == frame.nbytes + outputs[0].nbytes


def test_other_light_is_computed_in_full(model: VideoModel) -> None:
    """By little in every block: no block has changed by itself, and all of the picture has."""
    frame = scene()
    for method in (Auto(model, fixed=LEVEL), following(model, frame)):
        answered(method, frame)
        assert answered(method, frame + np.float32(0.7 / 255)).work == 0.0
        found = answered(method, frame + np.float32(1.5 / 255))
        assert found.full
        assert answered(method, frame + np.float32(2.0 / 255)).work == 0.0


def test_the_same_answer_is_not_given_for_ever(model: VideoModel) -> None:
    """Where the frame is not the very same."""
    frame = scene()
    method = Auto(model, fixed=LEVEL, refresh_every=5)
    answered(method, frame)
    assert [answered(method, changed(frame, range(1))).full for _ in range(6)] == [False] * 5 + [True]


@pytest.mark.parametrize("moving", [False, True])
def test_after_a_wrong_answer_all_is_computed(model: VideoModel, moving: bool) -> None:
    """Whatever the next frame shows, were it the very one that is stored: what was computed in part may be wrong."""
    frame = scene()
    method = following(model, frame) if moving else Auto(model, fixed=LEVEL)
    given = changed(frame, range(4))
    assert answered(method, given).full != moving
    assert answered(method, given).work == 0.0
    method.learn(True)
    found = answered(method, given)
    assert found.full
    assert np.abs(found.outputs[0] - model.run(given)[0]).max() < 1e-4
    assert answered(method, given).work == 0.0


def test_full_runs_are_no_reason_to_look_more_coarsely() -> None:
    """Only answers that were checked are, but for the exact level."""
    controller = Controller(0.05)
    for _ in range(1000):
        controller.rest()
    controller.learn(False)
    assert controller.level == START


def test_a_stretch_that_was_not_worth_it_is_tried_again_later(model: VideoModel) -> None:
    """After two calm frames at first, then after four in a row, and eight."""
    frame = scene()
    method = Auto(model, fixed=LEVEL)
    frames = [changed(frame, range(5)), changed(frame, range(5, 10))]
    answered(method, frame)
    waited = []
    for _ in range(3):
        full = 0
        while answered(method, frames[(full + 1) % 2]).full:
            full += 1
        waited.append(full)
        frames = [each + np.float32(2.0 / 255) for each in frames]
        assert answered(method, frames[0]).full
    assert waited == [2, 4, 8]


def test_a_sudden_change_is_answered_by_a_full_run(model: VideoModel) -> None:
    """And what it says is the full run's; a second one at once is left to full runs."""
    frame = scene()
    method = following(model, frame)
    answered(method, frame)
    found = answered(method, 1.0 - frame)
    assert found.full
    assert np.abs(found.outputs[0] - model.run(1.0 - frame)[0]).max() < 1e-4
    assert method.frame(frame) is None


def test_after_a_sudden_change_answers_are_doubted(model: VideoModel) -> None:
    """Also where nothing was computed in part: what was checked before was another picture."""
    frame, method = scene(), Auto(model)
    answered(method, frame)
    for _ in range(15):
        method.learn(False)
    before = method.risk
    assert method.frame(1.0 - frame) is None
    assert method.risk > before


def test_levels_get_coarser() -> None:
    """In all that says how much of a change is overlooked."""
    for finer, coarser in pairwise(LEVELS):
        assert finer.alpha <= coarser.alpha
        assert finer.pixel <= coarser.pixel
        assert finer.pixels <= coarser.pixels or finer.pixel < coarser.pixel
        assert finer.mean <= coarser.mean
        assert finer.skip <= coarser.skip
        assert finer.drift <= coarser.drift
