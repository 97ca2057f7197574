"""Train the tiny network whose output is the key of a traffic sign.

Three strided convolutions and a linear layer, trained to tell the classes apart by cosine. With --teacher, the
network also learns to agree with the recognizer on distorted photographs, which says more than the label alone.
What is written is the network in 8 bits.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import signs_data
import torch
import torch.nn.functional as F
from common import FUNCTIONS, cut_out, export, jitter, relight, report, run_onnx, train
from key_quality import harvest
from quantization import quantize
from torch import Tensor, nn

from likewise.workloads import open_workload

SIDE = 32
WIDTHS = (48, 96, 128)
DIMENSION = 48


class KeyNetwork(nn.Module):
    """(n, 3, 32, 32) in [0, 1] to (n, 48) of any norm; indifferent to brightness and contrast."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in WIDTHS:
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(16 * channels, DIMENSION)

    def forward(self, x: Tensor) -> Tensor:
        even = F.layer_norm(x.flatten(1), (3 * SIDE * SIDE,)).view(-1, 3, SIDE, SIDE)
        return self.head(self.body(even).flatten(1))


class Classifier(nn.Module):
    """A key network with one direction per class, thrown away after the training."""

    def __init__(self) -> None:
        super().__init__()
        self.key = KeyNetwork()
        self.directions = nn.Parameter(torch.randn(signs_data.CLASSES, DIMENSION))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.key(x).float(), eps=1e-6) @ F.normalize(self.directions.float(), dim=1).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds gtsrb/")
    parser.add_argument("--out", type=Path, default=FUNCTIONS / "signs" / "1" / "key.onnx")
    parser.add_argument("--epochs", type=int, default=130)
    parser.add_argument("--scale", type=float, default=16.0, help="sharpness of the softmax over cosines")
    parser.add_argument("--margin", type=float, default=0.1, help="taken off the true class's cosine")
    parser.add_argument("--teacher", type=Path, help="recognizer weights (.pt) of signs.py")
    options = parser.parse_args()
    torch.manual_seed(0)
    images, labels = signs_data.load(options.data, 48, held_out=False)
    weight = (1 / torch.bincount(labels, minlength=signs_data.CLASSES).clamp(1).sqrt())[labels]
    teacher = None
    if options.teacher:
        from signs import recognizer

        teacher = recognizer()
        teacher.load_state_dict(torch.load(options.teacher))
        teacher = teacher.eval().to(memory_format=torch.channels_last)

    def batch(_: Tensor) -> tuple[Tensor, Tensor]:
        numbers = torch.multinomial(weight, 256, replacement=True)
        seen = jitter(images[numbers], 48, turn=8, zoom=0.12, shift=0.08)
        seen = relight(seen)
        small = cut_out(F.interpolate(seen, SIDE, mode="bilinear", antialias=True), share=0.3, side=0.3)
        targets = F.one_hot(labels[numbers], signs_data.CLASSES).float()
        if teacher is not None:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                believed = teacher((seen - 0.5) / 0.5).float().softmax(1)
            targets = torch.cat([targets, believed], 1).clone()
        return small.contiguous(memory_format=torch.channels_last), targets

    def loss(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        cosines = network(inputs)
        true, believed = targets[:, : signs_data.CLASSES], targets[:, signs_data.CLASSES :]
        value = F.cross_entropy(options.scale * (cosines - options.margin * true), true, label_smoothing=0.05)
        if believed.shape[1]:
            value = 0.3 * value + 0.7 * F.cross_entropy(options.scale * cosines, believed)
        return value

    streams = {}
    for name in ("signs-junction", "signs-drift", "signs-cold"):
        samples = open_workload(name, options.data).stream(4000, 0, 20)
        decoded = [cv2.imdecode(np.frombuffer(s.body, np.uint8), cv2.IMREAD_COLOR) for s in samples]
        pictures = [signs_data.resized(picture, SIDE) for picture in decoded]
        streams[name] = (signs_data.to_tensor(pictures), np.array([s.truth for s in samples]))

    def check(network: nn.Module) -> float:
        inputs, truth = streams["signs-cold"]
        with torch.inference_mode():
            keys = network.key(inputs).numpy()
        return harvest(keys, truth)[0.95]

    network = train(
        Classifier(), batch, loss, samples=len(images), epochs=options.epochs, batch_size=256, check=check, rate=4e-3
    )
    key = network.key
    example = torch.rand(1, 3, SIDE, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        trained = Path(folder) / "key.onnx"
        export(key, example, trained, output="key")
        quantize(trained, options.out, [picture.numpy() for picture in F.interpolate(images[::6], SIDE, mode="area")])
    print(report(key, example, options.out))
    for name, (inputs, truth) in streams.items():
        found = harvest(run_onnx(options.out, inputs.numpy()), truth)
        print(name, "harvest at", ", ".join(f"{100 * t:.0f} %: {h:.3f}" for t, h in found.items()))


if __name__ == "__main__":
    main()
