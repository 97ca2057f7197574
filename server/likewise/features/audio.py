"""Keys of sounds: mel spectra and cepstra of what is audible, pooled over a fixed number of time segments.

About 60 us for half a second at 8 kHz, most of it the Fourier transform.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidFunction
from likewise.features.audio_tensor import audio_samples
from likewise.features.vector import unit
from likewise.types import Input, Key

AUDIBLE_DB = 30.0
"""Frames so far below the loudest one are silence; where a sound begins and ends is cut off.

When somebody begins to speak says nothing of what is said: on 2,000 spoken digits, the share whose nearest earlier key
is of another digit fell from 1.8 to 0.8 %, and 25 to 35 dB do about as well.
"""


class _MelFrames:
    """Log energies of mel bands, pooled over overlapping segments of the audible part of a sound."""

    def __init__(self, sample_rate: int, bands: int, segments: int) -> None:
        if not 4000 <= sample_rate <= 48_000:
            raise InvalidFunction(f"sample_rate is {sample_rate}; give 4000 to 48000 Hz.")
        if not 1 <= segments <= 64:
            raise InvalidFunction(f"segments is {segments}; give 1 to 64.")
        self._rate = sample_rate
        self._segments = segments
        self._window_size = sample_rate // 40  # 25 ms
        self._hop = sample_rate // 80  # 12.5 ms: half a window, so that a frame costs no more than it must
        self._fft_size = 1 << (self._window_size - 1).bit_length()
        self._window = np.hanning(self._window_size + 2)[1:-1].astype(np.float32)
        self._filters = _mel_filters(sample_rate, self._fft_size, bands)

    def __call__(self, value: Input) -> NDArray[np.float32]:
        """Return shape (segments, bands), float32: mean log band energies."""
        samples = audio_samples(value, self._rate)
        least = self._window_size + self._hop * (self._segments - 1)
        if len(samples) < least:
            samples = np.concatenate((samples, np.zeros(least - len(samples), np.float32)))
        samples = np.ascontiguousarray(samples)
        count = 1 + (len(samples) - self._window_size) // self._hop
        step = samples.itemsize
        frames = np.ndarray((count, self._window_size), np.float32, samples, 0, (self._hop * step, step))
        spectrum = np.fft.rfft(frames * self._window, self._fft_size)
        power = (spectrum.real**2 + spectrum.imag**2) @ self._filters
        loudness = power.sum(axis=1)
        audible = np.flatnonzero(loudness >= loudness.max() * np.float32(10.0 ** (-AUDIBLE_DB / 10.0)))
        power = power[audible[0] : audible[-1] + 1]
        means: NDArray[np.float32] = _segments(len(power), self._segments) @ np.log(power + np.float32(1e-6))
        return means


@lru_cache(maxsize=256)
def _segments(frames: int, segments: int) -> NDArray[np.float32]:
    """Return the weight of each frame in each segment, shape (segments, frames): triangles that overlap by half.

    So a sound that is said a little faster changes each mean a little, where hard borders would move whole frames.
    """
    width = frames / segments
    centers = (np.arange(segments) + 0.5) * width - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(frames) - centers[:, None]) / max(width, 1.0))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(weights, np.float32)


class MfccExtractor:
    """Mel-frequency cepstral coefficients (Davis and Mermelstein, 1980) in 8 time segments: 8 x 13 = 104 numbers.

    Coefficient i is scaled by the square root of i, so that the fine shape of the spectrum weighs as much as its slope;
    the zeroth, loudness, is left out.
    """

    def __init__(
        self,
        metric: str = "cosine",
        sample_rate: int = 8000,
        coefficients: int = 13,
        segments: int = 8,
        bands: int = 26,
    ) -> None:
        if not 1 <= coefficients < bands <= 128:
            raise InvalidFunction("coefficients must be at least 1 and below bands, and bands at most 128.")
        self._unit = metric == "cosine"
        self._mel = _MelFrames(sample_rate, bands, segments)
        self._dimension = coefficients * segments
        index, band = np.arange(1, coefficients + 1)[None, :], np.arange(bands)[:, None]
        cosines = np.cos(np.pi * index * (band + 0.5) / bands) * np.sqrt(2 / bands)
        self._cosines = np.ascontiguousarray(cosines * np.sqrt(index), np.float32)

    @property
    def dimension(self) -> int:
        """Length of the key."""
        return self._dimension

    def __call__(self, value: Input) -> Key:
        """Return the key. Raises InvalidValue for anything but a sound."""
        key = (self._mel(value) @ self._cosines).ravel()
        return unit(key) if self._unit else key


class LogMelExtractor:
    """Log energies of 20 mel bands in 8 time segments, less their mean: 160 numbers."""

    def __init__(self, metric: str = "cosine", sample_rate: int = 8000, segments: int = 8, bands: int = 20) -> None:
        if not 2 <= bands <= 128:
            raise InvalidFunction(f"bands is {bands}; give 2 to 128.")
        self._unit = metric == "cosine"
        self._mel = _MelFrames(sample_rate, bands, segments)
        self._dimension = segments * bands

    @property
    def dimension(self) -> int:
        """Length of the key."""
        return self._dimension

    def __call__(self, value: Input) -> Key:
        """Return the key. Raises InvalidValue for anything but a sound."""
        key = self._mel(value).ravel()
        key -= key.mean()
        return unit(key) if self._unit else key


def _mel_filters(sample_rate: int, fft_size: int, bands: int) -> NDArray[np.float32]:
    # Triangles evenly spaced in mel (O'Shaughnessy, 1987) from 50 Hz to half the rate; shape (bins, bands).
    low, high = 1127 * np.log1p(50 / 700), 1127 * np.log1p(sample_rate / 2 / 700)
    edges = 700 * np.expm1(np.linspace(low, high, bands + 2) / 1127)
    bins = np.arange(fft_size // 2 + 1) * sample_rate / fft_size
    rising = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.ascontiguousarray(np.maximum(0, np.minimum(rising, falling)), np.float32)
