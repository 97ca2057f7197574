"""Train the recognizer of spoken digits: raw samples in, the log-mel spectrogram computed inside the network."""

from __future__ import annotations

import argparse
import math
import wave
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from common import (
    FUNCTIONS,
    accuracy,
    check_export,
    export,
    report,
    residual_network,
    run_onnx,
    smooth_cross_entropy,
    train,
    uniform,
)
from torch import Tensor, nn

from likewise.workloads.speech import find_recordings

RATE = 8000
LENGTH = 8000
WINDOW = 256
HOP = 80
BANDS = 64
MOMENTS = (LENGTH - WINDOW) // HOP + 1


def mel_matrix(bands: int, bins: int, rate: int, low: float = 60.0, high: float = 3900.0) -> Tensor:
    """Return triangular filters, evenly spaced in mel: shape (bands, bins)."""

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    edges = 700 * (10 ** (np.linspace(mel(low), mel(high), bands + 2) / 2595) - 1)
    frequencies = np.linspace(0, rate / 2, bins)
    rising = (frequencies[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies[None]) / (edges[2:] - edges[1:-1])[:, None]
    return torch.tensor(np.maximum(0, np.minimum(rising, falling)), dtype=torch.float32)


class LogMel(nn.Module):
    """(n, 8000) samples to (n, 1, 64, 97): log energies in mel bands, each sound at mean 0 and deviation 1."""

    def __init__(self) -> None:
        super().__init__()
        # A 512-point transform of 256 samples: as a convolution, so that it exports to any runtime.
        bins = 257
        time, frequency = np.arange(WINDOW)[None], np.arange(bins)[:, None]
        phase = 2 * np.pi * frequency * time / 512
        window = np.hanning(WINDOW + 1)[:-1][None]
        basis = np.concatenate([np.cos(phase) * window, np.sin(phase) * window])
        self.register_buffer("basis", torch.tensor(basis[:, None], dtype=torch.float32))
        self.register_buffer("mel", mel_matrix(BANDS, bins, RATE)[:, :, None])

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            waves = F.conv1d(x.float()[:, None], self.basis, stride=HOP)
            power = waves[:, :257] ** 2 + waves[:, 257:] ** 2
            log = torch.log(F.conv1d(power, self.mel) + 1e-6)
            # Silence after the word would swamp the mean, so what is 9 nepers below the loudest counts as silence.
            log = torch.maximum(log, log.amax((1, 2), keepdim=True) - 9)
            flat = F.layer_norm(log.flatten(1), (BANDS * MOMENTS,))
            return flat.view(-1, 1, BANDS, MOMENTS)


class Recognizer(nn.Module):
    """(n, 8000) samples in [-1, 1] at 8 kHz to (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = LogMel()
        self.body = residual_network(1, 10, (48, 96, 160), (2, 3, 3), dropout=0.3)

    def forward(self, x: Tensor) -> Tensor:
        spectrogram = self.features(x)
        if self.training:
            spectrogram = hide_stripes(spectrogram)
        return self.body(spectrogram)


def hide_stripes(spectrogram: Tensor) -> Tensor:
    """Return spectrograms with bands and moments missing (Park et al., SpecAugment, 2019)."""
    n, _, bands, moments = spectrogram.shape
    for size, widest, shape in ((bands, 12, (n, 1, bands, 1)), (moments, 16, (n, 1, 1, moments))):
        for _ in range(2):
            at = torch.arange(size).view(1, size)
            start = uniform(n, 0, size).view(n, 1)
            hidden = (at >= start) & (at < start + uniform(n, 0, widest).view(n, 1))
            spectrogram = spectrogram.masked_fill(hidden.view(shape), 0.0)
    return spectrogram


def load(data: Path, *, held_out: bool) -> tuple[list[np.ndarray], Tensor]:
    """Return (sounds in [-1, 1], digits)."""
    sounds, digits = [], []
    for recording in find_recordings(data):
        if recording.held_out == held_out:
            with wave.open(str(recording.path)) as reader:
                frames = np.frombuffer(reader.readframes(reader.getnframes()), "<i2")
            sounds.append(frames.astype(np.float32) / 32768)
            digits.append(int(recording.digit))
    return sounds, torch.tensor(digits)


def framed(sounds: list[np.ndarray]) -> Tensor:
    """Return sounds cut or padded with silence at their end, as the server does: shape (n, 8000)."""
    out = np.zeros((len(sounds), LENGTH), np.float32)
    for row, sound in zip(out, sounds, strict=True):
        row[: min(LENGTH, len(sound))] = sound[:LENGTH]
    return torch.from_numpy(out)


def respoken(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a sound at another speed and pitch, start, loudness, color and noise: shape (8000,)."""
    speed = rng.uniform(0.82, 1.2)
    points = np.arange(0, len(sound) - 1, speed)
    sound = np.interp(points, np.arange(len(sound)), sound)
    if rng.random() < 0.3:  # a dull or a sharp microphone
        sound = sound + rng.uniform(-0.6, 0.6) * np.concatenate([[0.0], sound[:-1]])
    out = np.zeros(LENGTH, np.float32)
    room = LENGTH - len(sound)
    start = int(rng.integers(-400, min(2400, max(room, 1)) + 1)) if rng.random() < 0.8 else 0
    source, target = max(0, -start), max(0, start)
    kept = min(len(sound) - source, LENGTH - target)
    out[target : target + kept] = sound[source : source + kept]
    loudest = np.abs(out).max() + 1e-6
    noise = 10 ** rng.uniform(-4, -1) * loudest
    out *= 10 ** (rng.uniform(-14, 6) / 20)
    if rng.random() < 0.6:
        hiss = rng.standard_normal(LENGTH)
        if rng.random() < 0.5:
            hiss = np.convolve(hiss, np.ones(6) / 2.5, "same")
        out += (noise * hiss).astype(np.float32)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds fsdd/")
    parser.add_argument("--out", type=Path, default=FUNCTIONS / "speech" / "1" / "model.onnx")
    parser.add_argument("--epochs", type=int, default=26)
    options = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    sounds, digits = load(options.data, held_out=False)
    unheard, unheard_digits = load(options.data, held_out=True)
    test = framed(unheard)

    def batch(chosen: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.from_numpy(np.stack([respoken(sounds[i], rng) for i in chosen.tolist()])).float()
        targets = F.one_hot(digits[chosen], 10).float()
        if rng.random() < 0.4:  # mixup (Zhang et al., 2018)
            share, other = float(rng.beta(0.4, 0.4)), torch.randperm(len(inputs))
            inputs = share * inputs + (1 - share) * inputs[other]
            targets = share * targets + (1 - share) * targets[other]
        return inputs, targets

    example = torch.randn(1, LENGTH) * 0.1
    network = Recognizer()
    check_export(network, example)
    network = train(
        network, batch, smooth_cross_entropy, samples=len(sounds), epochs=options.epochs, batch_size=50,
        check=lambda n: accuracy(n, test, unheard_digits),
    )  # fmt: skip
    export(network, example, options.out)
    right = run_onnx(options.out, test.numpy()).argmax(1) == unheard_digits.numpy()
    print(f"held out accuracy {right.mean():.4f}; {report(network, example, options.out)}")


if __name__ == "__main__":
    main()
