"""Streams: frames of cameras through the pipeline, at the function's budget."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import orjson
import pytest
from graphs import GraphBuilder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from likewise.errors import BadRequest, LateFrame
from likewise.events import Answered
from likewise.features.image_tensor import image_tensor
from likewise.function.assembly import Assembler, Defaults
from likewise.function.function import Function
from likewise.function.preparation_spec import Preparation
from likewise.function.streams import unit_of
from likewise.http import wire
from likewise.inference.workers import Workers
from likewise.journal.memory import MemoryJournal
from likewise.pipeline import Pipeline
from likewise.requests import NO_CONTROL, Answer, Control, Outcome, StreamTag
from likewise.types import Image, Input, Result, Session, Tensor
from likewise.video.method import EXACT
from likewise.video.methods import make
from likewise.video.methods.auto import Auto
from likewise.video.stream import Stream

SPEC = """
[input]
kind = "array"
[model]
[result]
kind = "tensors"
tolerance = [1e-4, 1e-4]
[[keys]]
extractor = "vector"
dimension = 1728
"""
SHAPE = (3, 24, 24)


class Coin:
    """Falls as the test says: 0.0 probes wherever a probe is possible, 0.999 nowhere."""

    def __init__(self) -> None:
        self.next = 0.999

    def __call__(self) -> float:
        return self.next


class Cameras:
    """A function, its pipeline, and a way to send frames."""

    def __init__(self, fn: Function, coin: Coin, told: list[Answered]) -> None:
        self.fn = fn
        self.coin = coin
        self.told = told
        self.pipeline = Pipeline(MemoryJournal(), time.time, 1 << 20)

    async def send(self, frame: np.ndarray, name: str = "cam", **more: int | bool) -> Answer:
        buffer = io.BytesIO()
        np.save(buffer, frame)
        control = Control(stream=StreamTag(name, int(more.get("number", -1)), bool(more.get("drop_late", False))))
        return await self.pipeline.answer(self.fn, "application/x-npy", buffer.getvalue(), control, Session())

    def full(self, frame: np.ndarray) -> bytes:
        computation = self.fn.streams._computation  # type: ignore[union-attr]
        return computation.encode([each[0] for each in computation.model.run(frame[None])]).body


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = GraphBuilder(1, *SHAPE)
    x = net.add("Relu", [net.conv("x", 8, 3, 1)], (8, 24, 24))
    x = net.pool(x, "MaxPool", 2, 2)
    model = net.model([net.conv(x, 2, 1, 1)])
    folder = tmp_path_factory.mktemp("functions") / "cars"
    (folder / "1").mkdir(parents=True)
    (folder / "function.toml").write_text(SPEC)
    (folder / "1" / "model.onnx").write_bytes(model)
    return folder


@pytest.fixture
def cameras(folder: Path) -> Iterator[Cameras]:
    yield from _cameras(folder)


def _cameras(folder: Path, **defaults: int) -> Iterator[Cameras]:
    coin = Coin()
    told: list[Answered] = []
    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(1) as readers:
        assembler = Assembler(Defaults(**defaults), Workers(pool, 2), readers, time.time, coin, [told.append])  # type: ignore[arg-type]
        yield Cameras(assembler.build(folder), coin, told)


def video(seed: int, count: int) -> list[np.ndarray]:
    """Return frames in which a small patch changes each time, far above any threshold."""
    rng = np.random.default_rng(seed)
    frame = rng.random(SHAPE).astype(np.float32)
    found = []
    for _ in range(count):
        y, x = rng.integers(0, 20, 2)
        frame = frame.copy()
        frame[:, y : y + 4, x : x + 4] = rng.random((3, 4, 4))
        found.append(frame)
    return found


def exact(fn: Function) -> None:
    """Let all streams that are open compute without any threshold, however fast a full run of so small a model is."""
    for model in fn.streams._models.values():  # type: ignore[union-attr]
        if model is not None:
            model.plain_s = 10.0
    for stream in fn.streams._store.of(fn.id):  # type: ignore[union-attr]
        if isinstance(stream.method, Auto):
            stream.method._controller.level = 0


async def test_frames_of_a_stream_are_answered_from_what_changed(cameras: Cameras) -> None:
    """The first is computed in full, later ones are hits, and at threshold 0 they are what a full run says."""
    frames = video(1, 8)
    assert (await cameras.send(frames[0])).outcome is Outcome.MISS
    outcomes = []
    for frame in frames[1:]:
        answer = await cameras.send(frame)
        exact(cameras.fn)
        outcomes.append(answer.outcome)
    assert Outcome.HIT in outcomes
    statistics = cameras.fn.statistics()["video"]
    assert isinstance(statistics, dict)
    assert statistics["streams"] == 1
    assert statistics["frames"] == 8
    assert statistics["bytes"] > 0
    assert statistics["taken"] == outcomes.count(Outcome.HIT)


async def test_sinks_and_encoders_have_what_they_have_for_other_requests(cameras: Cameras) -> None:
    """The result that was answered, and the input that a result may refer to."""
    streams = cameras.fn.streams
    assert streams is not None
    encode, seen = streams._computation.encode, []

    def recorded(outputs: Sequence[Tensor], value: Input | None = None) -> Result:
        seen.append(value)
        return encode(outputs, value)

    streams._computation = replace(streams._computation, encode=recorded)
    answers = []
    for frame in video(1, 8):
        answers.append(await cameras.send(frame))
        exact(cameras.fn)
    assert [each.result for each in cameras.told] == [each.result for each in answers]
    assert streams.policy.taken
    assert seen
    assert None not in seen


@pytest.mark.parametrize(
    "fields",
    ['batch = "input"', 'batch = "none"'],
)
async def test_models_that_no_method_knows_are_computed_in_full(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, fields: str
) -> None:
    """With one line that says why."""
    whole = onnx.load(folder / "1" / "model.onnx")
    if "none" in fields:  # picture and outputs without a batch axis
        whole = without_batch(whole)
    other = tmp_path / "cars"
    (other / "1").mkdir(parents=True)
    (other / "function.toml").write_text(SPEC.replace("[model]", f"[model]\n{fields}"))
    onnx.save(whole, other / "1" / "model.onnx")
    for cameras in _cameras(other):
        for frame in video(1, 6):
            answer = await cameras.send(frame)
            if answer.outcome is Outcome.MISS:  # else it came from a near frame's entry
                assert answer.result.body == cameras.full(frame)
        assert cameras.fn.streams is not None
        assert cameras.fn.streams.policy.offers == 0
    assert caplog.text.count("computed in full") == 1
    assert "batch axis" in caplog.text


def without_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model between an Unsqueeze and a Squeeze."""
    graph = model.graph
    given, taken = graph.input[0], graph.output[0]
    shape = [each.dim_value for each in given.type.tensor_type.shape.dim[1:]]
    made = [each.dim_value for each in taken.type.tensor_type.shape.dim[1:]]
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    nodes = [
        helper.make_node("Unsqueeze", ["picture", "axes"], [given.name]),
        *graph.node,
        helper.make_node("Squeeze", [taken.name, "axes"], ["scores"]),
    ]
    info = helper.make_tensor_value_info
    bare = helper.make_graph(
        nodes,
        "bare",
        [info("picture", onnx.TensorProto.FLOAT, shape)],
        [info("scores", onnx.TensorProto.FLOAT, made or None)],
        [*graph.initializer, axes],
    )
    return helper.make_model(bare, opset_imports=model.opset_import, ir_version=model.ir_version)


