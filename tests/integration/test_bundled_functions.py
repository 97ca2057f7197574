"""The functions that come with the product: their files agree, and they are as accurate as their cards say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
import pytest

from likewise.evaluation.own import Subject
from likewise.features.audio_tensor import audio_tensor
from likewise.features.decode import decoder
from likewise.features.image_tensor import image_tensor
from likewise.features.prepare import Prepare
from likewise.function.preparation_spec import Preparation
from likewise.function.spec import FunctionSpec
from likewise.function.spec_text import read_spec
from likewise.results.box_rows import iou
from likewise.types import Image
from likewise.workloads import Sample, open_workload
from likewise.workloads.sign_names import SIGN_NAMES
from likewise.workloads.videos import find_videos, read_video

FUNCTIONS = Path(__file__).parents[2] / "functions"
NAMES = ("digits", "speech", "signs")
"""Those that give labels."""
ALL = (*NAMES, "roads")
DATA = os.environ.get("LIKEWISE_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="LIKEWISE_DATA names no folder with the public sets")


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def preparation(kind: str, table: Preparation) -> Prepare:
    if kind == "audio":
        assert table.sample_rate is not None
        assert table.seconds is not None
        return audio_tensor(table.sample_rate, table.seconds)
    assert table.size is not None
    return image_tensor(table.size, table.channels, table.mean or 0.0, table.std or 1.0)


def tensors(spec: FunctionSpec, table: Preparation, stream: Sequence[Sample]) -> np.ndarray:
    decode, prepare = decoder(spec.input.kind), preparation(spec.input.kind, table)
    return np.stack([prepare(decode(sample.media_type, sample.body)) for sample in stream])


def outputs(path: Path, inputs: np.ndarray) -> np.ndarray:
    model = session(path)
    return np.concatenate([model.run(None, {"input": inputs[i : i + 64]})[0] for i in range(0, len(inputs), 64)])


def accuracy(name: str, stream: Sequence[Sample]) -> float:
    spec, version = read_spec(FUNCTIONS / name)
    folder = FUNCTIONS / name / str(version)
    labels = (folder / "labels.txt").read_text().splitlines()
    assert spec.model is not None
    logits = outputs(folder / spec.model.file, tensors(spec, spec.model, stream))
    found = [labels[i] for i in logits.argmax(1)]
    return float(np.mean([a == sample.truth for a, sample in zip(found, stream, strict=True)]))


@pytest.mark.parametrize("name", NAMES)
def test_the_model_matches_its_spec_and_labels(name: str) -> None:
    """A batch of any size, prepared as the spec says, gives one finite logit per label."""
    spec, version = read_spec(FUNCTIONS / name)
    folder = FUNCTIONS / name / str(version)
    labels = (folder / "labels.txt").read_text().splitlines()
    assert spec.model is not None
    model = session(folder / spec.model.file)
    batch, *shape = model.get_inputs()[0].shape
    assert batch == "batch"
    for n in (1, 3):
        logits = model.run(None, {"input": np.zeros((n, *shape), np.float32)})[0]
        assert logits.shape == (n, len(labels))
        assert np.isfinite(logits).all()
    assert (folder / spec.model.file).stat().st_size <= 12 * 2**20


@pytest.mark.parametrize("name", ALL)
def test_each_answer_of_a_batch_is_that_of_the_input_alone(name: str) -> None:
    """Batching changes nothing: no input sees its neighbors."""
    spec, version = read_spec(FUNCTIONS / name)
    assert spec.model is not None
    model = session(FUNCTIONS / name / str(version) / spec.model.file)
    shape = model.get_inputs()[0].shape[1:]
    inputs = np.random.default_rng(0).uniform(-0.5, 0.5, (4, *shape)).astype(np.float32)
    together = model.run(None, {"input": inputs})[0]
    alone = np.concatenate([model.run(None, {"input": one[None]})[0] for one in inputs])
    np.testing.assert_allclose(together, alone, atol=1e-3)


def unit_rows(keys: np.ndarray) -> np.ndarray:
    """Return keys, shape (n, d), at norm 1, as the server makes them."""
    return keys / np.linalg.norm(keys, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["digits", "signs"])
def test_trained_keys_ignore_the_light(name: str) -> None:
    """Half the brightness leaves the key where it was; a picture of one color still has a key."""
    spec, version = read_spec(FUNCTIONS / name)
    key = spec.keys[0]
    assert key.file is not None
    model = session(FUNCTIONS / name / str(version) / key.file)
    shape = model.get_inputs()[0].shape[1:]
    inputs = np.random.default_rng(0).uniform(0, 1, (3, *shape)).astype(np.float32)
    bright, dark, flat = (
        unit_rows(model.run(None, {"input": x.astype(np.float32)})[0])
        for x in (inputs, inputs / 2, np.ones_like(inputs))
    )
    assert ((bright * dark).sum(1) > 0.99).all()
    assert ((bright[:1] * bright[1:]).sum(1) < 0.99).all()
    np.testing.assert_allclose(np.linalg.norm(flat, axis=1), 1, atol=1e-4)


def test_labels_are_those_of_the_streams() -> None:
    """What a stream calls true is spelled as the function answers it."""
    labels = {name: (FUNCTIONS / name / "1" / "labels.txt").read_text().splitlines() for name in NAMES}
    assert labels["digits"] == labels["speech"] == [str(i) for i in range(10)]
    assert labels["signs"] == list(SIGN_NAMES)


@pytest.mark.parametrize("name", ALL)
def test_every_model_has_a_card(name: str) -> None:
    """The card says what it was trained on, what was held out, how good, how large and how dear it is."""
    card = (FUNCTIONS / name / "MODEL_CARD.md").read_text()
    for heading in ("## Data", "## Split", "## Accuracy", "## Cost", "## Terms"):
        assert heading in card


def test_digits_are_read_on_the_half_not_trained_on() -> None:
    """At least 97 % of 898 photographs."""
    stream = open_workload("digits", held_out_only=True).stream(None, 7, 8)
    assert accuracy("digits", stream) >= 0.97


@needs_data
def test_speech_is_understood_on_the_half_not_trained_on() -> None:
    """At least 96 % of every other recording."""
    stream = open_workload("speech", Path(DATA or ""), held_out_only=True).stream(None, 0, 8)
    assert accuracy("speech", stream) >= 0.96


@needs_data
def test_signs_are_recognized_on_tracks_not_trained_on() -> None:
    """At least 96 % of photographs of every other track, as they are."""
    stream = open_workload("signs-cold", Path(DATA or "")).stream(4000, 0, 8)
    assert accuracy("signs", stream) >= 0.96


def vehicles(frame: np.ndarray) -> list[list[float]]:
    """Return the boxes that the detector finds in a frame, in fractions of it."""
    subject = Subject(FUNCTIONS, "roads")
    computation, value = subject.computation, Image(frame)
    assert computation is not None
    outputs = computation.model.run(np.ascontiguousarray(computation.prepare(value))[None])
    found = orjson.loads(computation.encode([output[0] for output in outputs], value).body)["boxes"]
    assert all(each["label"] == "vehicle" for each in found)
    return [each["box"] for each in found]


def test_the_detector_is_small_and_sees_nothing_where_nothing_is() -> None:
    """At most a megabyte; a road without markings has no vehicles."""
    assert (FUNCTIONS / "roads" / "1" / "model.onnx").stat().st_size <= 2**20
    assert vehicles(np.full((240, 320, 3), 90, np.uint8)) == []


@needs_data
@pytest.mark.parametrize(
    ("video", "at", "box"),
    [
        pytest.param("highway", 285, None, id="empty road"),
        pytest.param("highway", 300, (0.19, 0.11, 0.55, 0.47), id="large"),
        pytest.param("highway", 318, (0.69, 0.22, 0.82, 0.40), id="middle"),
        pytest.param("highway", 335, (0.86, 0.24, 0.96, 0.37), id="small"),
        pytest.param("cars", 300, None, id="empty yard"),
        pytest.param("cars", 322, (0.21, 0.0, 0.43, 0.37), id="entering"),
        pytest.param("cars", 338, (0.15, 0.36, 0.4, 1.0), id="leaving"),
    ],
)
def test_vehicles_are_found_where_a_person_sees_them(
    video: str, at: int, box: tuple[float, float, float, float] | None
) -> None:
    """In frames of the last third of each video, which nothing was trained on."""
    *_, frame = read_video(find_videos(Path(DATA or ""))[video], at + 1)
    found = vehicles(frame)
    assert len(found) == (box is not None)
    if box is not None:
        assert iou(np.array(found), np.array([box]))[0, 0] > 0.6
