"""Train a plain network of the kind that compression papers report on: convolutions, then large dense layers.

It serves nothing; `likewise compress` is measured on it, see docs/compression.md. It is written as a function in a
folder of its own, with the photographs that it was and was not trained on beside it, as folders of one sign each.

    python vgg_signs.py --data DIR --out DIR
    likewise compress vgg-signs --functions DIR --inputs DIR/seen --held-out DIR/unseen --labels folders
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import signs_data
import torch
from common import FUNCTIONS, accuracy, export, jitter, relight, report, run_onnx, smooth_cross_entropy, train
from torch import Tensor, nn

from likewise.workloads.signs import find_tracks

SIDE = 32
BATCH = 64
WIDTHS = (32, 64, 128)
DENSE = (1024, 1024)
SPEC = """\
description = "German traffic signs, 43 classes, by a network with dense layers"

[input]
kind = "image"

[model]
file = "model.onnx"
size = [32, 32]
channels = 3
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[result]
kind = "label"
labels = "labels.txt"
equality = "label"

[[keys]]
extractor = "color"
"""


def network() -> nn.Sequential:
    """Return the network: (n, 3, 32, 32), standardized, to (n, 43)."""
    layers: list[nn.Module] = []
    before = 3
    for width in WIDTHS:
        for _ in range(2):
            layers += [nn.Conv2d(before, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    before *= (SIDE // 2 ** len(WIDTHS)) ** 2
    for width in DENSE:
        layers += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(0.3)]
        before = width
    return nn.Sequential(*layers, nn.Linear(before, signs_data.CLASSES))


def write_photographs(data: Path, out: Path) -> None:
    """Copy the photographs: `seen` was trained on, `unseen` was not; folders by number of the class."""
    for track in find_tracks(data):
        folder = out / ("unseen" if track.held_out else "seen") / f"{track.class_id:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        for path in track.frames:
            shutil.copyfile(path, folder / path.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds gtsrb/")
    parser.add_argument("--out", type=Path, required=True, help="where the function and the photographs go")
    parser.add_argument("--epochs", type=int, default=36)
    options = parser.parse_args()
    torch.manual_seed(0)
    write_photographs(options.data, options.out)
    images, labels = signs_data.load(options.data, SIDE, held_out=False)
    test, test_labels = signs_data.load(options.data, SIDE, held_out=True)
    test = (test - 0.5) / 0.5
    weight = (1 / torch.bincount(labels, minlength=signs_data.CLASSES).clamp(1).sqrt())[labels]

    def batch(numbers: Tensor) -> tuple[Tensor, Tensor]:
        numbers = torch.multinomial(weight, len(numbers), replacement=True)
        seen = relight(jitter(images[numbers], SIDE, turn=12, zoom=0.18, shift=0.1))
        return ((seen - 0.5) / 0.5).contiguous(memory_format=torch.channels_last), labels[numbers]

    trained = train(
        network(), batch, smooth_cross_entropy, samples=len(images), epochs=options.epochs, batch_size=BATCH,
        check=lambda each: accuracy(each, test, test_labels),
    )  # fmt: skip
    folder = options.out / "vgg-signs"
    example = torch.zeros(1, 3, SIDE, SIDE)
    export(trained, example, folder / "1" / "model.onnx")
    (folder / "function.toml").write_text(SPEC)
    shutil.copyfile(FUNCTIONS / "signs" / "1" / "labels.txt", folder / "1" / "labels.txt")
    right = run_onnx(folder / "1" / "model.onnx", test.numpy()).argmax(1) == test_labels.numpy()
    print(f"held out accuracy {np.mean(right):.4f}; {report(trained, example, folder / '1' / 'model.onnx')}")


if __name__ == "__main__":
    main()
