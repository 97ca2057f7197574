"""What the scripts for small variants share: what the full model says, and learning to agree with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from common import run_onnx, train
from torch import Tensor, nn

SHARPNESS = 2.0
"""Temperature of the softmax under which student and teacher are compared (Hinton et al., 2015)."""


def pooled(path: Path | None, make: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return (inputs, the teacher's logits for them); from a file where it is there, else made and kept in it."""
    if path is not None and path.is_file():
        with np.load(path) as kept:
            return kept["inputs"], kept["logits"]
    inputs, logits = make()
    if path is not None:
        np.savez(path, inputs=inputs, logits=logits)
    return inputs, logits


def teach(path: Path, inputs: np.ndarray, size: int = 32) -> np.ndarray:
    """Return an ONNX model's logits for many inputs, on one core, saying how far it is."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    parts = []
    for start in range(0, len(inputs), size):
        parts.append(session.run(None, {"input": inputs[start : start + size]})[0])
        if start % (100 * size) == 0:
            print(f"teacher: {start} of {len(inputs)}", flush=True)
    return np.concatenate(parts)


def distillation(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of a student against the teacher's logits: soft, and the class it would answer."""
    said = network(inputs).float()
    soft = F.cross_entropy(said / SHARPNESS, (targets / SHARPNESS).softmax(1))
    hard = F.cross_entropy(said, targets.argmax(1))
    return 0.7 * SHARPNESS**2 * soft + 0.3 * hard


def distill(
    network: nn.Module,
    batch: Callable[[Tensor], tuple[Tensor, Tensor]],
    *,
    samples: int,
    epochs: int,
    rate: float = 3e-3,
    check: Callable[[nn.Module], float] | None = None,
    batch_size: int = 128,
) -> nn.Module:
    """Return the trained student. In float32: processors without bfloat16 are slower with it."""
    return train(
        network, batch, distillation, samples=samples, epochs=epochs, batch_size=batch_size, rate=rate, check=check,
        dtype=torch.float32,
    )  # fmt: skip


def agreement(path: Path, inputs: np.ndarray, teacher: np.ndarray) -> float:
    """Return the share of inputs on which an ONNX file says what the teacher says."""
    return float((run_onnx(path, inputs).argmax(1) == teacher.argmax(1)).mean())


def head(keys: np.ndarray, logits: np.ndarray, hidden: int, epochs: int = 40) -> nn.Module:
    """Return a network from keys to the teacher's classes; hidden: width of its one hidden layer, 0: none."""
    inputs, targets = torch.from_numpy(keys), torch.from_numpy(logits)
    width, classes = keys.shape[1], logits.shape[1]
    layers: list[nn.Module] = [nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    network = nn.Sequential(*(layers if hidden else [nn.Linear(width, classes)]))
    return distill(
        network, lambda chosen: (inputs[chosen], targets[chosen]), samples=len(keys), epochs=epochs, rate=1e-2
    )
