"""Train the recognizer of traffic signs."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import signs_data
import torch
from common import (
    FUNCTIONS,
    accuracy,
    check_export,
    cut_out,
    export,
    jitter,
    relight,
    report,
    residual_network,
    run_onnx,
    smooth_cross_entropy,
    train,
)
from torch import Tensor, nn

SIDE = 48
BATCH = 64
DRAFT_SIDE = 32
"""Two thirds of the steps see photographs at this side: as good a start at less than half the cost."""


def recognizer() -> nn.Sequential:
    """Return the network: (n, 3, 48, 48), standardized, to (n, 43)."""
    return residual_network(3, signs_data.CLASSES, (64, 128, 192), (4, 5, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds gtsrb/")
    parser.add_argument("--out", type=Path, default=FUNCTIONS / "signs" / "1" / "model.onnx")
    parser.add_argument("--weights", type=Path, help="where to keep the weights (.pt), for signs_key.py --teacher")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--resume", type=Path, help="weights (.pt) to go on from, at the full side throughout")
    options = parser.parse_args()
    torch.manual_seed(0)
    images, labels = signs_data.load(options.data, SIDE, held_out=False)
    test, test_labels = signs_data.load(options.data, SIDE, held_out=True)
    test = (test - 0.5) / 0.5
    # Rare classes have a handful of tracks: draw them more often, by the square root of how rare they are.
    weight = (1 / torch.bincount(labels, minlength=signs_data.CLASSES).clamp(1).sqrt())[labels]

    draft = 0 if options.resume else options.epochs * (len(images) // BATCH) * 2 // 3
    steps = itertools.count()

    def batch(numbers: Tensor) -> tuple[Tensor, Tensor]:
        numbers = torch.multinomial(weight, len(numbers), replacement=True)
        side = DRAFT_SIDE if next(steps) < draft else SIDE
        seen = relight(jitter(images[numbers], side, turn=12, zoom=0.18, shift=0.1))
        inputs = (cut_out(seen) - 0.5) / 0.5
        return inputs.contiguous(memory_format=torch.channels_last), labels[numbers]

    def check(network: nn.Module) -> float:
        return accuracy(network, test, test_labels)

    network, example = recognizer(), torch.zeros(1, 3, SIDE, SIDE)
    check_export(network, example)
    if options.resume:
        network.load_state_dict(torch.load(options.resume))
    network = train(
        network, batch, smooth_cross_entropy, samples=len(images), epochs=options.epochs, batch_size=BATCH,
        check=check, rate=1e-3 if options.resume else 2e-3,
    )  # fmt: skip
    if options.weights:
        torch.save(network.state_dict(), options.weights)
    export(network, example, options.out)
    right = run_onnx(options.out, test.numpy()).argmax(1) == test_labels.numpy()
    print(f"held out accuracy {right.mean():.4f}; {report(network, example, options.out)}")


if __name__ == "__main__":
    main()
