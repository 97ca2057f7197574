"""A graph that grows node by node, with inputs to run it on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from likewise.types import Tensor

OPSET = 20


class Net:
    """A graph that grows, of chains beside each other."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.feeds: dict[str, Tensor] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, *shape: int, dtype: type[np.generic] = np.float32) -> str:
        """Add an input."""
        name = f"in{len(self.feeds)}"
        self.feeds[name] = (self.rng.random(shape) + 0.5).astype(dtype)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def fresh(self, *shape: int) -> str:
        """Add an input, and a node after it, so that what reads its output finds that in the processor's cache."""
        return self.node("Ceil", [self.input(*shape)])

    def weight(self, *shape: int) -> str:
        """Add random weights."""
        return self.constant((self.rng.random(shape, np.float32) - 0.5) * np.float32(0.1))

    def constant(self, array: Tensor | np.generic) -> str:
        """Add an array."""
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> str:
        """Add a node; return its first output."""
        names = [f"t{len(self._nodes)}_{at}" for at in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, name=f"n{len(self._nodes)}", **attributes))
        return names[0]

    def output(self, name: str, dtype: int = TensorProto.FLOAT) -> None:
        """Let a value be an output, so that what leads to it is computed."""
        self._outputs.append(helper.make_tensor_value_info(name, dtype, None))

    def end(self, name: str, dtype: int = TensorProto.FLOAT) -> None:
        """Let the largest number of a value be an output: the value's memory is used again, as within a network."""
        if dtype != TensorProto.FLOAT:
            name = self.node("Cast", [name], to=TensorProto.FLOAT)
        self.output(self.node("ReduceMax", [name], keepdims=0))

    def conv(
        self, x: str, channels: int, filters: int, window: Sequence[int], stride: int = 1, groups: int = 1,
        relu: bool = True,
    ) -> str:  # fmt: skip
        """Add a convolution that keeps the size, but for its stride."""
        pads = [each // 2 for each in window]
        weights = [self.weight(filters, channels // groups, *window), self.weight(filters)]
        x = self.node(
            "Conv", [x, *weights], kernel_shape=list(window), pads=[*pads, *pads], strides=[stride] * len(window),
            group=groups,
        )  # fmt: skip
        return self.node("Relu", [x]) if relu else x

    def model(self) -> bytes:
        """Return the model."""
        graph = helper.make_graph(self._nodes, "net", self._inputs, self._outputs, self._weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        return bytes(made.SerializeToString())


def pick(rng: np.random.Generator, low: float, high: float, step: int = 1) -> int:
    """Return a number between two, evenly in its logarithm, a multiple of step."""
    return max(step, int(np.exp(rng.uniform(np.log(low), np.log(high))) / step + 0.5) * step)
