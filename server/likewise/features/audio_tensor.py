"""Sounds to the tensors that models take: resampled, cut or padded, or in overlapping windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidFunction, InvalidValue
from likewise.features.prepare import Prepare
from likewise.types import Audio, Input, Tensor


def resample(samples: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    """Return samples at the target rate, band-limited: the spectrum is cut or padded (Fourier method).

    Any length works; round(n * target / rate) samples come out, at least one.
    """
    if rate == target:
        return samples
    count = max(1, round(len(samples) * target / rate))
    spectrum = np.fft.rfft(samples)
    bins = count // 2 + 1
    if bins < len(spectrum):
        spectrum = spectrum[:bins]
    out = np.fft.irfft(spectrum, count) * (count / len(samples))
    return out.astype(np.float32)


def audio_samples(value: Input, sample_rate: int) -> NDArray[np.float32]:
    """Return the samples of a sound at sample_rate; raises InvalidValue for any other input."""
    if not isinstance(value, Audio):
        raise InvalidValue("This function takes sounds; send a WAV.")
    return resample(value.samples, value.sample_rate, sample_rate)


def audio_tensor(
    sample_rate: int, seconds: float, dtype: str = "float32", *, samples: int | None = None, full_scale: float = 1.0
) -> Prepare:
    """Return sound -> its samples, shape (samples,), cut or padded with silence at its end.

    samples: how many, exactly; None: sample_rate * seconds. full_scale: what a sample of 1 becomes.
    dtype: what the model takes: a float type, or int16, where a sample of 1 becomes 32767.
    Raises InvalidFunction for settings that cannot be.
    """
    count = sample_count(sample_rate, seconds, samples)
    kind, factor = _scaled(dtype, full_scale)

    def prepare(value: Input) -> Tensor:
        sound = audio_samples(value, sample_rate)
        tensor = np.zeros(count, kind)
        kept = min(count, len(sound))
        tensor[:kept] = _as(sound[:kept], kind, factor)
        return tensor

    return prepare


def window_tensor(
    sample_rate: int, samples: int, overlap: int, dtype: str = "float32", *, full_scale: float = 1.0
) -> Prepare:
    """Return sound -> overlapping windows of it, shape (windows, samples), the last padded with silence.

    overlap: samples that two windows share: even, three quarters of a window at most. The first window begins half of
    it before the sound, in silence, so that each moment is at least so far from the borders of some window.
    Raises InvalidFunction for settings that cannot be.
    """
    sample_count(sample_rate, 1.0, samples)
    if not 0 <= 4 * overlap <= 3 * samples or overlap % 2:
        raise InvalidFunction(f"overlap is {overlap} samples; give an even number up to {3 * samples // 4}.")
    kind, factor = _scaled(dtype, full_scale)
    hop = samples - overlap

    def prepare(value: Input) -> Tensor:
        sound = audio_samples(value, sample_rate)
        windows = -(-(len(sound) + overlap // 2) // hop)
        padded = np.zeros((windows - 1) * hop + samples, kind)
        kept = min(len(sound), len(padded) - overlap // 2)
        padded[overlap // 2 : overlap // 2 + kept] = _as(sound[:kept], kind, factor)
        return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, samples)[::hop])

    return prepare


def sample_count(sample_rate: int, seconds: float, samples: int | None) -> int:
    """Return how many samples a model takes. Raises InvalidFunction for a rate or length that cannot be."""
    if not 1000 <= sample_rate <= 192_000:
        raise InvalidFunction(f"sample_rate is {sample_rate}; give 1000 to 192000 Hz.")
    length = seconds if samples is None else samples / sample_rate
    if not 0 < length <= 600:
        raise InvalidFunction(f"The model takes {length:g} s of sound; give more than 0, at most 600.")
    return samples or max(1, round(sample_rate * seconds))


def _scaled(dtype: str, full_scale: float) -> tuple[np.dtype[np.generic], np.float32]:
    kind = np.dtype(dtype)
    if kind == np.int16:
        if full_scale != 1.0:
            raise InvalidFunction("The model takes sounds as int16, a full-scale sample as 32767; remove full_scale.")
        return kind, np.float32(32767)
    if kind.kind != "f":
        raise InvalidFunction(f"The model takes sounds as {kind.name}; export it with a float32 input.")
    return kind, np.float32(full_scale)


def _as(sound: NDArray[np.float32], kind: np.dtype[np.generic], factor: np.float32) -> Tensor:
    if factor == 1:
        return sound
    return np.clip(np.rint(sound * factor), -32768, 32767) if kind == np.int16 else sound * factor
