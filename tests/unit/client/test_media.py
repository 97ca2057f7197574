"""Pictures, sounds and arrays in memory: sent as files that a server reads, with the same numbers in them."""

from __future__ import annotations

import io
import wave
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise_client import Client, InvalidInput, Sound
from likewise_client import _wire as wire
from likewise_client._media import compact, reduced
from likewise_client.testing import FakeServer

PICTURE = np.random.default_rng(1).integers(0, 256, (7, 5, 3)).astype(np.uint8)


def decoded(body: bytes) -> Any:
    """Return the pixels that OpenCV reads, in RGB."""
    cv2 = pytest.importorskip("cv2")
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels[:, :, ::-1] if pixels.ndim == 3 else pixels


@pytest.mark.parametrize("pixels", [PICTURE, PICTURE[:, :, 0], PICTURE[::-1, :, :], PICTURE[:1, :1], PICTURE[:, :, :1]])
@pytest.mark.parametrize("media_type", ["image/png", "pnm", "image/bmp"])
def test_pixels_are_sent_without_loss(pixels: Any, media_type: str) -> None:
    """In color and in gray, whatever their order in memory; PNG and PNM by NumPy alone."""
    gray = pixels.ndim == 2 or pixels.shape[2] == 1
    if media_type == "pnm":
        media_type = "image/x-portable-graymap" if gray else "image/x-portable-pixmap"
    if media_type == "image/bmp":
        pytest.importorskip("PIL")
    body, sent = wire.encode_input(pixels, media_type)
    assert sent == media_type
    expected = pixels[:, :, 0] if pixels.ndim == 3 and gray else pixels
    found = decoded(body)
    if media_type == "image/bmp" and gray:
        found = found if found.ndim == 2 else found[:, :, 0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros(3, np.uint8), np.zeros((0, 3), np.uint8)],
    ids=lambda pixels: f"{pixels.dtype}{pixels.shape}",
)
def test_pixels_that_are_none_are_refused(pixels: Any) -> None:
    """With what a picture is."""
    with pytest.raises(InvalidInput, match="uint8 of shape"):
        wire.encode_input(pixels, "image/png")


def test_a_media_type_that_is_no_picture_format_is_refused() -> None:
    """Never sent as something else."""
    pytest.importorskip("PIL")
    with pytest.raises(InvalidInput, match="image/tiff"):
        wire.encode_input(PICTURE, "image/tiff")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "I;16"])
@pytest.mark.parametrize("media_type", [None, "image/png", "image/jpeg", "image/webp", "image/bmp"])
def test_images_of_pillow_are_sent(mode: str, media_type: str | None) -> None:
    """As PNG unless asked otherwise, in whatever mode they are."""
    image_module = pytest.importorskip("PIL.Image")
    image = image_module.new(mode, (6, 4))
    body, sent = wire.encode_input(image, media_type)
    assert sent == (media_type or "image/png")
    assert decoded(body).shape[:2] == (4, 6)


def test_an_image_of_pillow_keeps_its_pixels() -> None:
    """PNG, lossless WebP and BMP hold what the image holds."""
    image_module = pytest.importorskip("PIL.Image")
    for media_type in ("image/png", "image/webp", "image/bmp"):
        body, _ = wire.encode_input(image_module.fromarray(PICTURE), media_type)
        np.testing.assert_array_equal(decoded(body), PICTURE)


@pytest.mark.parametrize("channels", [1, 2])
def test_whole_samples_are_sent_as_they_are(channels: int) -> None:
    """As any program reads a WAV file."""
    samples = np.arange(-6, 6, dtype=np.int16)
    if channels == 2:
        samples = samples.reshape(-1, 2)
    body, sent = wire.encode_input(Sound(samples, 16_000))
    assert sent == "audio/wav"
    with wave.open(io.BytesIO(body)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, channels, 2)
        assert file.readframes(99) == samples.tobytes()


