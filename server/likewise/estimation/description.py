"""What is said of a network: its values, and its layers in the order in which they are computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTHS: Mapping[str, int] = {
    "float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2,
    "int32": 4, "uint32": 4, "int64": 8, "uint64": 8, "bool": 1,
}  # fmt: skip
"""Bytes of a number by NumPy name."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor."""

    dtype: str
    shape: tuple[int, ...] | None
    """None where the network's description does not tell it."""
    weight: bool = False
    """Whether it is the same for every input."""

    @property
    def count(self) -> int:
        """Numbers; 0 where the shape is not known."""
        return 0 if self.shape is None else math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes; 0 where the shape is not known."""
        return self.count * WIDTHS.get(self.dtype, 4)


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of the graph."""

    name: str
    operator: str
    """`domain::name` outside of the standard domain."""
    inputs: tuple[str, ...]
    """Names of values; "" for one left out."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    """Numbers, lists of numbers and texts."""
    macs: int
    """Multiply-adds."""
    parameters: int
    """Numbers of the weights that it reads first."""
    unknown: str = ""
    """Why its cost cannot be told; "" where it can."""


@dataclass(slots=True)
class Description:
    """A network: what it is as written, and the layers that run."""

    parameters: int = 0
    """Of the file: numbers of float weights, and of quantized ones; each once."""
    macs: int = 0
    """Of the file: multiply-adds for one run with the shapes given."""
    activations: int = 0
    """Of the file: numbers that its nodes put out in one run."""
    values: dict[str, Value] = field(default_factory=dict)
    """By name, of what runs."""
    layers: list[Layer] = field(default_factory=list)
    """What runs, in order."""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    optimized: bool = True
    """Whether the layers are those that ONNX Runtime makes of the file; False: those of the file."""
    notes: list[str] = field(default_factory=list)

    @property
    def footprint(self) -> int:
        """Bytes of all values that its layers read and write: what small is, and stays in the processor's caches."""
        names = {name for layer in self.layers for name in (*layer.inputs, *layer.outputs) if name}
        return sum(self.values[name].size_bytes for name in names if name in self.values)

    def shapes(self, names: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the shapes of values that are there and known."""
        found = (self.values.get(name) for name in names)
        return [each.shape for each in found if each is not None and each.shape is not None]
