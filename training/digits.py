"""Train the recognizer of handwritten digits, and measure which key suits them."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from common import (
    FUNCTIONS,
    accuracy,
    check_export,
    export,
    jitter,
    relight,
    report,
    residual_network,
    run_onnx,
    smooth_cross_entropy,
    train,
)
from key_quality import harvest
from torch import Tensor, nn

from likewise.workloads import open_workload
from likewise.workloads.digits import SIDE, held_out, load_digits, photograph

KEY_SIDE = 16
KEY_DIMENSION = 32


def recognizer() -> nn.Sequential:
    """Return the network: (n, 1, 64, 64), standardized, to (n, 10)."""
    return residual_network(1, 10, (48, 96, 128), (2, 3, 3))


class KeyNetwork(nn.Module):
    """(n, 1, 16, 16) in [0, 1] to (n, 32) of any norm; indifferent to brightness and contrast."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(32 * 16, KEY_DIMENSION)

    def forward(self, x: Tensor) -> Tensor:
        even = F.layer_norm(x.flatten(1), (KEY_SIDE * KEY_SIDE,)).view(-1, 1, KEY_SIDE, KEY_SIDE)
        return self.head(self.body(even).flatten(1))


class KeyClassifier(nn.Module):
    """A key network with one direction per digit, thrown away after the training."""

    def __init__(self) -> None:
        super().__init__()
        self.key = KeyNetwork()
        self.directions = nn.Parameter(torch.randn(10, KEY_DIMENSION))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.key(x).float(), eps=1e-6) @ F.normalize(self.directions.float(), dim=1).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FUNCTIONS / "digits" / "1")
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    torch.manual_seed(0)
    digits, numbers = load_digits()
    half = [i for i in range(len(digits)) if not held_out(i)]
    images = torch.from_numpy(np.stack([photograph(digits[i]) for i in half])).float()[:, None] / 255
    labels = torch.from_numpy(numbers[half])
    samples = open_workload("digits").stream(None, 0, 8)
    shots = np.stack([cv2.imdecode(np.frombuffer(s.body, np.uint8), cv2.IMREAD_GRAYSCALE) for s in samples])
    truth = np.array([int(s.truth) for s in samples])
    unseen = np.array([s.held_out for s in samples])
    test = torch.from_numpy(shots[unseen]).float()[:, None] / 255

    def distorted(chosen: Tensor) -> Tensor:
        seen = jitter(images[chosen], SIDE, turn=10, zoom=0.12, shift=0.06, shear=0.12)
        return relight(seen, darkest=0.5, brightest=1.1, noise=0.05)

    def batch(chosen: Tensor) -> tuple[Tensor, Tensor]:
        inputs = (distorted(chosen) - 0.5) / 0.5
        return inputs.contiguous(memory_format=torch.channels_last), labels[chosen]

    example = torch.zeros(1, 1, SIDE, SIDE)
    network = recognizer()
    check_export(network, example)
    network = train(
        network, batch, smooth_cross_entropy, samples=len(half), epochs=options.epochs, batch_size=64,
        check=lambda n: accuracy(n, (test - 0.5) / 0.5, torch.from_numpy(truth[unseen])),
    )  # fmt: skip
    path = options.out / "model.onnx"
    export(network, example, path)
    right = run_onnx(path, ((test - 0.5) / 0.5).numpy()).argmax(1) == truth[unseen]
    print(f"held out accuracy {right.mean():.4f}; {report(network, example, path)}")

    def small(pictures: Tensor) -> Tensor:
        return F.interpolate(pictures, (KEY_SIDE, KEY_SIDE), mode="area")

    def key_batch(_: Tensor) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(half), (256,))
        return small(distorted(chosen)), labels[chosen]

    def key_loss(key_network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        cosines = key_network(inputs)
        cosines = cosines - 0.15 * F.one_hot(targets, 10)
        return F.cross_entropy(12 * cosines, targets, label_smoothing=0.05)

    every = small(torch.from_numpy(shots).float()[:, None] / 255).numpy()
    key = train(KeyClassifier(), key_batch, key_loss, samples=256 * 20, epochs=80, batch_size=256, rate=4e-3).key
    path, example = options.out / "key.onnx", torch.rand(1, 1, KEY_SIDE, KEY_SIDE)
    export(key, example, path, output="key")
    print("key:", report(key, example, path))
    print("harvest, all 1,797:", harvest(run_onnx(path, every), truth))
    print("harvest, held out alone:", harvest(run_onnx(path, every[unseen]), truth[unseen]))
    plain = every.reshape(len(every), -1)
    plain = plain - plain.mean(1, keepdims=True)
    print("harvest of 16 × 16 gray:", harvest(plain, truth))


if __name__ == "__main__":
    main()
