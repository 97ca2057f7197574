"""What every feature extractor keeps, and what each is good for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import InvalidFunction, InvalidValue, ModelFailed
from likewise.features.decode import decoder
from likewise.features.image_tensor import image_tensor
from likewise.features.make import EXTRACTORS, make_extractor
from likewise.features.vector import unit
from likewise.types import Array, Audio, Image, Input

IMAGE = {"gray": 144, "color": 192, "dct": 63, "hog": 432}
AUDIO = {"mfcc": 104, "logmel": 160}


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize(("name", "dimension"), [*IMAGE.items(), *AUDIO.items()])
def test_keys_have_their_dimension_and_norm(
    name: str, dimension: int, metric: str, picture: NDArray[np.uint8], tone: NDArray[np.float32]
) -> None:
    """Float32, contiguous, finite, unit norm for cosine; the same input gives the same key; flat input works."""
    kind = "image" if name in IMAGE else "audio"
    extract = make_extractor(name, kind, metric)
    assert extract.dimension == dimension
    values: list[Input] = [Image(picture), Image(np.zeros((1, 1, 3), np.uint8)), Image(picture[:, :, 0].copy())]
    if kind == "audio":
        values = [Audio(tone, 8000), Audio(np.zeros(1, np.float32), 8000), Audio(tone, 44100)]
    for value in values:
        key = extract(value)
        assert key.shape == (dimension,)
        assert key.dtype == np.float32
        assert key.flags.c_contiguous
        assert np.isfinite(key).all()
        assert np.array_equal(key, extract(value))
    if metric == "cosine":
        assert np.linalg.norm(extract(values[0])) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", IMAGE)
def test_an_alike_picture_is_nearer_than_another(name: str, picture: NDArray[np.uint8]) -> None:
    """A little more light moves the key less than another picture does."""
    extract = make_extractor(name, "image")
    key = extract(Image(picture))
    brighter = extract(Image(np.clip(picture.astype(int) * 1.1 + 6, 0, 255).astype(np.uint8)))
    other = extract(Image(np.ascontiguousarray(picture[::-1, ::-1])))
    assert np.linalg.norm(key - brighter) < 0.5 * np.linalg.norm(key - other)


@pytest.mark.parametrize("name", AUDIO)
def test_a_louder_sound_is_nearer_than_another(name: str, tone: NDArray[np.float32]) -> None:
    """Loudness moves the key less than another course of pitch does."""
    extract = make_extractor(name, "audio")
    key, louder = extract(Audio(tone, 8000)), extract(Audio(tone * np.float32(1.5), 8000))
    other = extract(Audio(np.ascontiguousarray(tone[::-1]), 8000))
    assert np.linalg.norm(key - louder) < 0.5 * np.linalg.norm(key - other)


def test_hog_tells_orientations_apart() -> None:
    """Stripes across and stripes down have keys far apart, whatever their colors."""
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[::8] = stripes[1::8] = stripes[2::8] = 200
    extract = make_extractor("hog", "image", color_weight=0.0)
    across = extract(Image(stripes))
    down = extract(Image(np.ascontiguousarray(stripes.transpose(1, 0, 2))))
    assert float(across @ down) < 0.2
    assert float(across @ extract(Image(np.ascontiguousarray(255 - stripes)))) > 0.95


def test_vectors_are_checked() -> None:
    """An array is the key if it has the dimension and is finite."""
    extract = make_extractor("vector", "array", "l2", dimension=4)
    assert extract(Array(np.arange(4).reshape(2, 2))).tolist() == [0, 1, 2, 3]
    assert make_extractor("vector", "array", dimension=2)(Array(np.array([3, 4]))) == pytest.approx([0.6, 0.8])
    for wrong, message in (
        (np.ones(5), "5 numbers and this function takes 4"),
        (np.array([1, 2, 3, np.nan]), "NaN"),
        (np.array([1, 2, 3, -np.inf]), "infinity"),
        (np.full(4, 1e300), "beyond 1e15"),
        (np.full(4, 1e30), "beyond 1e15"),
    ):
        with pytest.raises(InvalidValue, match=message):
            extract(Array(wrong))


def test_unit_keeps_zero_at_zero() -> None:
    """A zero key has no direction, and stays what it is."""
    assert unit(np.zeros(3, np.float32)).tolist() == [0, 0, 0]
    assert unit(np.array([0, -2], np.float32)).tolist() == [0, -1]


def test_a_network_gives_the_key(picture: NDArray[np.uint8]) -> None:
    """The prepared input goes in; what comes out is checked and brought to unit norm."""

    def extractor(run: Callable[[Any], Any], metric: str = "cosine") -> Any:
        return make_extractor("onnx", "image", metric, run=run, prepare=image_tensor((8, 6), 1), dimension=48)

    plain = extractor(lambda one: one.reshape(48) * 2, "l2")(Image(picture))
    assert np.array_equal(plain, image_tensor((8, 6), 1)(Image(picture)).ravel() * 2)
    assert np.array_equal(extractor(lambda one: one.reshape(48))(Image(picture)), unit(plain))
    assert extractor(lambda one: one).dimension == 48
    with pytest.raises(ModelFailed, match="24 numbers where 48"):
        extractor(lambda one: one.reshape(48)[::2])(Image(picture))
    with pytest.raises(ModelFailed, match="NaN"):
        extractor(lambda one: np.full(48, np.nan))(Image(picture))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"name": "sift", "kind": "image"}, "use one of gray", id="name"),
        pytest.param({"name": "hog", "kind": "audio"}, "takes no audio; use one of mfcc", id="kind"),
        pytest.param({"name": "hog", "kind": "image", "metric": "l1"}, "cosine, l2", id="metric"),
        pytest.param({"name": "hog", "kind": "image", "cells": 3}, "wrong options", id="option"),
        pytest.param({"name": "vector", "kind": "array"}, "wrong options", id="missing"),
        pytest.param({"name": "vector", "kind": "array", "dimension": 0}, "dimension", id="dimension"),
        pytest.param({"name": "mfcc", "kind": "audio", "coefficients": 30}, "coefficients", id="coefficients"),
        pytest.param({"name": "mfcc", "kind": "audio", "sample_rate": 1}, "sample_rate", id="rate"),
        pytest.param({"name": "mfcc", "kind": "audio", "segments": 0}, "segments", id="segments"),
        pytest.param({"name": "logmel", "kind": "audio", "bands": 1}, "bands", id="bands"),
    ],
)
def test_impossible_extractors_are_refused(arguments: dict[str, Any], message: str) -> None:
    """The message says what may be written instead."""
    with pytest.raises(InvalidFunction, match=message):
        make_extractor(**arguments)


@pytest.mark.parametrize("name", sorted({*EXTRACTORS} - {"vector", "onnx"}))
def test_extractors_refuse_other_kinds_of_input(name: str) -> None:
    """An array is neither a picture nor a sound."""
    with pytest.raises(InvalidValue):
        make_extractor(name, "image" if name in IMAGE else "audio")(Array(np.ones(3)))
    with pytest.raises(InvalidValue):
        make_extractor("vector", "array", dimension=3)(Audio(np.ones(3, np.float32), 8000))


@pytest.mark.parametrize("name", sorted(AUDIO))
def test_silence_around_a_sound_hardly_moves_its_key(name: str) -> None:
    rng = np.random.default_rng(5)
    time_s = np.arange(3200) / 8000
    sound = (np.sin(2 * np.pi * (300 + 900 * time_s) * time_s) * np.hanning(3200) ** 0.2).astype(np.float32) * 0.5
    quiet = lambda seconds: rng.normal(0, 1e-3, int(8000 * seconds)).astype(np.float32)  # noqa: E731
    extract = make_extractor(name, "audio")
    alone = extract(Audio(sound, 8000))
    padded = extract(Audio(np.concatenate([quiet(0.3), sound, quiet(0.5)]), 8000))
    reversed_ = extract(Audio(sound[::-1].copy(), 8000))
    assert np.linalg.norm(alone - padded) < 0.3 * np.linalg.norm(alone - reversed_)


@pytest.mark.parametrize("name", sorted(AUDIO))
@pytest.mark.parametrize("samples", [0, 1, 199, 200, 201, 1000])
def test_short_and_silent_sounds_have_a_key(name: str, samples: int) -> None:
    extract = make_extractor(name, "audio")
    noise = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    for sound in (noise, np.zeros(samples, np.float32)):
        key = extract(Audio(sound, 8000))
        assert key.shape == (AUDIO[name],)
        assert np.isfinite(key).all()


@pytest.mark.skipif("LIKEWISE_DATA" not in os.environ, reason="set LIKEWISE_DATA to the folder with the recordings")
def test_spoken_digits_are_told_apart() -> None:
    """The nearest other recording by its MFCC key says the same digit, 98 times in 100 and more."""
    files = sorted((Path(os.environ["LIKEWISE_DATA"]) / "fsdd" / "recordings").glob("*.wav"))
    decode, extract = decoder("audio"), make_extractor("mfcc", "audio")
    keys = np.array([extract(decode("audio/wav", file.read_bytes())) for file in files])
    digits = np.array([int(file.name[0]) for file in files])
    alike = keys @ keys.T
    np.fill_diagonal(alike, -2)
    assert (digits[alike.argmax(axis=1)] == digits).mean() > 0.98