def test_a_server_reads_both_kinds_of_sound() -> None:
    """Float samples keep all their digits."""
    decode = pytest.importorskip("likewise.features.decode").decoder("audio")
    samples = np.sin(np.arange(800) / 7.0).astype(np.float32) / 3
    whole = (samples * 32767).astype(np.int16)
    for given_, expected in ((samples, samples), (whole, whole / 32768), (samples.tolist(), samples)):
        body, media_type = wire.encode_input(Sound(given_, 16_000))
        value = decode(media_type, body)
        assert value.sample_rate == 16_000  # type: ignore[union-attr]
        np.testing.assert_allclose(value.samples, expected, atol=1e-7)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "sound",
    [
        Sound([], 16_000),
        Sound(np.zeros((2, 2, 2)), 16_000),
        Sound(np.zeros(3, np.int32), 16_000),
        Sound([0.0, float("nan")], 16_000),
        Sound(["a"], 16_000),  # type: ignore[list-item]
        Sound([0.0], 1),
        Sound([0.0], 16_000.5),  # type: ignore[arg-type]
        Sound([0.0], True),
    ],
    ids=str,
)
def test_a_sound_that_is_none_is_refused(sound: Sound) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidInput):
        wire.encode_input(sound)


DTYPES = st.sampled_from(["f8", "f4", "i8", "i4", "u8", "i2", "u1", "?", ">f8", ">i4"])


@given(DTYPES, st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 255), max_size=6), st.sampled_from([1.0, 0.1]))
def test_arrays_are_sent_small_and_equal(dtype: str, numbers: list[int], factor: float) -> None:
    """Every number is the same, and the body never larger."""
    values = (np.array(numbers, dtype=float) * factor).astype(np.int64 if "f" not in dtype else float).astype(dtype)
    sent = compact(values)
    assert sent.nbytes <= values.nbytes
    assert sent.shape == values.shape
    np.testing.assert_array_equal(sent.astype(values.dtype), values)
    np.testing.assert_array_equal(sent.astype(float), values.astype(float))


def test_what_loses_nothing_is_halved() -> None:
    """float64 that float32 holds, whole numbers in the fewest bytes; what would change stays, NaN too."""
    assert compact(np.array([0.5, -2.0])).dtype == np.float32
    assert compact(np.array([0.1])).dtype == np.float64
    assert compact(np.array([1e300])).dtype == np.float64
    assert compact(np.array([float("nan")])).dtype == np.float64
    assert compact(np.array([0, 255])).dtype == np.uint8
    assert compact(np.array([-1, 255])).dtype == np.int16
    assert compact(np.array([2**60])).dtype == np.int64


WIDE = np.random.default_rng(3).normal(size=(40, 20))