@pytest.mark.parametrize(
    ("fields", "level"),
    [
        ({}, 1 / 255),
        ({"scale": 1.0}, 1.0),
        ({"scale": 127.5, "std": (2.0,)}, 1 / 255),
        ({"std": (0.5, 1.0, 2.0)}, None),
    ],
)
def test_a_gray_level_is_what_the_preparation_makes_of_it(fields: dict[str, Any], level: float | None) -> None:
    """By channel: what one more in a pixel adds to the tensor."""
    preparation = Preparation(size=(2, 2), **fields)
    prepare = image_tensor((2, 2), 3, 0.0, preparation.std or 1.0, scale=preparation.scale)
    dark, light = (prepare(Image(np.full((2, 2, 3), each, np.uint8))) for each in (100, 101))
    found = unit_of(preparation)
    assert np.allclose(found, (light - dark)[:, 0, 0], rtol=1e-4)
    if level is not None:
        assert np.allclose(found, level)


async def test_a_probe_is_computed_in_full_and_settles_the_budget(cameras: Cameras) -> None:
    """Its reservation comes back, and the stream's controller hears that it was right."""
    frames = video(2, 12)
    for frame in frames[:8]:
        await cameras.send(frame)
        exact(cameras.fn)
    cameras.coin.next = 0.0
    policy = cameras.fn.streams.policy  # type: ignore[union-attr]
    before = policy.probes
    answer = await cameras.send(frames[8])
    assert answer.outcome is Outcome.PROBE
    assert answer.result.body == cameras.full(frames[8])
    assert policy.probes == before + 1
    assert policy.wrong == 0
    assert policy._budget.ledger().reserved == 0.0


@given(seed=st.integers(0, 2**16), counts=st.lists(st.integers(5, 8), min_size=16, max_size=16))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_streams_do_not_mix(folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int, counts: list[int]) -> None:
    """Sixteen cameras at once, each with a scene of its own: every answer is about its own frame, at threshold 0."""
    monkeypatch.setattr(make, "make_method", lambda _, model, epsilon: Auto(model, epsilon, fixed=EXACT))
    scenes = {f"cam-{n}": video(seed + n, count) for n, count in enumerate(counts)}

    async def watch(cameras: Cameras, name: str) -> None:
        for frame in scenes[name]:
            answer = await cameras.send(frame, name)
            exact(cameras.fn)
            if answer.outcome is Outcome.HIT and answer.entry_id < 0:  # else it came from a near frame's entry
                assert _close(answer.result.body, cameras.full(frame))

    async def watch_all(cameras: Cameras) -> None:
        await asyncio.gather(*(watch(cameras, name) for name in scenes))

    for cameras in _cameras(folder):
        asyncio.run(watch_all(cameras))
        assert cameras.fn.streams is not None
        assert cameras.fn.streams.policy.taken > 8


