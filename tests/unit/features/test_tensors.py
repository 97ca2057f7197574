"""Layouts, colors, scales and types of pictures; windows of sounds; beginnings and ends of files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import InvalidFunction, InvalidValue
from likewise.features.audio_tensor import audio_tensor, window_tensor
from likewise.features.bytes_tensor import bytes_tensor
from likewise.features.decode import decoder
from likewise.features.image_tensor import image_tensor
from likewise.features.make import make_extractor
from likewise.features.resizing import Resizing
from likewise.types import Array, Audio, Image

MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_each_layout_and_color_order_holds_the_same_numbers(
    picture: NDArray[np.uint8], layout: Any, color: Any, dtype: str
) -> None:
    """(x / scale - mean) / std with mean and std in the order of the channels."""
    tensor = image_tensor((29, 37), 3, MEAN, STD, dtype, layout=layout, color=color, scale=255.0)(Image(picture))
    channels = picture if color == "rgb" else picture[:, :, ::-1]
    expected = (channels / 255.0 - np.array(MEAN)) / np.array(STD)
    if layout == "nchw":
        expected = expected.transpose(2, 0, 1)
    assert tensor.dtype == dtype
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor, expected, atol=2e-3 if dtype == "float16" else 1e-5)


def test_pixels_may_stay_as_large_as_they_are(picture: NDArray[np.uint8]) -> None:
    """Scale 1, with a mean in pixels."""
    tensor = image_tensor((29, 37), 3, (104.0, 117.0, 123.0), color="bgr", scale=1.0)(Image(picture))
    np.testing.assert_allclose(tensor, (picture[:, :, ::-1] - [104.0, 117.0, 123.0]).transpose(2, 0, 1), atol=1e-4)


def test_gray_pictures_have_an_axis_for_channels_or_none(picture: NDArray[np.uint8]) -> None:
    """Luma of a color picture, first, last or without."""
    shapes = {
        layout: image_tensor((29, 37), 1, layout=layout)(Image(picture))  # type: ignore[arg-type]
        for layout in ("nchw", "nhwc", "nhw")
    }
    assert [each.shape for each in shapes.values()] == [(1, 37, 29), (37, 29, 1), (37, 29)]
    for each in shapes.values():
        np.testing.assert_allclose(each.ravel(), shapes["nchw"].ravel(), atol=1e-6)
    with pytest.raises(InvalidFunction, match="channels = 1"):
        image_tensor((3, 3), 3, layout="nhw")


def test_int8_models_get_pixels_less_128(picture: NDArray[np.uint8]) -> None:
    """As quantized models have it; neither scale, mean nor std then."""
    tensor = image_tensor((29, 37), 3, dtype="int8", layout="nhwc")(Image(picture))
    assert tensor.dtype == np.int8
    assert np.array_equal(tensor.astype(int) + 128, picture)
    with pytest.raises(InvalidFunction, match="int8, the pixels less 128"):
        image_tensor((3, 3), dtype="int8", scale=255.0)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_letterbox_is_filled_as_pixels_are(picture: NDArray[np.uint8], layout: Any) -> None:
    """The fill goes through scale, mean and std like any pixel; the picture stands in the middle."""
    wanted = Resizing(mode="letterbox", size=(58, 37), fill=127.5)
    tensor = image_tensor((58, 37), 3, 0.5, 0.5, layout=layout, resizing=wanted)(Image(picture))
    rows = tensor if layout == "nhwc" else tensor.transpose(1, 2, 0)
    assert rows.shape == (37, 58, 3)
    assert np.abs(rows[:, :14]).max() == np.abs(rows[:, 43:]).max() == 0
    np.testing.assert_allclose(rows[:, 14:43], picture / 127.5 - 1, atol=1e-5)


def test_pictures_of_any_size_keep_theirs(picture: NDArray[np.uint8]) -> None:
    """Rounded to a multiple."""
    prepare = image_tensor(None, 3, resizing=Resizing(mode="free", multiple=8))
    assert prepare(Image(picture)).shape == (3, 40, 32)


def test_sounds_in_other_scales_and_types() -> None:
    """Samples as 16 bit numbers, in float or not; so many samples exactly."""
    ramp = Audio(np.array([-1.0, -0.5, 0.0, 0.5, 1.0], np.float32), 16_000)
    assert audio_tensor(16_000, 1.0, samples=6, full_scale=32768.0)(ramp).tolist() == [
        -32768,
        -16384,
        0,
        16384,
        32768,
        0,
    ]
    whole = audio_tensor(16_000, 1.0, "int16", samples=5)(ramp)
    assert whole.dtype == np.int16
    assert whole.tolist() == [-32767, -16384, 0, 16384, 32767]
    with pytest.raises(InvalidFunction, match="remove full_scale"):
        audio_tensor(16_000, 1.0, "int16", full_scale=2.0)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 31, 100])
def test_windows_cover_the_sound_and_overlap(length: int) -> None:
    """Each begins a hop after the one before; the first half an overlap before the sound; the last is padded."""
    sound = np.arange(1, length + 1, dtype=np.float32) / 1000
    windows = window_tensor(1000, 10, 4)(Audio(sound, 1000))
    padded = np.concatenate([np.zeros(2, np.float32), sound])
    assert windows.shape == (-(-len(padded) // 6), 10)
    for at, window in enumerate(windows):
        part = padded[6 * at : 6 * at + 10]
        assert np.array_equal(window[: len(part)], part)
        assert not window[len(part) :].any()


@pytest.mark.parametrize("overlap", [3, -2, 8])
def test_windows_overlap_by_an_even_part(overlap: int) -> None:
    """More than three quarters would make many windows of little."""
    with pytest.raises(InvalidFunction, match="even number up to 7"):
        window_tensor(1000, 10, overlap)


@pytest.mark.parametrize(
    ("content", "options", "numbers"),
    [
        (b"abc", {"first": 2}, [97, 98]),
        (b"abc", {"first": 5, "padding": 256}, [97, 98, 99, 256, 256]),
        (b"abcdef", {"first": 2, "last": 2}, [97, 98, 101, 102]),
        (b"ab", {"first": 3, "last": 3, "padding": 9}, [97, 98, 9, 9, 97, 98]),
        (b"  a b \n", {"first": 2, "last": 2, "strip": True}, [97, 32, 32, 98]),
        (b"    abc    ", {"first": 1, "last": 1, "strip": True, "block": 5, "padding": 7}, [97, 99]),
        (b"      abc      ", {"first": 1, "last": 1, "strip": True, "block": 5, "padding": 7}, [7, 7]),
        (b"abc", {"first": 0, "last": 2}, [98, 99]),
    ],
)
def test_files_become_numbers_of_their_ends(content: bytes, options: dict[str, Any], numbers: list[int]) -> None:
    """The first and the last bytes, padded; white space may not count, within a block at each end."""
    value = decoder("bytes")("application/octet-stream", content)
    assert bytes_tensor(**options)(value).tolist() == numbers


def test_bytes_that_do_not_fit_are_refused() -> None:
    """Types that hold no byte or no padding, a block that is too short, nothing at all, other inputs."""
    for options, says in (
        ({"first": 3, "dtype": "int8"}, "int8"),
        ({"first": 3, "padding": 256, "dtype": "uint8"}, "padding 256"),
        ({"first": 8, "block": 4}, "block is 4"),
        ({"first": 0}, "takes no bytes"),
    ):
        with pytest.raises(InvalidFunction, match=says):
            bytes_tensor(**options)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="send the file itself"):
        bytes_tensor(3)(Array(np.zeros(3)))


def test_keys_of_files_and_of_arrays_of_any_shape() -> None:
    """Alike for what is alike; of one length whatever comes."""
    files = make_extractor("bytes", "bytes")
    read = decoder("bytes")
    text = [files(read("text/plain", b"the same words, " * count)) for count in (20, 21)]
    other = files(read("text/plain", bytes(range(256))))
    assert len(text[0]) == len(other) == files.dimension
    assert float(text[0] @ text[1]) > 0.99
    assert float(text[0] @ other) < 0.7
    assert np.isfinite(files(read("text/plain", b"x"))).all()
    pooled = make_extractor("pool", "array", "l2")
    rng = np.random.default_rng(0)
    for shape in ((3,), (256,), (257,), (4, 100, 7)):
        values = rng.normal(size=shape)
        key = pooled(Array(values))
        assert key.shape == (256,)
        assert float(key.astype(np.float64) @ np.ones(256)) == pytest.approx(
            values.sum()
            if values.size <= 256
            else sum(part.mean() for part in np.split(values.ravel(), np.arange(1, 256) * values.size // 256)),
            abs=1e-4,
        )
