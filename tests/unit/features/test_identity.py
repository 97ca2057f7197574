"""What tells inputs apart: shape and type, and every number that a model can see."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.features.decode import decoder
from likewise.features.identity import digest, signature
from likewise.types import Array, Audio, Image, Input

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
SAMPLES = np.linspace(-1, 1, 50, dtype=np.float32)
OTHER_INPUTS: list[Input] = [
    Image(PIXELS),
    Image(PIXELS.reshape(4, 2, 3).copy()),
    Image(PIXELS[:, :, 0].copy()),
    Image(PIXELS + np.uint8(1)),
    Audio(SAMPLES, 8000),
    Audio(SAMPLES, 16000),
    Audio(SAMPLES[:-1].copy(), 8000),
    Array(PIXELS),
    Array(SAMPLES),
    Array(SAMPLES.reshape(2, 25)),
    Array(SAMPLES.reshape(1, 50)),
    Array(SAMPLES.view(np.int32)),
    Array(np.array(1.5, np.float32)),
    Array(np.array([True, False])),
    Array(np.ones(2, np.float16)),
]


def test_no_two_other_inputs_share_a_digest() -> None:
    """Kind, type, shape, rate and every number count; 16 bytes whatever the size."""
    digests = [digest(value) for value in OTHER_INPUTS]
    assert len(set(digests)) == len(digests)
    assert {len(each) for each in digests} == {16}


@pytest.mark.parametrize("value", OTHER_INPUTS)
def test_equal_inputs_share_a_digest(value: Input) -> None:
    """Copies, and views of other memory order, of the same numbers."""
    copy: Input
    if isinstance(value, Image):
        copy = Image(np.asfortranarray(value.pixels))
    elif isinstance(value, Audio):
        copy = Audio(np.repeat(value.samples, 2)[::2], value.sample_rate)
    else:
        copy = Array(np.array(value.values, order="F"))
    assert digest(copy) == digest(value)
    assert signature(copy) == signature(value)


def test_signatures_are_type_and_shape_of_arrays_alone() -> None:
    """Pictures and sounds are brought to one size, so they are all alike."""
    assert signature(Image(PIXELS)) == signature(Audio(SAMPLES, 8000)) == ""
    assert signature(Array(np.ones((2, 3), np.float32))) == "float32:2x3"
    assert signature(Array(np.ones(4, np.uint8))) == "uint8:4"
    assert signature(Array(np.ones((), bool))) == "bool:"


def test_json_numbers_are_the_same_however_written() -> None:
    """1 and 1.0 are not told apart, shapes are."""
    decode = decoder("array")
    plain, other, nested = (decode("application/json", body) for body in (b"[1, 2]", b"[1.0, 2e0]", b"[[1, 2]]"))
    assert digest(plain) == digest(other)
    assert signature(plain) == signature(other)
    assert signature(plain) != signature(nested)
