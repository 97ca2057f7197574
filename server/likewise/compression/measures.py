"""What a network is worth: how often it is right, how small it is, how long it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from likewise.compression.counts import Counts
from likewise.compression.examples import Examples, Task, outputs_of
from likewise.inference.model import OnnxModel
from likewise.tuning.timing import measured
from likewise.types import Tensor

TIMED = 12
"""Inputs that each network is timed on, in turns with all others."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How often a network is right."""

    agreement: float
    """Share of the inputs for which it says what the full model does."""
    accuracy: float
    """Share of those with a label for which it says that; NaN where there are none."""

    def loss(self, full: Judged) -> float:
        """Return how much worse it is than the full model, in percentage points: by the labels where there are any."""
        if math.isnan(self.accuracy):
            return 100 * (1.0 - self.agreement)
        return 100 * (full.accuracy - self.accuracy)


@dataclass(frozen=True, slots=True)
class Row:
    """One network with all its figures."""

    name: str
    category: str
    how: str
    """Its settings, in words."""
    judged: Judged
    loss: float
    """In percentage points."""
    counts: Counts
    file_bytes: int
    packed_bytes: int
    latency_s: float
    """Median of one input on one thread."""
    full_latency_s: float
    """Of the full model, measured in turns with it."""
    seconds: float
    """What making it took."""

    @property
    def speedup(self) -> float:
        """How many times less it takes than the full model."""
        return self.full_latency_s / self.latency_s


def judge(task: Task, examples: Examples, outputs: Sequence[Tensor]) -> Judged:
    """Return how often outputs are right; outputs: of all examples, as `outputs_of` gives them."""
    known = examples.labels >= 0
    accuracy = math.nan
    if task.labelled and known.any():
        said = outputs[0].reshape(len(examples), -1).argmax(1)
        accuracy = float((said == examples.labels)[known].mean())
    return Judged(float(task.same(outputs, examples.outputs).mean()), accuracy)


def judge_file(task: Task, examples: Examples, path: Path, names: Sequence[str], threads: int = 1) -> Judged:
    """Return how often the model of a file is right. names: of its outputs. Raises LikewiseError if it does not run."""
    return judge(task, examples, outputs_of(OnnxModel(path, threads, outputs=names), examples.tensors))


def latencies(paths: Sequence[Path], tensors: Tensor, rounds: int = 7) -> list[float]:
    """Return the median seconds of one input on one thread for each model, measured in turns."""
    sample = list(tensors[np.linspace(0, len(tensors) - 1, min(TIMED, len(tensors))).astype(int)])
    runs = [OnnxModel(path).run_each() for path in paths]
    return measured(cast(Any, runs), cast(Any, sample), rounds)
