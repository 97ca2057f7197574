"""Keys made on the device are those that the server makes, but for rounding."""

from __future__ import annotations

import io
import wave

import cv2
import numpy as np
import pytest

from likewise.features.decode import decoder
from likewise.features.make import make_extractor
from likewise.types import Array, Audio, Image
from likewise_client._device.keys import key_maker, scaled

SIZES = [(32, 32), (48, 64), (64, 64), (96, 160), (240, 320), (97, 61), (17, 23), (33, 31), (8, 8), (200, 9)]


def picture(height, width, seed=0, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return np.ascontiguousarray(cv2.GaussianBlur(pixels, (0, 0), 1.5).reshape(shape))


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["gray", "color", "dct", "hog"])
def test_pictures(name, size, metric):
    for channels in (1, 3):
        pixels = picture(*size, channels=channels)
        wanted = make_extractor(name, "image", metric)(Image(pixels))
        made = key_maker(name, metric, wanted.size)(pixels, b"", "")
        np.testing.assert_allclose(made, wanted, atol=2e-5)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".ppm"])
def test_pictures_in_files(suffix):
    pytest.importorskip("PIL")
    body = cv2.imencode(suffix, picture(40, 50))[1].tobytes()
    media_type = {".png": "image/png", ".jpg": "image/jpeg", ".bmp": "image/bmp", ".ppm": "image/x-portable-pixmap"}
    decode = decoder("image", max_pixels=10**6, max_seconds=1.0, max_values=1)
    wanted = make_extractor("hog", "image")(decode(media_type[suffix], body))
    made = key_maker("hog", "cosine", 432)(body, body, media_type[suffix])
    assert np.linalg.norm(made - wanted) < (0.05 if suffix == ".jpg" else 1e-5)  # decoders of JPEG differ


def sounds():
    rng = np.random.default_rng(1)
    for rate, seconds in ((8000, 0.5), (16000, 0.7), (44100, 0.1), (8000, 0.01)):
        count = int(rate * seconds)
        swing = np.sin(2 * np.pi * 440 * np.arange(count) / rate) * np.linspace(0, 0.8, count)
        yield rate, (swing + rng.normal(0, 0.01, count)).astype(np.float32)


@pytest.mark.parametrize("name", ["mfcc", "logmel"])
def test_sounds(name):
    for rate, samples in sounds():
        numbers = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(numbers.tobytes())
        wanted = make_extractor(name, "audio")(Audio(numbers * np.float32(1 / 32768), rate))
        made = key_maker(name, "cosine", wanted.size)(buffer.getvalue(), buffer.getvalue(), "audio/wav")
        np.testing.assert_allclose(made, wanted, atol=2e-5)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize(("name", "count"), [("vector", 7), ("pool", 7), ("pool", 1000)])
def test_arrays(name, count, metric):
    values = np.random.default_rng(2).normal(size=count)
    options = {"dimension": count} if name == "vector" else {}
    wanted = make_extractor(name, "array", metric, **options)(Array(values))
    made = key_maker(name, metric, wanted.size)(values, b"", "application/x-npy")
    np.testing.assert_allclose(made, wanted, atol=1e-6)
    text = repr(values.tolist()).encode()
    np.testing.assert_allclose(key_maker(name, metric, wanted.size)(None, text, "application/json"), wanted, atol=1e-6)


@pytest.mark.parametrize("content", [b"x", b"%PDF-1.4" + bytes(range(256)) * 40, b"ab" * 3000])
def test_files(content):
    wanted = make_extractor("bytes", "bytes")(Array(np.frombuffer(content, np.uint8)))
    np.testing.assert_allclose(key_maker("bytes", "cosine", 512)(content, content, ""), wanted, atol=1e-6)


@pytest.mark.parametrize("name", ["onnx", "layer", "unheard-of"])
def test_what_this_device_cannot_make_it_does_without(name):
    assert key_maker(name, "cosine", 48) is None


@pytest.mark.parametrize(
    ("name", "value", "body", "media_type"),
    [
        ("vector", None, b"[1, 2]", "application/json"),
        ("vector", None, b'{"a": 1}', "application/json"),
        ("vector", None, b"[1e30, 1, 1]", "application/json"),
        ("vector", np.array([np.nan, 1, 1]), b"", ""),
        ("vector", np.array(["a", "b", "c"]), b"", ""),
        ("hog", None, b"no picture", "image/png"),
        ("mfcc", None, b"no sound", "audio/wav"),
    ],
)
def test_an_input_that_has_no_key_here_is_left_to_the_server(name, value, body, media_type):
    assert key_maker(name, "cosine", 3)(value, body, media_type) is None


def test_a_zero_key_stays_zero():
    assert not scaled(np.zeros(3, np.float32)).any()
