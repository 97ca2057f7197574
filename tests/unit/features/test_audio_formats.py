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
        pytest.param(3, 64, WAVE.astype("<f8").tobytes(), id="double"),
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
        (as_wav(bytes(100), tag=7, bits=8), "mu-law"),
        (as_wav(bytes(100), bits=12), "12 bits"),
        (as_wav(bytes(100), channels=17), "17 channels"),
        (as_wav(bytes(100), tag=0xFFFE), "extensible"),
        (as_wav(b""), "no samples"),
        (body[:-1], "breaks off"),
        (body[:20], "breaks off|no format"),
        (body[:12], "no format"),
        (body[:12] + body[36:], "no format"),
        (body[:12] + body[12:36] * 2, "no format"),
        (b"RIFX" + body[4:], "big-endian RIFX"),
        (b"riff\x2e\x91\xcf\x11" + body[8:], "Wave64"),
        (b"OggS" + body[4:], "not a WAV .* Ogg"),
    ):
        with pytest.raises(UndecodableInput, match=message):
            read(wrong)
    with pytest.raises(InvalidValue, match="NaN"):
        read(as_wav(np.array([1, np.nan], "<f4").tobytes(), tag=3, bits=32))
    for size, odd in ((4, np.nan), (8, np.inf)):
        with pytest.raises(InvalidValue, match="NaN"):
            read(as_wav(np.array([1, odd], f"<f{size}").tobytes(), tag=3, bits=8 * size))


def test_loud_floats_are_cut_off(as_wav: Callable[..., bytes]) -> None:
    """Beyond full scale there is nothing to hear, also where float32 ends."""
    assert read(as_wav(np.array([2, -1e300], "<f8").tobytes(), tag=3, bits=64)).samples.tolist() == [1, -1]


def lengths(body: bytes, riff: int, data: int) -> bytes:
    """Return a WAV with other lengths in its header."""
    at = body.index(b"data") + 4
    return body[:4] + struct.pack("<I", riff) + body[8:at] + struct.pack("<I", data) + body[at + 4 :]


@pytest.mark.parametrize(
    ("riff", "data"),
    [
        pytest.param(0xFFFFFFFF, 0xFFFFFFFF, id="all ones"),
        pytest.param(0xFFFFFFFF, 0xFFFFFFFF - 36, id="all ones less the header"),
        pytest.param(0x7FFFFFFF, 0x7FFFFFFF - 36, id="largest signed"),
        pytest.param(0x7FFFF024, 0x7FFFF000, id="rounded down"),
        pytest.param(0x80000024, 0x80000000, id="half"),
        pytest.param(0, 0, id="zeros"),
        pytest.param(36, 0, id="as before the first sample"),
        pytest.param(0xFFFFFFFF, 0, id="all ones and zero"),
        pytest.param(66, 0, id="zero alone"),
    ],
)
def test_sounds_from_a_pipe_reach_to_the_end(as_wav: Callable[..., bytes], riff: int, data: int) -> None:
    """A length that was not known when the header was written is what follows, as far as whole frames go."""
    samples = np.array([[1000, 3000], [-2000, 0]], "<i2").tobytes()
    body = lengths(as_wav(samples, channels=2), riff, data) + b"\x01"
    assert read(body).samples * 32768 == pytest.approx([2000, -1000])
    with pytest.raises(TooLarge):
        read(lengths(as_wav(bytes(32_002)), riff, data))


@pytest.mark.parametrize(("riff", "data"), [(2000, 1900), (0xFFFFFFFF, 101), (36, 101), (0, 0x7FFEFFFF)])
def test_known_lengths_beyond_the_end_are_refused(as_wav: Callable[..., bytes], riff: int, data: int) -> None:
    """A plausible length says that samples are missing."""
    with pytest.raises(UndecodableInput, match="breaks off"):
        read(lengths(as_wav(bytes(100)), riff, data))


def test_no_samples_stay_no_samples(as_wav: Callable[..., bytes]) -> None:
    """An empty sound with other parts behind it is not taken for one from a pipe."""
    body = as_wav(b"") + b"LIST\x04\x00\x00\x00abcd"
    with pytest.raises(UndecodableInput, match="no samples"):
        read(body[:4] + struct.pack("<I", len(body) - 8) + body[8:])


@pytest.mark.parametrize("name", [b"RF64", b"BW64"])
def test_long_forms_of_riff_are_read(as_wav: Callable[..., bytes], name: bytes) -> None:
    """The 64 bit length of the data comes first (EBU Tech 3306); what stands behind the data is not sound."""
    data = (WAVE * 2**15).astype("<i2").tobytes()
    for length in (len(data), 0, 2**64 - 1):
        sizes = b"ds64" + struct.pack("<IQQQI", 28, 1000, length, 5, 0)
        body = as_wav(data)
        body = name + b"\xff" * 4 + b"WAVE" + sizes + lengths(body, 0, 0xFFFFFFFF)[12:]
        more = b"LIST\x04\x00\x00\x00abcd" if length == len(data) else b""
        assert read(body + more).samples == pytest.approx(WAVE, abs=1e-6)
    with pytest.raises(UndecodableInput, match="breaks off"):
        read(body[:20] + struct.pack("<QQ", 1000, 1000) + body[36:])
