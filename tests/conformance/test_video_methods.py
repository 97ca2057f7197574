"""Every video method against the full run."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import GraphBuilder

from likewise.errors import InvalidValue
from likewise.video.method import Frame, Method
from likewise.video.methods.make import METHODS, make_method
from likewise.video.model import VideoModel

SHAPE = (3, 48, 64)


@pytest.fixture(scope="module")
def built() -> VideoModel:
    net = GraphBuilder(5, *SHAPE)
    x = net.add("Relu", [net.conv("x", 8, 3, 1)], (8, 48, 64))
    x = net.pool(x, "MaxPool", 2, 2)
    y = net.conv(net.add("Relu", [net.conv(x, 8, 3, 1)], net.sizes[x]), 8, 3, 1)
    x = net.add("Relu", [net.add("Add", [x, y], net.sizes[x])], net.sizes[x])
    content = net.model([net.conv(x, 2, 1, 1)])
    model = VideoModel(content, SHAPE, [net.nodes[-1].output[0]])
    model.warm()
    return model


@pytest.fixture
def model(built: VideoModel) -> VideoModel:
    built.plain_s = 10.0  # so small a model would always be computed in full
    return built


def played(method: Method, given: np.ndarray) -> Frame | None:
    """Return what a method makes of a frame, as a stream asks for it."""
    return None if method.passes() else method.frame(given)


@pytest.fixture
def scene() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.random((3, 12, 16)).astype(np.float32)
    return np.ascontiguousarray(np.repeat(np.repeat(coarse, 4, 1), 4, 2))


def with_patch(scene: np.ndarray, at: int) -> np.ndarray:
    frame = scene.copy()
    frame[:, 16:28, at : at + 12] = 1.0 - scene[:, 16:28, at : at + 12]
    return frame


def error(model: VideoModel, frame: np.ndarray, outputs: tuple[np.ndarray, ...]) -> float:
    """Return the largest difference from the full run, over its root mean square."""
    (wanted,) = model.run(frame)
    return float(np.abs(outputs[0] - wanted).max() / np.sqrt(np.square(wanted).mean()))


@pytest.mark.parametrize("name", METHODS)
def test_the_first_answer_and_still_frames_are_the_full_run(model: VideoModel, scene: np.ndarray, name: str) -> None:
    """Whatever a method does, where nothing changed its answer is the full run's, and soon costs nothing."""
    method = make_method(name, model)
    works = []
    for _ in range(6):
        frame = played(method, scene)
        if frame is not None:
            assert error(model, scene, frame.outputs) < 1e-5
            works.append(frame.work)
    assert min(works) == 0.0
    assert method.nbytes > 0
    assert not method.masks().any() or name == "keyframe"


@pytest.mark.parametrize("name", METHODS)
def test_a_moving_patch_is_followed(model: VideoModel, scene: np.ndarray, name: str) -> None:
    """Answers stay near the full run's, for less than its work or at most that of a refresh each time."""
    method = make_method(name, model)
    works = []
    for step in range(12):
        given = with_patch(scene, 4 * step)
        frame = played(method, given)
        if frame is None:
            continue
        if frame.full:
            assert error(model, given, frame.outputs) < 1e-5
        limit = 6.0 if name in ("skip", "keyframe", "deepcache") else 1.0
        assert error(model, given, frame.outputs) < limit
        works.append(frame.work)
    assert works
    assert np.mean(works) <= 1.0


@pytest.mark.parametrize("name", METHODS)
def test_a_cut_is_noticed(model: VideoModel, scene: np.ndarray, name: str) -> None:
    """Another scene altogether: computed as a whole, or left to a full run."""
    method = make_method(name, model)
    for _ in range(3):
        played(method, scene)
    other = np.ascontiguousarray(1.0 - scene[:, ::-1])
    frames = [played(method, other) for _ in range(2)]
    limit = 4.0 if name == "deepcache" else 0.5  # it finds blocks elsewhere that are a little like the new ones
    assert frames[-1] is None or error(model, other, frames[-1].outputs) < limit


@pytest.mark.parametrize("name", METHODS)
def test_wrong_answers_raise_the_risk(model: VideoModel, scene: np.ndarray, name: str) -> None:
    """What was checked and found wrong is expected to happen again, right answers make it less so."""
    method = make_method(name, model)
    before = method.risk
    for _ in range(40):
        method.learn(False)
    calm = method.risk
    assert 0.0 < calm <= before < 1.0
    method.learn(True)
    assert method.risk > 0.0


def test_an_unknown_method_is_refused(model: VideoModel) -> None:
    """By name, with those that there are."""
    with pytest.raises(InvalidValue, match="cbinfer"):
        make_method("magic", model)


def test_who_passes_is_not_shown_the_frame(model: VideoModel, scene: np.ndarray) -> None:
    """Where all changes every time, most frames are not even looked at, and so soon as it is calm it begins again."""
    method, rng = make_method("auto", model), np.random.default_rng(3)
    looked = 0
    for _ in range(60):
        given = rng.random(SHAPE).astype(np.float32)
        if not method.passes():
            looked += 1
            method.frame(given)
    assert looked < 30
    assert any(played(method, scene) is not None for _ in range(80))
