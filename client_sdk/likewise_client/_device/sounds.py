"""Keys of sounds, as the server makes them: mel spectra and cepstra of what is audible, pooled over time segments."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_RATE = 8000
_WINDOW, _HOP, _FFT = _RATE // 40, _RATE // 80, 256
_AUDIBLE_DB = 30.0


def _mel(bands: int) -> Callable[[Floats, int], Floats]:
    """Return what makes log energies of mel bands in 8 segments, shape (8, bands)."""
    low, high = 1127 * np.log1p(50 / 700), 1127 * np.log1p(_RATE / 2 / 700)
    edges = 700 * np.expm1(np.linspace(low, high, bands + 2) / 1127)
    bins = np.arange(_FFT // 2 + 1) * _RATE / _FFT
    rising = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters = np.ascontiguousarray(np.maximum(0, np.minimum(rising, falling)), np.float32)
    window = np.hanning(_WINDOW + 2)[1:-1].astype(np.float32)

    def frames_of(samples: Floats, rate: int) -> Floats:
        samples = resampled(samples, rate, _RATE)
        least = _WINDOW + _HOP * 7
        if len(samples) < least:
            samples = np.concatenate((samples, np.zeros(least - len(samples), np.float32)))
        frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
        spectrum = np.fft.rfft(frames * window, _FFT)
        power = (spectrum.real**2 + spectrum.imag**2) @ filters
        loudness = power.sum(axis=1)
        audible = np.flatnonzero(loudness >= loudness.max() * np.float32(10.0 ** (-_AUDIBLE_DB / 10.0)))
        power = power[audible[0] : audible[-1] + 1]
        means: Floats = (_segments(len(power)) @ np.log(power + np.float32(1e-6))).astype(np.float32)
        return means

    return frames_of


@lru_cache(maxsize=256)
def _segments(frames: int) -> Floats:
    width = frames / 8
    centers = (np.arange(8) + 0.5) * width - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(frames) - centers[:, None]) / max(width, 1.0))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(weights, np.float32)


def resampled(samples: Floats, rate: int, target: int) -> Floats:
    """Return samples at another rate, band-limited (Fourier method)."""
    if rate == target:
        return samples
    count = max(1, round(len(samples) * target / rate))
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    return (np.fft.irfft(spectrum, count) * (count / len(samples))).astype(np.float32)


def mfcc() -> Callable[[tuple[Floats, int]], Floats]:
    """Return what makes 13 cepstral coefficients in 8 segments: 104 numbers."""
    mel = _mel(26)
    index, band = np.arange(1, 14)[None, :], np.arange(26)[:, None]
    cosines = np.cos(np.pi * index * (band + 0.5) / 26) * np.sqrt(2 / 26) * np.sqrt(index)
    basis = np.ascontiguousarray(cosines, np.float32)
    return lambda sound: (mel(*sound) @ basis).ravel()


def logmel() -> Callable[[tuple[Floats, int]], Floats]:
    """Return what makes log energies of 20 bands in 8 segments less their mean: 160 numbers."""
    mel = _mel(20)

    def make(sound: tuple[Floats, int]) -> Floats:
        key = mel(*sound).ravel()
        key -= key.mean()
        return key

    return make


EXTRACTORS = {"mfcc": mfcc, "logmel": logmel}
