"""Networks that make keys: the spectrogram of sounds, and that training tells results apart."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from likewise.function.spec import ModelSpec
from likewise.inference.model import OnnxModel
from likewise.tuning import key_networks
from likewise.tuning.distill import extract_one, recipe
from likewise.types import Audio, Input, Tensor

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


def tones(count: int, seed: int) -> tuple[Tensor, np.ndarray]:
    """Return sounds of half a second that rise, fall or stay, at pitches of their own, and which of them each does."""
    rng = np.random.default_rng(seed)
    ways = rng.integers(0, 3, count)
    time = np.arange(4000) / 8000
    pitches = rng.uniform(300, 700, count)[:, None] * 2.0 ** ((ways - 1)[:, None] * 2 * time)
    sounds = np.sin(2 * np.pi * np.cumsum(pitches, 1) / 8000) * rng.uniform(0.1, 0.9, count)[:, None]
    return (sounds + 0.01 * rng.normal(size=sounds.shape)).astype(np.float32), ways


@pytest.mark.parametrize("rate", [1000, 8000, 16_000, 48_000])
def test_every_band_hears_something(rate: int) -> None:
    """Also the low ones, narrower than what lies between two bins; and none of them more than its share."""
    bands = key_networks.mel_bands(max(16, round(0.025 * rate)), rate)
    assert bands.shape[0] == key_networks.BANDS
    assert (bands.sum(1) > 0).all()
    assert (bands >= 0).all()
    assert (bands <= 1).all()
    peaks = bands.argmax(1)
    assert (np.diff(peaks) >= 0).all()


def test_how_sounds_are_prepared_comes_from_the_model_and_the_inputs() -> None:
    """A model's own rate and length, no faster than 16 kHz; in windows, the length of the sounds up to four seconds."""
    sample: list[Input] = [Audio(np.zeros(8000 * 9, np.float32), 8000)]
    whole = recipe("audio", ModelSpec(sample_rate=44_100, seconds=2.0), sample)
    windows = recipe("audio", ModelSpec(sample_rate=8000, seconds=0.5, overlap=100), sample)
    assert whole is not None
    assert windows is not None
    assert whole.options == {"sample_rate": 16_000, "seconds": 2.0}
    assert windows.options == {"sample_rate": 8000, "seconds": 4.0}
    assert whole.prepare(sample[0]).shape == (32_000,)
    assert recipe("array", ModelSpec(), [np.zeros(3, np.float32)]) is None


@needs_torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_sounds_that_mean_the_same_come_near_each_other(tmp_path: Path) -> None:
    """Whatever their pitch and loudness; the file makes the same keys one at a time."""
    made = recipe("audio", ModelSpec(sample_rate=8000, seconds=0.5), [Audio(np.zeros(4000, np.float32), 8000)])
    assert made is not None
    sounds, ways = tones(300, 1)
    network = made.network(sounds[0])
    content = key_networks.trained(network, sounds, ways, 3, made.vary, 8.0, lambda _: None)
    path = tmp_path / "key.onnx"
    path.write_bytes(content)
    run = OnnxModel(path).run_one()
    others, theirs = tones(100, 2)
    keys = np.array([extract_one(run, each) for each in others])
    alike = keys @ keys.T
    np.fill_diagonal(alike, -1)
    assert np.mean(theirs[alike.argmax(1)] == theirs) > 0.8  # by chance: a third
