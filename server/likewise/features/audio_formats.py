"""WAV bytes to mono samples: a strict RIFF reader on NumPy."""

from __future__ import annotations

from struct import unpack_from
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue, TooLarge, UndecodableInput
from likewise.features.image_checks import Bytes
from likewise.types import Audio

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_READ = frozenset(((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)))
_NAMES = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "IMA ADPCM", 0x31: "GSM", 0x50: "MPEG", 0x55: "MP3"}
# The last 14 bytes of a WAVE_FORMAT_EXTENSIBLE subtype; the first 2 are the plain format tag.
_SUBTYPE_TAIL = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
_MAX_CHANNELS = 16
_MAX_CHUNKS = 65_536  # no encoder comes near
_MIN_RATE, _MAX_RATE = 4_000, 192_000
_UNKNOWN = 0x7FFF0000
"""Lengths from here on stand for "not known" in sounds written to a pipe: FFFFFFFF, 80000000, 7FFFF000 and others."""


def decode_wav(body: bytes, *, max_seconds: float) -> Audio:
    """Return the samples of a WAV in [-1, 1], channels averaged: PCM of 8 to 32 bit, or float of 32 or 64 bit.

    RIFF or RF64 (EBU Tech 3306). A sound that was written to a pipe, whose length its header does not know, reaches to
    the end of the body. Raises UndecodableInput for bytes that are no such WAV, TooLarge beyond max_seconds,
    InvalidValue for a sample rate outside 4,000 to 192,000 Hz or samples that are not finite.
    """
    if body[:4] not in (b"RIFF", b"RF64", b"BW64") or body[8:12] != b"WAVE":
        raise UndecodableInput(f"This is not a WAV (RIFF/WAVE){_looks_like(body)}; record or convert the sound to WAV.")
    layout, start, length = _chunks(body)
    tag, channels, rate, _, align, bits = unpack_from("<HHIIHH", body, layout[0])
    if tag == _EXTENSIBLE:
        if layout[1] < 40 or body[layout[0] + 26 : layout[0] + 40] != _SUBTYPE_TAIL:
            raise UndecodableInput("The WAV's extensible format is not PCM or float; convert it to 16 bit PCM.")
        tag = unpack_from("<H", body, layout[0] + 24)[0]
    if (tag, bits) not in _READ:
        name = f" ({_NAMES[tag]})" if tag in _NAMES else ""
        raise UndecodableInput(f"A WAV of format {tag}{name} with {bits} bits is not read; convert it to 16 bit PCM.")
    if not 1 <= channels <= _MAX_CHANNELS or align != channels * bits // 8:
        raise UndecodableInput(f"The WAV's header is not valid ({channels} channels, {align} bytes a frame).")
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise InvalidValue(f"The sample rate is {rate} Hz; resample the sound to {_MIN_RATE} to {_MAX_RATE} Hz.")
    frames = length // align
    if not frames:
        raise UndecodableInput("The WAV holds no samples; send at least one.")
    if frames > max_seconds * rate:
        raise TooLarge(f"The sound lasts {frames / rate:.1f} s and at most {max_seconds:g} s are taken; cut it.")
    samples = _samples(body, start, frames * channels, tag, bits)
    if channels > 1:
        samples = samples.reshape(frames, channels).mean(axis=1, dtype=np.float32)
    return Audio(samples, rate)


def wav_values(body: Bytes) -> int:
    """Return about how many samples a WAV holds, over all channels; 0 where it is none."""
    if body[8:12] != b"WAVE":
        return 0
    bits = unpack_from("<H", body, 34)[0] if body[12:16] == b"fmt " else 8
    return (len(body) - 44) * 8 // max(8, bits)


def _looks_like(body: bytes) -> str:
    for start, name in (
        (b"riff\x2e\x91\xcf\x11", "a Wave64 (W64)"),
        (b"RIFX", "a big-endian RIFX"),
        (b"FORM", "an AIFF"),
        (b"fLaC", "a FLAC"),
        (b"OggS", "an Ogg"),
        (b"ID3", "an MP3"),
        (b"\x1a\x45\xdf\xa3", "a WebM"),
    ):
        if body.startswith(start):
            return f" but looks like {name}"
    return ""


def _chunks(body: bytes) -> tuple[tuple[int, int], int, int]:
    # Place and length of the format chunk, then of the data.
    position, size = 12, len(body)
    layout: tuple[int, int] | None = None
    long_length = 0  # the data's length where 32 bits do not hold it
    for _ in range(_MAX_CHUNKS):
        if position + 8 > size:
            break
        name, length = unpack_from("<4sI", body, position)
        position += 8
        if name == b"data":
            if layout is None:
                break
            return layout, position, _data_length(body, position, length, long_length)
        if position + length > size:
            raise _broken_off()
        if name == b"fmt ":
            if length < 16 or layout is not None:
                break
            layout = position, length
        elif name == b"ds64" and length >= 16 and body[:4] != b"RIFF":
            long_length = unpack_from("<Q", body, position + 8)[0]
        position += length + (length & 1)  # chunks start at even places
    raise UndecodableInput("The WAV has no format and data where they belong; convert it again.")


def _data_length(body: bytes, start: int, length: int, long_length: int) -> int:
    if length == 0xFFFFFFFF and 0 < long_length < 2**63:
        length = long_length
    elif length >= _UNKNOWN or (length == 0 and not _is_chunk(body, start)):
        return len(body) - start
    if start + length > len(body):
        raise _broken_off()
    return length


def _is_chunk(body: bytes, start: int) -> bool:
    # Whether another part of the file stands there and not samples: a name in ASCII, and a length that fits.
    if len(body) < start + 8:
        return False
    name, length = unpack_from("<4sI", body, start)
    return all(0x20 <= letter < 0x7F for letter in name) and bool(start + 8 + length <= len(body))


def _broken_off() -> UndecodableInput:
    return UndecodableInput("The WAV breaks off before its end; send the whole file with its final length.")


def _samples(body: bytes, start: int, count: int, tag: int, bits: int) -> NDArray[np.float32]:
    if bits == 16:
        return np.frombuffer(body, "<i2", count, start) * np.float32(1 / 32768)
    if bits == 8:  # unsigned, 128 is silence
        return (np.frombuffer(body, np.uint8, count, start) - np.float32(128)) * np.float32(1 / 128)
    if bits == 24:
        wide = np.zeros((count, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(body, np.uint8, 3 * count, start).reshape(count, 3)
        return wide.view("<i4").reshape(count).astype(np.float32) * np.float32(1 / 2**31)
    if tag == _PCM:
        return np.frombuffer(body, "<i4", count, start).astype(np.float32) * np.float32(1 / 2**31)
    samples: NDArray[Any] = np.frombuffer(body, f"<f{bits // 8}", count, start)
    if not np.isfinite(samples).all():
        raise InvalidValue("The sound holds NaN or infinity; send finite samples.")
    clipped: NDArray[np.float32] = np.clip(samples, -1.0, 1.0).astype(np.float32)
    return clipped
