"""What the training scripts share: networks, augmentation, the training loop, export to ONNX and its measurement."""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

FUNCTIONS = Path(__file__).parent.parent / "functions"


class Block(nn.Module):
    """A residual block of two 3 × 3 convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(y)) + self.shortcut(x))


def residual_network(
    channels: int, classes: int, widths: tuple[int, ...], depths: tuple[int, ...], dropout: float = 0.2
) -> nn.Sequential:
    """Return a stem, one stage of blocks per width (each halves height and width), pooling and a linear layer."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    inputs = 32
    for width, depth in zip(widths, depths, strict=True):
        for position in range(depth):
            layers.append(Block(inputs, width, 2 if position == 0 else 1))
            inputs = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(inputs, classes)]
    return nn.Sequential(*layers)


def uniform(count: int, low: float, high: float) -> Tensor:
    """Return `count` random numbers in [low, high)."""
    return torch.empty(count).uniform_(low, high)


def jitter(
    images: Tensor, side: int, *, turn: float = 12.0, zoom: float = 0.15, shift: float = 0.1, shear: float = 0.1
) -> Tensor:
    """Return images (n, c, h, w) at side × side, each turned (degrees), zoomed, shifted (of its width), sheared."""
    n = len(images)
    angle = uniform(n, -turn, turn) * math.pi / 180
    wide, high = 1 + uniform(n, -zoom, zoom), 1 + uniform(n, -zoom, zoom)
    slant = uniform(n, -shear, shear)
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack(
        [
            cos * wide,
            -sin * high + slant,
            2 * uniform(n, -shift, shift),
            sin * wide,
            cos * high,
            2 * uniform(n, -shift, shift),
        ],
        1,
    ).view(n, 2, 3)
    grid = F.affine_grid(matrix, [n, images.shape[1], side, side], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def relight(images: Tensor, *, darkest: float = 0.25, brightest: float = 1.6, noise: float = 0.04) -> Tensor:
    """Return images in [0, 1] in other light: gain, gamma, tint, haze, blur and sensor noise."""
    n, channels = images.shape[:2]
    gain = torch.exp(uniform(n, math.log(darkest), math.log(brightest))).view(n, 1, 1, 1)
    gamma = torch.exp(uniform(n, -0.4, 0.4)).view(n, 1, 1, 1)
    tint = 1 + 0.1 * torch.randn(n, channels, 1, 1) if channels > 1 else 1.0
    haze = uniform(n, 0, 0.2).view(n, 1, 1, 1) * (torch.rand(n, 1, 1, 1) < 0.3)
    lit = (images.clamp(1e-4, 1) ** gamma * gain * tint * (1 - haze) + haze).clamp(0, 1)
    blurred = F.avg_pool2d(F.pad(lit, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = uniform(n, 0, 1).view(n, 1, 1, 1) * (torch.rand(n, 1, 1, 1) < 0.3)
    lit = lit * (1 - share) + blurred * share
    return (lit + noise * torch.rand(n, 1, 1, 1) * torch.randn_like(lit)).clamp(0, 1)


def cut_out(images: Tensor, *, share: float = 0.5, side: float = 0.35) -> Tensor:
    """Return images with one random gray rectangle in some of them."""
    n, _, height, width = images.shape
    down, right = torch.arange(height).view(1, height, 1), torch.arange(width).view(1, 1, width)
    y, x = (uniform(n, 0, height).view(n, 1, 1), uniform(n, 0, width).view(n, 1, 1))
    high, wide = uniform(n, 0.1, side).view(n, 1, 1) * height, uniform(n, 0.1, side).view(n, 1, 1) * width
    hidden = ((down - y).abs() < high / 2) & ((right - x).abs() < wide / 2) & (torch.rand(n, 1, 1) < share)
    return torch.where(hidden[:, None], torch.rand(n, 1, 1, 1).expand_as(images), images)


def train(
    network: nn.Module,
    batch: Callable[[Tensor], tuple[Tensor, Tensor]],
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor],
    *,
    samples: int,
    epochs: int,
    batch_size: int = 128,
    rate: float = 2e-3,
    decay: float = 0.05,
    check: Callable[[nn.Module], float] | None = None,
    seed: int = 0,
    threads: int = 1,
    dtype: torch.dtype = torch.bfloat16,
) -> nn.Module:
    """Train with AdamW, one cosine cycle with warm-up, in `dtype`; return the moving average of the weights.

    batch: sample numbers to augmented inputs and targets. check: prints a figure for the averaged network now and then.
    threads: one is the fastest on a busy machine: each convolution waits for its slowest thread.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    network = network.to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(network).eval().requires_grad_(False)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}], lr=rate
    )
    torch.set_flush_denormal(True)
    steps = samples // batch_size
    total, step = epochs * steps, 0
    began = time.monotonic()
    for epoch in range(epochs):
        order = torch.randperm(samples)
        running = 0.0
        for i in range(steps):
            warm = min(1.0, (step + 1) / (0.05 * total))
            for group in optimizer.param_groups:
                group["lr"] = rate * warm * (0.5 + 0.5 * math.cos(math.pi * step / total))
            inputs, targets = batch(order[i * batch_size : (i + 1) * batch_size])
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                value = loss(network, inputs, targets)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            step += 1
            keep = min(0.995, step / (step + 20))
            with torch.no_grad():
                for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
                    if mean.is_floating_point():
                        mean.lerp_(now, 1 - keep)
                    else:
                        mean.copy_(now)
            running += float(value.detach())
        line = f"epoch {epoch + 1:3d}/{epochs}  loss {running / steps:.4f}  {time.monotonic() - began:.0f} s"
        if check is not None and ((epoch + 1) % max(1, epochs // 6) == 0 or epoch + 1 == epochs):
            line += f"  held out {check(average):.4f}"
        print(line, flush=True)
    return average


def smooth_cross_entropy(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of logits against soft targets (n, classes) or class numbers (n,), with label smoothing."""
    return F.cross_entropy(network(inputs).float(), targets, label_smoothing=0.1)


def accuracy(network: nn.Module, inputs: Tensor, labels: Tensor, size: int = 256) -> float:
    """Return the share of right top-1 labels."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        right = sum(
            int((network(inputs[i : i + size]).argmax(1) == labels[i : i + size]).sum())
            for i in range(0, len(inputs), size)
        )
    return right / len(inputs)


def export(network: nn.Module, example: Tensor, path: Path, output: str = "logits") -> None:
    """Write an ONNX file with a dynamic batch axis, weights embedded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        network.eval().to(memory_format=torch.contiguous_format),
        (example,),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["input"],
        output_names=[output],
        dynamic_axes={"input": {0: "batch"}, output: {0: "batch"}},
    )


def check_export(network: nn.Module, example: Tensor) -> None:
    """Raise now, rather than after the training, where a network cannot be exported or loaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "untrained.onnx"
        export(network, example, path)
        run_onnx(path, example.numpy())


def run_onnx(path: Path, inputs: np.ndarray, size: int = 64) -> np.ndarray:
    """Return the first output of an ONNX file for many inputs."""
    session = onnxruntime.InferenceSession(str(path))
    parts = [session.run(None, {"input": inputs[i : i + size]})[0] for i in range(0, len(inputs), size)]
    return np.concatenate(parts)


def report(network: nn.Module, example: Tensor, path: Path) -> str:
    """Return FLOPs (two per multiply-add), size and median milliseconds per input on one core."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(example)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    feed = {"input": example.numpy()}
    times = []
    for _ in range(200):
        began = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - began)
    return (
        f"{counter.get_total_flops() / 1e9:.4f} GFLOP, {path.stat().st_size / 1e6:.2f} MB, "
        f"{1e3 * float(np.median(times)):.3f} ms on one core"
    )
