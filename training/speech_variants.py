"""Train the small variants of the speech model: a head on the key, and a student of 7 M multiply-adds."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from common import FUNCTIONS, check_export, export, report, run_onnx
from speech import LENGTH, RATE, framed, hide_stripes, load, mel_matrix, respoken
from students import agreement, distill, head, pooled, teach
from torch import Tensor, nn

from likewise.features.audio import MfccExtractor
from likewise.types import Audio

FOLDER = FUNCTIONS / "speech" / "1"
WINDOW, HOP, BANDS = 256, 160, 40
BINS = WINDOW // 2 + 1
MOMENTS = (LENGTH - WINDOW) // HOP + 1


class CoarseLogMel(nn.Module):
    """(n, 8000) samples to (n, 1, 40, 49): as the recognizer's, at half the moments and half the bins."""

    def __init__(self) -> None:
        super().__init__()
        time, frequency = np.arange(WINDOW)[None], np.arange(BINS)[:, None]
        phase = 2 * np.pi * frequency * time / WINDOW
        window = np.hanning(WINDOW + 1)[:-1][None]
        basis = np.concatenate([np.cos(phase) * window, np.sin(phase) * window])
        self.register_buffer("basis", torch.tensor(basis[:, None], dtype=torch.float32))
        self.register_buffer("mel", mel_matrix(BANDS, BINS, RATE)[:, :, None])

    def forward(self, x: Tensor) -> Tensor:
        waves = F.conv1d(x[:, None], self.basis, stride=HOP)
        power = waves[:, :BINS] ** 2 + waves[:, BINS:] ** 2
        log = torch.log(F.conv1d(power, self.mel) + 1e-6)
        log = torch.maximum(log, log.amax((1, 2), keepdim=True) - 9)
        return F.layer_norm(log.flatten(1), (BANDS * MOMENTS,)).view(-1, 1, BANDS, MOMENTS)


class Student(nn.Module):
    """(n, 8000) samples in [-1, 1] at 8 kHz to (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = CoarseLogMel()
        plan = [(1, 24, 2), (24, 48, 2), (48, 64, 1), (64, 80, 2), (80, 80, 1)]
        layers: list[nn.Module] = []
        for inputs, outputs, stride in plan:
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(80, 10))

    def forward(self, x: Tensor) -> Tensor:
        spectrogram = self.features(x)
        if self.training:
            spectrogram = hide_stripes(spectrogram)
        return self.body(spectrogram)


def keys_of(sounds: list[np.ndarray]) -> np.ndarray:
    """Return the keys of sounds as they were sent, not filled up with silence."""
    extract = MfccExtractor()
    return np.stack([extract(Audio(sound, RATE)) for sound in sounds])


def varied(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a sound at another speed, loudness and color, with a little noise; of any length."""
    points = np.arange(0, len(sound) - 1, rng.uniform(0.87, 1.15))
    again = np.interp(points, np.arange(len(sound)), sound)
    again = again + rng.uniform(-0.4, 0.4) * np.concatenate([[0.0], again[:-1]])
    again = again + 10 ** rng.uniform(-4, -1.7) * np.abs(again).max() * rng.standard_normal(len(again))
    return (again * 10 ** (rng.uniform(-6, 3) / 20)).astype(np.float32)


def cut(inputs: np.ndarray) -> list[np.ndarray]:
    """Return sounds without the silence that they were filled up with."""
    lengths = [int(np.flatnonzero(row)[-1]) + 1 if row.any() else WINDOW for row in inputs]
    return [row[: max(length, WINDOW)] for row, length in zip(inputs, lengths, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds fsdd/")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--pool", type=Path, help="where to keep what the full model said (.npz), for the next time")
    parser.add_argument("--variations", type=int, default=6, help="of each recording, that the full model is asked")
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    sounds, _ = load(options.data, held_out=False)
    test = framed(load(options.data, held_out=True)[0]).numpy()

    def pool() -> tuple[np.ndarray, np.ndarray]:
        said = [framed(sounds).numpy()]
        said += [framed([varied(sound, rng) for sound in sounds]).numpy() for _ in range(options.variations - 1)]
        inputs = np.concatenate(said).astype(np.float32)
        return inputs, teach(FOLDER / "model.onnx", inputs)

    inputs, logits = pooled(options.pool, pool)
    held = pooled(
        options.pool and options.pool.with_suffix(".test.npz"), lambda: (test, teach(FOLDER / "model.onnx", test))
    )
    example = torch.randn(1, LENGTH) * 0.1
    check_export(Student(), example)

    spoken = cut(inputs)
    on_key = head(keys_of(spoken), logits, hidden=64, epochs=60)
    export(on_key, torch.rand(1, on_key[0].in_features), options.out / "head.onnx")
    said = run_onnx(options.out / "head.onnx", keys_of(cut(held[0]))).argmax(1)
    print(f"head: agrees on {(said == held[1].argmax(1)).mean():.4f} of the held-out recordings", flush=True)

    targets = torch.from_numpy(logits)

    def batch(chosen: Tensor) -> tuple[Tensor, Tensor]:
        again = [respoken(spoken[i], rng) if rng.random() < 0.5 else inputs[i] for i in chosen.tolist()]
        return torch.from_numpy(np.stack(again).astype(np.float32)), targets[chosen]

    held_inputs, held_said = torch.from_numpy(held[0]), torch.from_numpy(held[1]).argmax(1)

    def check(network: nn.Module) -> float:
        with torch.inference_mode():
            return float((network(held_inputs).argmax(1) == held_said).float().mean())

    student = distill(Student(), batch, samples=len(inputs), epochs=options.epochs, check=check, batch_size=64)
    path = options.out / "student.onnx"
    export(student, example, path)
    print(f"student: agrees on {agreement(path, *held):.4f}; {report(student, example, path)}")


if __name__ == "__main__":
    main()