class Describing(httpx.BaseTransport):
    """Says what functions take, and answers all else with the length of the body."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.bodies: list[Any] = []
        self.asked = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            self.asked += 1
            return self.answer
        self.bodies.append(np.load(io.BytesIO(request.read())))
        return httpx.Response(200, headers={"Cache-Status": "likewise; hit"}, json={})


@pytest.mark.parametrize(
    ("answer", "dtype"),
    [
        (httpx.Response(200, json={"input": {"dtype": "float32"}}), np.float32),
        (httpx.Response(200, json={"input": {"dtype": "float64"}}), np.float64),
        (httpx.Response(200, json={"input": {"dtype": None}}), np.float64),
        (httpx.Response(200, json={"input": 3}), np.float64),
        (httpx.Response(200, content=b"?"), np.float64),
        (httpx.Response(403), np.float64),
    ],
)
def test_float64_is_halved_where_the_function_takes_that(answer: httpx.Response, dtype: Any) -> None:
    """Asked for once; whatever a server says, the input is sent."""
    transport = Describing(answer)
    with Client(transport=transport) as client:
        for _ in range(3):
            client.infer("f", WIDE)
        client.infer("f", WIDE[:2])
    assert transport.asked == 1
    assert [body.dtype for body in transport.bodies] == [dtype] * 3 + [np.float64]
    np.testing.assert_array_equal(transport.bodies[0], WIDE.astype(dtype))


def test_what_float32_cannot_hold_is_sent_as_it_is() -> None:
    """So that the server says what is wrong with it."""
    transport = Describing(httpx.Response(200, json={"input": {"dtype": "float32"}}))
    with Client(transport=transport) as client:
        for wrong in (1e300, float("nan")):
            values = WIDE.copy()
            values[0, 0] = wrong
            client.infer("f", values)
    assert [body.dtype for body in transport.bodies] == [np.float64] * 2


def test_a_server_that_is_busy_is_asked_another_time(clock: Any) -> None:
    """What a function takes is learned later, and no answer waits for it."""
    transport = Describing(httpx.Response(503))
    with Client(transport=transport, clock=clock) as client:
        client.infer("f", WIDE)
        transport.answer = httpx.Response(200, json={"input": {"dtype": "float32"}})
        client.infer("f", WIDE)
    assert [body.dtype for body in transport.bodies] == [np.float64, np.float32]


@pytest.mark.parametrize(
    ("shape", "sizes", "expected"),
    [
        ((192, 96, 3), [[48, 48]], (96, 48, 3)),
        ((192, 192), [[48, 48], [32, 32]], (96, 96)),
        ((480, 640, 3), [[32, 32]], (96, 128, 3)),
        ((100, 100, 3), [[48, 48]], (100, 100, 3)),  # not whole
        ((48, 48, 3), [[48, 48]], (48, 48, 3)),
        ((20, 20, 3), [[48, 48]], (20, 20, 3)),
        ((96, 96, 3), None, (96, 96, 3)),
        ((96, 96, 3), "ab", (96, 96, 3)),
        ((96, 96, 3), [[0, 0]], (96, 96, 3)),
        ((96, 96, 3), [[float("nan"), 1]], (96, 96, 3)),
        ((96, 96, 3), [[1e999, 1]], (96, 96, 3)),
        ((96, 96, 3), [3], (96, 96, 3)),
    ],
)
def test_pixels_are_reduced_by_whole_blocks_alone(shape: Any, sizes: Any, expected: Any) -> None:
    """What a server then averages differs by half a gray level at most."""
    pixels = np.random.default_rng(4).integers(0, 256, shape).astype(np.uint8)
    small = reduced(pixels, sizes)
    assert small.shape == expected
    if small.shape != pixels.shape:
        cv2 = pytest.importorskip("cv2")
        for size in sizes:
            one = cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            other = cv2.resize(small.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            assert np.abs(one - other).max() <= 0.501


def test_pixels_are_reduced_on_request(clock: Any) -> None:
    """As the server says, and never without being asked to, nor in a stream."""

    class Picturing(Describing):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                return super().handle_request(request)
            self.bodies.append(decoded(request.read()))
            return httpx.Response(200, headers={"Cache-Status": "likewise; hit"}, json={})

    transport = Picturing(httpx.Response(200, json={"input": {"sizes": [[16, 16]]}}))
    pixels = np.zeros((64, 64, 3), np.uint8)
    with Client(transport=transport, clock=clock) as client:
        client.infer("f", pixels, media_type="image/png")
        client.infer("f", pixels, media_type="image/png", reduce="auto", stream="cam")
        assert transport.asked == 0
        client.infer("f", pixels, media_type="image/png", reduce="auto")
        client.infer("f", pixels, media_type="image/png", reduce="auto")
        with pytest.raises(InvalidInput, match="reduce"):
            client.infer("f", pixels, media_type="image/png", reduce="never")  # type: ignore[arg-type]
    assert [body.shape[0] for body in transport.bodies] == [64, 64, 16, 16]
    assert transport.asked == 1


def test_without_a_model_an_array_keeps_its_type() -> None:
    """There its type tells apart what is alike, so a lookup sends what an insert sent."""
    fake = FakeServer()
    fake.function("f", dimension=400)
    with Client(transport=fake) as client:
        client.lookup("f", input=np.zeros((20, 20), np.int64))
    assert np.load(io.BytesIO(fake.calls[0].body)).dtype == np.int64


def test_all_kinds_reach_the_server() -> None:
    """By `infer`, through the client."""
    fake = FakeServer()
    fake.function("f", compute=lambda body: {"length": len(body)})
    with Client(transport=fake) as client:
        client.infer("f", PICTURE, media_type="image/png")
        client.infer("f", Sound([0.0] * 9, 8000))
        client.infer("f", np.zeros((20, 20), np.int64))
    assert [call.headers["content-type"] for call in fake.calls] == ["image/png", "audio/wav", "application/x-npy"]
    assert len(fake.calls[2].body) < 600
