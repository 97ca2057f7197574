"""A batch on a worker's thread: inputs prepared, stacked by shape and run, each with its own answer or error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from likewise.errors import LikewiseError
from likewise.inference.run_limit import RUN_LIMIT
from likewise.ports import Model
from likewise.types import Halfway, Input, Tensor

Output = list[Tensor] | LikewiseError
Computed = tuple[list[Output], float]
"""An answer for each input, and the seconds for all."""


def compute(model: Model, prepare: Callable[[Input | Halfway], Tensor], values: Sequence[Input | Halfway]) -> Computed:
    """Run a batch; one input that cannot be prepared or computed does not spoil the others. Blocks."""
    started = perf_counter()
    answers: list[Output] = []
    tensors: list[Tensor] = []
    places: list[int] = []
    for place, value in enumerate(values):
        try:
            tensors.append(prepare(value))
        except LikewiseError as error:
            answers.append(error)
        else:
            answers.append([])
            places.append(place)
    for group in _by_shape(tensors):
        for i, answer in zip(group, _run(model, [tensors[i] for i in group]), strict=True):
            answers[places[i]] = answer
    return answers, perf_counter() - started


def _run(model: Model, tensors: Sequence[Tensor]) -> list[Output]:
    """Return what the model makes of tensors of one shape; each by itself where it raises for all together.

    All of it takes twice the limit for runs at most: what ends in time together does so in its share by itself.
    """
    try:
        with RUN_LIMIT.within(1.0):
            outputs = model.run(tensors[0][None] if len(tensors) == 1 else np.stack(tensors))
    except LikewiseError as error:
        if len(tensors) == 1:
            return [error]
        each: list[Output] = []
        for tensor in tensors:
            with RUN_LIMIT.within(1.0 / len(tensors)):
                each += _run(model, [tensor])
        return each
    return [[output[row] for output in outputs] for row in range(len(tensors))]


def _by_shape(tensors: Sequence[Tensor]) -> list[list[int]]:
    """Return the positions of the tensors grouped by shape: only equal shapes stack."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, tensor in enumerate(tensors):
        groups.setdefault(tensor.shape, []).append(i)
    return list(groups.values())
