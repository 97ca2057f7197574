"""Model inputs: shapes, scaling, cropping, padding, resampling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import InvalidFunction, InvalidValue
from likewise.features.audio_tensor import audio_tensor, resample
from likewise.features.image_tensor import image_tensor
from likewise.features.prepare import array_tensor
from likewise.types import Array, Audio, Image


def test_images_are_scaled_and_normalized_by_channel(picture: NDArray[np.uint8]) -> None:
    """(x / 255 - mean) / std, channels first, without batch axis."""
    tensor = image_tensor((29, 37), 3, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))(Image(picture))
    expected = ((picture / 255 - (0.1, 0.2, 0.3)) / (0.5, 0.6, 0.7)).transpose(2, 0, 1)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert np.allclose(tensor, expected, atol=1e-5)


def test_images_are_resized_and_made_gray_or_color(picture: NDArray[np.uint8]) -> None:
    """Width before height in size; luma for one channel; gray inputs serve color models."""
    assert image_tensor((12, 10), 1)(Image(picture)).shape == (1, 10, 12)
    assert image_tensor((50, 60), 3)(Image(picture[:, :, 0].copy())).shape == (3, 60, 50)
    flat = Image(np.full((40, 40, 3), 51, np.uint8))
    for size in ((7, 9), (40, 40), (64, 80)):
        assert image_tensor(size, 1)(flat) == pytest.approx(np.full((1, size[1], size[0]), 0.2))


@pytest.mark.parametrize(
    "options",
    [
        {"size": (0, 3)},
        {"size": (3,)},
        {"size": (3, 5000)},
        {"size": (3, 3), "channels": 2},
        {"size": (3, 3), "std": 0.0},
        {"size": (3, 3), "mean": (1.0, 2.0)},
        {"size": (3, 3), "mean": float("nan")},
    ],
)
def test_impossible_image_settings_are_refused(options: dict[str, Any]) -> None:
    """A function with such settings does not load."""
    with pytest.raises(InvalidFunction):
        image_tensor(**options)


def test_sounds_are_cut_and_padded_at_the_end(tone: NDArray[np.float32]) -> None:
    """The start stays where it is."""
    long = audio_tensor(8000, 1.0)(Audio(tone, 8000))
    assert long.shape == (8000,)
    assert np.array_equal(long[:4000], tone)
    assert not long[4000:].any()
    assert np.array_equal(audio_tensor(8000, 0.1)(Audio(tone, 8000)), tone[:800])


@pytest.mark.parametrize("rate", [16000, 11025, 44100])
def test_resampling_keeps_a_tone(rate: int) -> None:
    """A 440 Hz tone at another rate is the same tone at 8 kHz."""
    there = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    here = resample(there, rate, 8000)
    assert here.dtype == np.float32
    assert here == pytest.approx(np.sin(2 * np.pi * 440 * np.arange(8000) / 8000), abs=1e-3)
    assert len(resample(here, 8000, rate)) == rate


def test_resampling_removes_what_the_target_cannot_hold() -> None:
    """A tone above half the target rate vanishes and does not fold back."""
    high = np.sin(2 * np.pi * 6000 * np.arange(16000) / 16000).astype(np.float32)
    assert np.abs(resample(high, 16000, 8000)).max() < 1e-3
    assert len(resample(np.ones(1, np.float32), 48000, 8000)) == 1


def test_impossible_sound_settings_are_refused() -> None:
    """Rate and length have bounds."""
    for rate, seconds in ((10, 1.0), (8000, 0.0), (8000, 1e9)):
        with pytest.raises(InvalidFunction):
            audio_tensor(rate, seconds)


def test_arrays_are_cast_and_their_shape_checked() -> None:
    """None takes any length; another shape is named with the one wanted."""
    prepare = array_tensor((2, None))
    tensor = prepare(Array(np.arange(6).reshape(2, 3)))
    assert tensor.dtype == np.float32
    assert tensor.shape == (2, 3)
    assert array_tensor(dtype="int64")(Array(np.ones(3))).dtype == np.int64
    with pytest.raises(InvalidValue, match=r"\[3, 2\] and the function takes \[2, 'any'\]"):
        prepare(Array(np.ones((3, 2))))
    with pytest.raises(InvalidValue, match="too large for float32"):
        prepare(Array(np.full((2, 1), 1e300)))


def cast(values: object, source: str, target: str) -> NDArray[Any]:
    """Return values of one type as a model of another gets them."""
    return array_tensor(dtype=target)(Array(np.array(values, source)))


INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
FLOATS = ["float16", "float32", "float64"]


@pytest.mark.parametrize("target", [*INTEGERS, *FLOATS, "bool"])
@pytest.mark.parametrize("source", [*INTEGERS, *FLOATS, "bool"])
def test_arrays_reach_the_model_with_the_values_they_were_sent_with(source: str, target: str) -> None:
    """For every pair of types, numbers at all borders arrive as they are or are refused, never as others."""
    borders = {0, 1, 2, 44, 300}
    for bits in (7, 8, 11, 15, 16, 24, 31, 32, 53, 63, 64):
        borders |= {2**bits - 1, 2**bits, 2**bits + 1}
    own = np.dtype(source)
    numbers: list[Any] = [sign * number for number in borders for sign in (1, -1)]
    if own.kind == "f":
        numbers += [0.5, 1.9, -0.1, 254.9999, 255.00001, 1e-8]
    for number in numbers:
        with np.errstate(over="ignore"):
            try:
                value = np.array([number]).astype(object).astype(own)
            except OverflowError:
                continue
        if own.kind == "f" and not np.isfinite(value).all():
            continue
        exact = value[0].item()
        prepare = array_tensor(dtype=target)
        kind = np.dtype(target).kind
        if kind == "f":
            takes = abs(exact) < float(np.finfo(target).max) * (1 + float(np.finfo(target).eps) / 4)
            near = float(np.finfo(target).eps) * abs(exact) + float(np.finfo(target).tiny)
        else:
            low, high = (0, 1) if kind == "b" else (int(np.iinfo(target).min), int(np.iinfo(target).max))
            takes, near = exact == int(exact) and low <= exact <= high, 0
        if takes:
            got = prepare(Array(value))
            assert got.dtype == target
            assert abs(got[0].item() - exact) <= near, (number, got)
        else:
            with pytest.raises(InvalidValue, match=target):
                prepare(Array(value))


@pytest.mark.parametrize("number", [300, -1, 1.9])
def test_a_number_that_does_not_fit_is_named_with_what_does(number: float) -> None:
    """The message has the number, the model's type and its range."""
    with pytest.raises(InvalidValue, match=rf"holds {number}.* uint8; send whole numbers from 0 to 255"):
        cast([[1, 2], [3, number]], "float64", "uint8")
    with pytest.raises(InvalidValue, match="0 and 1"):
        cast([0, 1, 2], "int64", "bool")


