"""WAV in every form taken, and refusals."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest

from likewise.errors import InvalidValue, TooLarge, UndecodableInput
from likewise.features.audio_formats import decode_wav
from likewise.types import Audio

WAVE = np.array([0.0, 0.5, -0.5, 0.25, -1.0])


def read(body: bytes) -> Audio:
    """Return the sound of a WAV of at most a second."""
    return decode_wav(body, max_seconds=1.0)


@pytest.mark.parametrize(
    ("tag", "bits", "data"),
    [
        pytest.param(1, 8, (WAVE * 128 + 128).astype(np.uint8).tobytes(), id="8 bit"),
        pytest.param(1, 16, (WAVE * 2**15).astype("<i2").tobytes(), id="16 bit"),
        pytest.param(1, 24, b"".join(int(v * 2**23).to_bytes(3, "little", signed=True) for v in WAVE), id="24 bit"),
        pytest.param(1, 32, (WAVE * 2**31).astype("<i4").tobytes(), id="32 bit"),
        pytest.param(3, 32, WAVE.astype("<f4").tobytes(), id="float"),
    ],
)
def test_every_sample_format_gives_the_same_sound(
    as_wav: Callable[..., bytes], tag: int, bits: int, data: bytes
) -> None:
    """Plain and extensible headers alike; values in [-1, 1], float32."""
    tail = struct.pack("<HHIH", 22, bits, 0, tag) + b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    for body in (as_wav(data, tag=tag, bits=bits), as_wav(data, tag=0xFFFE, bits=bits, extra=tail)):
        sound = read(body)
        assert sound.sample_rate == 8000
        assert sound.samples.dtype == np.float32
        assert sound.samples == pytest.approx(WAVE, abs=1e-6)


def test_channels_are_averaged(as_wav: Callable[..., bytes]) -> None:
    """Two channels become their mean."""
    data = np.array([[1000, 3000], [-2000, 0]], "<i2").tobytes()
    assert read(as_wav(data, channels=2)).samples * 32768 == pytest.approx([2000, -1000])


def test_long_sounds_are_refused_with_the_limit(as_wav: Callable[..., bytes]) -> None:
    """One sample more than the limit is too many."""
    assert len(read(as_wav(bytes(16000))).samples) == 8000
    with pytest.raises(TooLarge, match="at most 1 s"):
        read(as_wav(bytes(16002)))


@pytest.mark.parametrize("rate", [0, 3999, 192_001, 2**32 - 1])
def test_odd_sample_rates_are_refused(as_wav: Callable[..., bytes], rate: int) -> None:
    """Rates outside 4 to 192 kHz are not audio that anyone means."""
    layout = bytearray(as_wav(bytes(100)))
    layout[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(InvalidValue, match="sample rate"):
        read(bytes(layout))


def test_bad_headers_and_samples_are_named(as_wav: Callable[..., bytes]) -> None:
    """Format, channels, emptiness, truncation and NaN each say what is wrong."""
    body = as_wav(bytes(100))
    for wrong, message in (
        (as_wav(bytes(100), tag=7, bits=8), "format 7"),
        (as_wav(bytes(100), bits=12), "12 bits"),
        (as_wav(bytes(100), channels=17), "17 channels"),
        (as_wav(bytes(100), tag=0xFFFE), "extensible"),
        (as_wav(b""), "no samples"),
        (body[:-1], "breaks off"),
        (body[:20], "breaks off|no format"),
        (body[:12], "no format"),
        (body[:12] + body[36:], "no format"),
        (body[:12] + body[12:36] * 2, "no format"),
        (b"RIFX" + body[4:], "not a WAV"),
    ):
        with pytest.raises(UndecodableInput, match=message):
            read(wrong)
    with pytest.raises(InvalidValue, match="NaN"):
        read(as_wav(np.array([1, np.nan], "<f4").tobytes(), tag=3, bits=32))
