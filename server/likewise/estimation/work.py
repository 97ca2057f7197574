"""Multiply-adds of a node, from the shapes of what it reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

Shape = tuple[int, ...]
Count = Callable[[Sequence[Shape], Shape, Mapping[str, Any]], int]
"""From the shapes of the inputs and of the first output, and the attributes."""


def _conv(weights: int) -> Count:
    return lambda given, made, attributes: prod(made) * prod(given[weights][1:])


def _conv_transpose(given: Sequence[Shape], made: Shape, attributes: Mapping[str, Any]) -> int:
    return prod(given[0]) * prod(given[1][1:])


def _gemm(given: Sequence[Shape], made: Shape, attributes: Mapping[str, Any]) -> int:
    return prod(made) * (given[0][0] if attributes.get("transA", 0) else given[0][1])


def _matmul(given: Sequence[Shape], made: Shape, attributes: Mapping[str, Any]) -> int:
    return prod(made) * (given[0][-2 if attributes.get("transA", 0) else -1])


def _recurrent(gates: int) -> Count:
    def count(given: Sequence[Shape], made: Shape, attributes: Mapping[str, Any]) -> int:
        steps, batch = (given[0][1], given[0][0]) if attributes.get("layout", 0) else given[0][:2]
        directions, rows, inputs = given[1]
        return steps * batch * directions * rows * (inputs + rows // gates)

    return count


def _attention(given: Sequence[Shape], made: Shape, attributes: Mapping[str, Any]) -> int:
    """Products of queries and keys, and of those and values; for one input with its projection also."""
    batch, steps, hidden = given[0][:3]
    if len(given) > 1 and len(given[1]) == 2:  # Attention: input, weights
        return batch * steps * prod(given[1]) + 2 * batch * steps * steps * given[1][1] // 3
    other = given[1][1] if len(given) > 1 and len(given[1]) == 3 else steps
    return 2 * batch * steps * other * hidden


def _einsum(given: Sequence[Shape], made: Shape, attributes: Mapping[str, Any]) -> int:
    equation = attributes.get("equation", "")
    left = str(equation).replace(" ", "").partition("->")[0].split(",")
    extents = {
        letter: axis
        for term, shape in zip(left, given, strict=False)
        for letter, axis in zip(term, shape, strict=False)
    }
    return prod(extents.values()) if len(given) > 1 and "..." not in str(equation) else 0


COUNTS: Mapping[str, Count] = {
    "Conv": _conv(1),
    "FusedConv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "MatMul": _matmul,
    "FusedMatMul": _matmul,
    "MatMulInteger": _matmul,
    "MatMulIntegerToFloat": _matmul,
    "DynamicQuantizeMatMul": _matmul,
    "QLinearMatMul": _matmul,
    "QGemm": _gemm,
    "RNN": _recurrent(1),
    "GRU": _recurrent(3),
    "LSTM": _recurrent(4),
    "Attention": _attention,
    "MultiHeadAttention": _attention,
    "Einsum": _einsum,
}
"""By operator, without domain. All others multiply and add nothing that would count."""
_DOMAINS = frozenset({"", "com.microsoft", "com.microsoft.nchwc"})


def multiply_adds(operator: str, given: Sequence[Shape], made: Shape, attributes: Mapping[str, Any]) -> int:
    """Return the multiply-adds of a node; 0 for an operator without, or for shapes that do not fit it."""
    domain, _, name = operator.rpartition("::")
    count = COUNTS.get(name) if domain in _DOMAINS else None
    try:
        return 0 if count is None else int(count(given, made, attributes))
    except (IndexError, ValueError, TypeError):
        return 0