def test_a_type_that_holds_everything_costs_no_copy() -> None:
    """An array in the model's own type is passed on."""
    values = np.ones((2, 2), np.float32)
    assert array_tensor((2, 2))(Array(values)) is values


def test_fractions_are_rounded_to_what_a_float_type_holds() -> None:
    """Within half a unit in the last place, as any float arithmetic."""
    assert cast([0.1], "float64", "float32")[0] == np.float32(0.1)
    assert cast([2**24 + 1], "int64", "float32")[0] == 2**24
    with pytest.raises(InvalidValue, match="too large for float16"):
        cast([70000], "int32", "float16")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "uint16"])
def test_models_with_an_integer_input_get_pixels_as_they_are(picture: NDArray[np.uint8], dtype: str) -> None:
    """0 to 255, channels first, gray and color; mean and std would be lost, so they are refused."""
    color = image_tensor((29, 37), 3, dtype=dtype)(Image(picture))
    assert color.dtype == dtype
    assert color.flags.c_contiguous
    assert np.array_equal(color, picture.transpose(2, 0, 1))
    luma = image_tensor((10, 12), 1, dtype=dtype)(Image(picture))
    assert luma.shape == (1, 12, 10)
    assert luma.max() > 1
    for options in ({"mean": 0.5}, {"std": 0.5}, {"std": (1.0, 1.0, 2.0)}):
        with pytest.raises(InvalidFunction, match=f"{dtype}.*remove mean and std"):
            image_tensor((29, 37), 3, dtype=dtype, **options)


def test_other_types_of_model_inputs() -> None:
    """Half and double precision are computed from float32; types that cannot hold pixels or samples are refused."""
    flat = Image(np.full((2, 2, 3), 51, np.uint8))
    for dtype in ("float16", "float64"):
        assert image_tensor((2, 2), dtype=dtype)(flat).dtype == dtype
        assert audio_tensor(8000, 0.1, dtype=dtype)(Audio(np.ones(3, np.float32), 8000)).dtype == dtype
    with pytest.raises(InvalidFunction, match="bool"):
        image_tensor((2, 2), dtype="bool")
    for dtype in ("int8", "bool"):
        with pytest.raises(InvalidFunction, match=dtype):
            audio_tensor(8000, 0.1, dtype=dtype)
    with pytest.raises(InvalidFunction, match="too large for float16"):
        image_tensor((2, 2), std=1e-6, dtype="float16")


def test_other_kinds_of_input_are_refused(picture: NDArray[np.uint8], tone: NDArray[np.float32]) -> None:
    """Each preparation takes its own kind alone."""
    with pytest.raises(InvalidValue, match="images"):
        image_tensor((3, 3))(Audio(tone, 8000))
    with pytest.raises(InvalidValue, match="sounds"):
        audio_tensor(8000, 1.0)(Image(picture))
    with pytest.raises(InvalidValue, match="arrays"):
        array_tensor()(Image(picture))
