"""Multiply-adds of a model, counted from the operators that ran for one input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

Shapes = Sequence[Sequence[int]]


def multiply_adds(events: Iterable[Mapping[str, Any]]) -> int:
    """Return the multiplications with an addition in all convolutions, matrix products and recurrent layers.

    events: as `OnnxModel.profile` returns them. Other operators do next to none of them.
    """
    total = 0
    for event in events:
        count = _COUNTS.get(str(event.get("op_name")))
        taken, given = (
            [shape for each in event.get(name, ()) for shape in each.values()]
            for name in ("input_type_shape", "output_type_shape")
        )
        if count is not None and taken and given:
            total += count(taken, given)
    return total


def _conv(taken: Shapes, given: Shapes) -> int:
    weights = next((shape for shape in taken[1:] if len(shape) == len(taken[0])), [1, 1])
    return prod(given[0]) * prod(weights[1:])


def _conv_transpose(taken: Shapes, given: Shapes) -> int:
    weights = next((shape for shape in taken[1:] if len(shape) == len(taken[0])), [1, 1])
    return prod(taken[0]) * prod(weights[1:])


def _product(taken: Shapes, given: Shapes) -> int:
    return prod(given[0]) * (taken[0][-1] if taken[0] else 1)


def _recurrent(gates: int) -> Callable[[Shapes, Shapes], int]:
    def count(taken: Shapes, given: Shapes) -> int:
        hidden = given[0][-1] if given[0] else 1
        width = taken[0][-1] if taken[0] else 1
        return gates * prod(given[0]) * (width + hidden)

    return count


_COUNTS: Mapping[str, Callable[[Shapes, Shapes], int]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Gemm": _product,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
}
"""By operator: from the shapes of inputs and outputs to multiply-adds."""