def _close(one: bytes, other: bytes) -> bool:
    first, second = (
        np.concatenate([np.ravel(each["data"]) for each in orjson.loads(body)["outputs"].values()])
        for body in (one, other)
    )
    return bool(np.abs(first - second).max() < 1e-4 * np.abs(second).max())


async def test_late_frames_are_refused_on_request(cameras: Cameras) -> None:
    """A number that was passed already, or a newer frame that waits: 409 with `late=drop`, else a full run."""
    frames = video(3, 4)
    await cameras.send(frames[0], number=5)
    with pytest.raises(LateFrame):
        await cameras.send(frames[1], number=4, drop_late=True)
    late = await cameras.send(frames[1], number=4)
    assert late.outcome is Outcome.MISS
    assert late.result.body == cameras.full(frames[1])


async def test_a_frame_that_is_sent_again_is_no_late_one(cameras: Cameras) -> None:
    """A client without an answer sends number and picture again. Another picture of that number is late."""
    frames = video(3, 2)
    first = await cameras.send(frames[0], number=5, drop_late=True)
    again = await cameras.send(frames[0], number=5, drop_late=True)
    assert again.result.body == first.result.body
    with pytest.raises(LateFrame):
        await cameras.send(frames[1], number=5, drop_late=True)


async def test_a_frame_is_not_overtaken_by_an_older_one() -> None:
    """While one waits for its turn, frames with smaller numbers come, and then one with a larger."""
    stream = Stream()
    answered: list[int] = []

    async def send(number: int) -> None:
        async with stream.turn(StreamTag("cam", number, True), sent=b"%d" % number):
            answered.append(number)

    async with stream.turn(StreamTag("cam", 1, True)):
        waiting = [asyncio.create_task(send(number)) for number in (4, 3, 2, 4, 5)]
        await asyncio.sleep(0)
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [LateFrame] * 4 + [type(None)]
    async with stream.turn(StreamTag("cam", 6, True)):
        waiting = [asyncio.create_task(send(number)) for number in (7, 3, 7)]
        await asyncio.sleep(0)
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), LateFrame, type(None)]
    assert answered == [5, 7, 7]


async def test_state_is_bounded_and_a_lost_stream_starts_anew(folder: Path) -> None:
    """Over the limit the stream not used for longest goes; its next frame is computed in full."""
    for cameras in _cameras(folder, stream_bytes=60_000):
        for name in ("a", "b", "c", "d"):
            for frame in video(4, 6):
                await cameras.send(frame, name)
        store = cameras.fn.streams._store  # type: ignore[union-attr]
        assert store.evictions
        assert store.nbytes <= 60_000
        assert store.nbytes == sum(stream.nbytes for stream in store.of(cameras.fn.id))
        assert (await cameras.send(video(5, 1)[0], "a")).outcome is Outcome.MISS


async def test_no_store_leaves_no_trace(cameras: Cameras) -> None:
    """Such a frame is computed in full, and no stream is opened for it."""
    buffer = io.BytesIO()
    np.save(buffer, video(1, 1)[0])
    control = Control(no_store=True, stream=StreamTag("cam"))
    answer = await cameras.pipeline.answer(cameras.fn, "application/x-npy", buffer.getvalue(), control, None)
    assert answer.outcome is Outcome.BYPASS
    assert not len(cameras.fn.streams._store)  # type: ignore[union-attr]


@given(st.text("abc-:./_", min_size=1, max_size=20), st.integers(0, 10**15 - 1), st.booleans())
@settings(max_examples=50)
def test_the_header_is_read_both_ways(name: str, number: int, drop: bool) -> None:
    """Parameters come in any order; what is neither is refused."""
    text = f"{name}; late=drop ;frame={number}" if drop else f"{name};frame={number}"
    assert wire.stream_tag(text.encode()) == StreamTag(name, number, drop)
    assert wire.with_stream(NO_CONTROL, name.encode()).stream == StreamTag(name)


@pytest.mark.parametrize("text", ["", " ", "cam 1", "cam;frame=-1", "cam;frame=x", "cam;late=keep", "c" * 129, "ü"])
def test_a_bad_header_is_refused(text: str) -> None:
    """With 400; an empty one is none at all."""
    if not text:
        assert wire.with_stream(NO_CONTROL, b"") is NO_CONTROL
        return
    with pytest.raises(BadRequest):
        wire.stream_tag(text.encode("latin-1"))
