"""Networks that make keys, one for each kind of input, and how they are trained.

What is learned is to tell results apart by cosine with a margin (Wang et al., CosFace, CVPR 2018), from inputs that are
varied as a moment later, another distance or another light would. PyTorch comes with the extra `train`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from likewise.types import Tensor

SIDE = 32
"""Pictures are this wide and high."""
DIMENSION = 48
WIDTHS = (48, 96, 128)
BATCH = 128
RATE = 3e-3
SCALE, MARGIN = 16.0, 0.1
"""Sharpness of the softmax over cosines, and what is taken off the right one."""
BANDS = 40
FLOOR_DB = 80.0
"""Sounds: what is this much weaker than the loudest moment counts as silence."""


def picture_network(example: Tensor) -> Any:
    """Return the untrained network for pictures in [0, 1], shape (channels, side, side)."""
    from torch import nn

    channels = example.shape[0]
    layers: list[Any] = [nn.LayerNorm(list(example.shape), elementwise_affine=False)]
    for width in WIDTHS:
        layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * channels, DIMENSION))


def sound_network(sample_rate: int) -> Any:
    """Return the untrained network for sounds, shape (samples,): a log-mel spectrogram, then convolutions over time.

    The spectrogram is a convolution with the waves of a discrete Fourier transform (25 ms under a Hann window, every
    12.5 ms), squared, and summed in bands evenly spaced on the mel scale; it is not trained.
    """
    import torch
    from torch import nn

    size = max(16, round(0.025 * sample_rate))
    phase = 2 * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size
    waves = np.concatenate([np.cos(phase), np.sin(phase)]) * np.hanning(size)

    class Spectrogram(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("waves", torch.from_numpy(waves.astype(np.float32)[:, None]))
            self.register_buffer("bands", torch.from_numpy(mel_bands(size, sample_rate))[:, :, None])

        def forward(self, sound: Any) -> Any:
            parts = nn.functional.conv1d(sound[:, None], self.waves, stride=size // 2)
            half = size // 2 + 1
            power = nn.functional.conv1d(parts[:, :half] ** 2 + parts[:, half:] ** 2, self.bands)
            level = 10 * torch.log10(power + 1e-10)
            loudest = level.amax((1, 2), keepdim=True)
            return torch.maximum(level - loudest, -FLOOR_DB * torch.ones_like(loudest)) / FLOOR_DB + 1

    class Summary(nn.Module):  # type: ignore[misc]
        def forward(self, features: Any) -> Any:
            third = features.shape[2] // 3  # beginning, middle and end: words differ by what comes first
            parts = [features[:, :, :third], features[:, :, third : 2 * third], features[:, :, 2 * third :]]
            return torch.cat([part.mean(2) for part in parts] + [features.amax(2)], 1)

    layers: list[Any] = [Spectrogram()]
    channels = BANDS
    for width in WIDTHS:
        layers += [nn.Conv1d(channels, width, 5, 2, 2), nn.BatchNorm1d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, Summary(), nn.Dropout(0.2), nn.Linear(4 * channels, DIMENSION))


def mel_bands(size: int, sample_rate: int) -> Tensor:
    """Return triangular bands over the bins of a Fourier transform, shape (bands, size // 2 + 1), float32."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    bins = np.arange(size // 2 + 1) * sample_rate / size
    rising = (bins - edges[:-2, None]) / np.maximum(edges[1:-1] - edges[:-2], 1e-9)[:, None]
    falling = (edges[2:, None] - bins) / np.maximum(edges[2:] - edges[1:-1], 1e-9)[:, None]
    found = np.maximum(0, np.minimum(rising, falling))
    nearest = np.abs(bins - edges[1:-1, None]).argmin(1)  # narrow low bands may lie between two bins
    found[np.arange(BANDS), nearest] = np.maximum(found[np.arange(BANDS), nearest], 1e-3)
    return found.astype(np.float32)


def trained(
    network: Any,
    inputs: Tensor,
    numbers: Tensor,
    classes: int,
    vary: Callable[[Any], Any],
    seconds: float,
    advance: Callable[[float], None],
) -> bytes:
    """Return a network, trained for about so many seconds, as an ONNX file: from prepared inputs to keys.

    inputs: shape (n, ...); numbers: the number of each one's result, below `classes`. vary: from a batch to another
    one that means the same. advance: called with the seconds that went by.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    directions = nn.Parameter(torch.randn(classes, DIMENSION))
    optimizer = torch.optim.AdamW([*network.parameters(), directions], lr=RATE, weight_decay=0.05)
    given, targets = torch.from_numpy(inputs), torch.from_numpy(numbers.astype(np.int64))
    # rare results are drawn more often, by the square root of how rare they are
    weights = (1 / torch.bincount(targets, minlength=classes).clamp(1).sqrt())[targets]
    started, gone = monotonic(), 0.0
    while (spent := monotonic() - started) < seconds:
        advance(spent - gone)
        gone, share = spent, spent / seconds
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, 0.1 + share / 0.05) * (0.5 + 0.5 * math.cos(math.pi * share))
        drawn = torch.multinomial(weights, BATCH, replacement=True)
        keys = functional.normalize(network(vary(given[drawn])), eps=1e-6)
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
            network, (given[:1],), str(path), dynamo=False, opset_version=17, input_names=["input"],
            output_names=["key"], dynamic_axes={"input": {0: "batch"}, "key": {0: "batch"}},
        )  # fmt: skip
        return path.read_bytes()


def _spread(count: int, low: float, high: float) -> Any:
    import torch

    return torch.empty(count).uniform_(low, high)


def varied_pictures(images: Any) -> Any:
    """Return pictures a moment later: turned, zoomed, moved a little, in other light."""
    import torch
    from torch.nn import functional

    count = len(images)
    angle = _spread(count, -0.15, 0.15)
    wide, high = 1 + _spread(count, -0.12, 0.12), 1 + _spread(count, -0.12, 0.12)
    cos, sin = torch.cos(angle), torch.sin(angle)
    across, down = _spread(count, -0.16, 0.16), _spread(count, -0.16, 0.16)
    rows = [cos * wide, -sin * high, across, sin * wide, cos * high, down]
    grid = functional.affine_grid(torch.stack(rows, 1).view(count, 2, 3), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    lit = moved.clamp(1e-4, 1) ** torch.exp(_spread(count, -0.4, 0.4)).view(-1, 1, 1, 1)
    bright = torch.exp(_spread(count, -1.0, 0.4)).view(-1, 1, 1, 1)
    return (lit * bright + 0.02 * torch.randn_like(lit)).clamp(0, 1)


def varied_sounds(sounds: Any) -> Any:
    """Return sounds said once more: earlier or later, faster or slower, louder or softer, in other noise."""
    import torch
    from torch.nn import functional

    count, samples = sounds.shape
    pace, start = 1 + _spread(count, -0.1, 0.1), _spread(count, -0.1, 0.1)
    at = torch.linspace(-1, 1, samples)[None] * pace[:, None] + start[:, None]
    grid = torch.stack([at, torch.zeros_like(at)], 2)[:, None]
    moved = functional.grid_sample(sounds[:, None, None], grid, padding_mode="zeros", align_corners=True)[:, 0, 0]
    loud = moved.abs().amax(1, keepdim=True)
    noise = loud * 10 ** _spread(count, -4.0, -1.7)[:, None] * torch.randn_like(moved)
    return (moved + noise) * 10 ** _spread(count, -0.5, 0.3)[:, None]
