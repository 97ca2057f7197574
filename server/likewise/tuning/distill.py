"""A small network trained to make keys: inputs with equal results near each other, with the model as the teacher.

Three strided convolutions and a linear layer, trained to tell the model's results apart by cosine with a margin (Wang
et al., CosFace, CVPR 2018). What is learned is what the model says, not any true label. PyTorch comes with the extra
`train`; where it is not installed, nothing is trained.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from likewise.evaluation.own import Read, Subject
from likewise.features.embedding import OnnxExtractor
from likewise.features.image_tensor import image_tensor
from likewise.files import PUBLIC, write_atomic
from likewise.inference.model import OnnxModel
from likewise.tuning.candidates import Candidate, Split, measured
from likewise.types import Input, Tensor
from likewise.workloads.inputs import Inputs

NAME = "distilled"
SIDE = 32
WIDTHS = (48, 96, 128)
DIMENSION = 48
BATCH = 128
RATE = 3e-3
SCALE, MARGIN = 16.0, 0.1
"""Sharpness of the softmax over cosines, and what is taken off the right one."""
FEWEST = 200
"""Inputs below which nothing is trained."""


def distilled(
    subject: Subject,
    inputs: Inputs,
    read: Read,
    parts: Split,
    sample: Sequence[Input],
    model_s: float,
    seconds: float,
    note: Callable[[str], None],
    advance: Callable[[float], None],
) -> list[Candidate]:
    """Return a network trained for about so many seconds, or nothing; note: says why. advance: with seconds gone by."""
    model = subject.spec.model
    if seconds <= 0 or model is None:
        return []
    if importlib.util.find_spec("torch") is None:
        note("No key network is trained: that needs PyTorch, `pip install 'likewise[train]'`.")
        return []
    if subject.spec.input.kind != "image":
        note("No key network is trained: that is for images alone.")
        return []
    labels = np.array(read.labels)
    found, numbers = np.unique(labels[parts.fitted], return_inverse=True)
    if len(parts.fitted) < FEWEST or not 2 <= len(found) <= len(parts.fitted) // 4:
        note("No key network is trained: there are too few inputs, or hardly any two of them have equal results.")
        return []
    channels = model.channels
    prepare = image_tensor((SIDE, SIDE), channels)
    wanted, pictures = set(read.places), []
    for place, record in enumerate(inputs):
        if place in wanted:
            pictures.append(prepare(subject.read(record)[0]))
    stacked = np.stack(pictures)
    content = _trained(stacked[parts.fitted], numbers, len(found), seconds, advance)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key.onnx"
        path.write_bytes(content)
        extract = OnnxExtractor(OnnxModel(path).run_one(), prepare, DIMENSION)
        (key_s,) = measured([extract], sample)
        run = OnnxModel(path).run_one()
    keys = np.ascontiguousarray([extract_one(run, stacked[at]) for at in parts.played], np.float32)
    return [Candidate(NAME, keys, key_s, model_s, False, partial(_write, content, channels))]


def extract_one(run: Callable[[Tensor], Tensor], picture: Tensor) -> Tensor:
    """Return the key of a prepared picture, at norm 1."""
    key = run(picture).reshape(-1)
    return key / max(float(np.linalg.norm(key)), 1e-12)


def _write(content: bytes, channels: int, folder: Path) -> Mapping[str, Any]:
    name = f"key-{hashlib.sha256(content).hexdigest()[:12]}.onnx"
    write_atomic(folder / name, content, PUBLIC)
    return {
        "name": NAME, "extractor": "onnx", "metric": "cosine", "file": name, "size": [SIDE, SIDE], "channels": channels,
    }  # fmt: skip


def _trained(
    pictures: Tensor, numbers: Tensor, classes: int, seconds: float, advance: Callable[[float], None]
) -> bytes:
    """Return the trained network as an ONNX file: from pictures in [0, 1], shape (n, c, side, side), to keys."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    torch.set_num_threads(2)
    channels = pictures.shape[1]
    layers: list[Any] = [nn.LayerNorm([channels, SIDE, SIDE], elementwise_affine=False)]
    before = channels
    for width in WIDTHS:
        layers += [nn.Conv2d(before, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * before, DIMENSION))
    directions = nn.Parameter(torch.randn(classes, DIMENSION))
    optimizer = torch.optim.AdamW([*network.parameters(), directions], lr=RATE, weight_decay=0.05)
    images, targets = torch.from_numpy(pictures), torch.from_numpy(numbers.astype(np.int64))
    # rare results are drawn more often, by the square root of how rare they are
    weights = (1 / torch.bincount(targets, minlength=classes).clamp(1).sqrt())[targets]
    started, gone = monotonic(), 0.0
    while (spent := monotonic() - started) < seconds:
        advance(spent - gone)
        gone, share = spent, spent / seconds
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, 0.1 + share / 0.05) * (0.5 + 0.5 * math.cos(math.pi * share))
        drawn = torch.multinomial(weights, BATCH, replacement=True)
        keys = functional.normalize(network(_varied(images[drawn], torch, functional)), eps=1e-6)
        cosines = keys @ functional.normalize(directions, dim=1).T
        right = functional.one_hot(targets[drawn], classes)
        loss = functional.cross_entropy(SCALE * (cosines - MARGIN * right), targets[drawn], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    network.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key.onnx"
        torch.onnx.export(
            network, (images[:1],), str(path), dynamo=False, opset_version=17, input_names=["input"],
            output_names=["key"], dynamic_axes={"input": {0: "batch"}, "key": {0: "batch"}},
        )  # fmt: skip
        return path.read_bytes()


def _varied(images: Any, torch: Any, functional: Any) -> Any:
    """Return pictures a moment later: turned, zoomed, moved a little, in other light."""
    count = len(images)

    def spread(low: float, high: float) -> Any:
        return torch.empty(count).uniform_(low, high)

    angle = spread(-0.15, 0.15)
    wide, high = 1 + spread(-0.12, 0.12), 1 + spread(-0.12, 0.12)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [cos * wide, -sin * high, spread(-0.16, 0.16), sin * wide, cos * high, spread(-0.16, 0.16)]
    grid = functional.affine_grid(torch.stack(rows, 1).view(count, 2, 3), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    lit = moved.clamp(1e-4, 1) ** torch.exp(spread(-0.4, 0.4)).view(-1, 1, 1, 1)
    return (lit * torch.exp(spread(-1.0, 0.4)).view(-1, 1, 1, 1) + 0.02 * torch.randn_like(lit)).clamp(0, 1)
