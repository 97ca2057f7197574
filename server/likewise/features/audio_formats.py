"""WAV bytes to mono samples: a strict RIFF reader on NumPy."""

from __future__ import annotations

from struct import unpack_from

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue, TooLarge, UndecodableInput
from likewise.types import Audio

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# The last 14 bytes of a WAVE_FORMAT_EXTENSIBLE subtype; the first 2 are the plain format tag.
_SUBTYPE_TAIL = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
_MAX_CHANNELS = 16
_MIN_RATE, _MAX_RATE = 4_000, 192_000


def decode_wav(body: bytes, *, max_seconds: float) -> Audio:
    """Return the samples of a WAV in [-1, 1], channels averaged: PCM of 8, 16, 24 or 32 bit, or float of 32 bit.

    Raises UndecodableInput for bytes that are no such WAV, TooLarge beyond max_seconds, InvalidValue for a sample
    rate outside 4,000 to 192,000 Hz or samples that are not finite.
    """
    if body[:4] != b"RIFF" or body[8:12] != b"WAVE":
        raise UndecodableInput("This is not a WAV (RIFF/WAVE); record or convert the sound to WAV.")
    layout, start, length = _chunks(body)
    tag, channels, rate, _, align, bits = unpack_from("<HHIIHH", body, layout[0])
    if tag == _EXTENSIBLE:
        if layout[1] < 40 or body[layout[0] + 26 : layout[0] + 40] != _SUBTYPE_TAIL:
            raise UndecodableInput("The WAV's extensible format is not PCM or float; convert it to 16 bit PCM.")
        tag = unpack_from("<H", body, layout[0] + 24)[0]
    if (tag, bits) not in ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)):
        raise UndecodableInput(f"A WAV of format {tag} with {bits} bits is not read; convert it to 16 bit PCM.")
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


def _chunks(body: bytes) -> tuple[tuple[int, int], int, int]:
    # Place and length of the format chunk, then of the data.
    position, size = 12, len(body)
    layout: tuple[int, int] | None = None
    while position + 8 <= size:
        name, length = unpack_from("<4sI", body, position)
        position += 8
        if position + length > size:
            raise UndecodableInput("The WAV breaks off before its end; send the whole file with its final length.")
        if name == b"fmt ":
            if length < 16 or layout is not None:
                break
            layout = position, length
        elif name == b"data":
            if layout is None:
                break
            return layout, position, length
        position += length + (length & 1)  # chunks start at even places
    raise UndecodableInput("The WAV has no format and data where they belong; convert it again.")


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
    samples = np.frombuffer(body, "<f4", count, start).astype(np.float32)
    if not np.isfinite(samples).all():
        raise InvalidValue("The sound holds NaN or infinity; send finite samples.")
    return np.clip(samples, -1.0, 1.0)
