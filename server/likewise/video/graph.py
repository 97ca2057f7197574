"""An ONNX graph read into a plan: layers that are computed where something changed, and the rest in one piece."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from likewise.video import reading
from likewise.video.layers import Activation, Concat, Conv, Layer, Pool, Size

MAX_SIDE = 16_384


@dataclass(frozen=True, eq=False)
class Plan:
    """What is computed for a picture of one shape."""

    input: str
    sizes: Mapping[str, Size]
    """Of each tensor that is kept."""
    layers: tuple[Layer, ...]
    """In order; a tensor is written before it is read."""
    outputs: tuple[str, ...]
    """The model's, in its order."""
    frontier: tuple[str, ...]
    """Tensors kept that the rest reads, or that are outputs."""
    rest: bytes | None
    """An ONNX model from the frontier to those outputs that no layer writes; None: there are none."""
    rest_inputs: tuple[str, ...]
    rest_outputs: tuple[str, ...]
    heads: Mapping[str, Activation] = field(default_factory=dict)

    @property
    def work(self) -> int:
        """Multiply-adds of all layers for a whole picture."""
        return sum(
            layer.work * self.sizes[layer.output].height * self.sizes[layer.output].width for layer in self.layers
        )


def with_shape(model: onnx.ModelProto, shape: Sequence[int]) -> onnx.ModelProto:
    """Return a copy of a model whose only input has exactly that shape, batch axis included."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    constants = {each.name for each in fixed.graph.initializer}
    (given,) = [each for each in fixed.graph.input if each.name not in constants]
    dims = given.type.tensor_type.shape.dim
    for dim, side in zip(dims, shape, strict=True):
        dim.ClearField("dim_param")
        dim.dim_value = side
    del fixed.graph.value_info[:]
    for output in fixed.graph.output:  # what they were for other shapes
        output.type.tensor_type.ClearField("shape")
    return fixed


def with_outputs(model: bytes, names: Sequence[str]) -> bytes:
    """Return a model with more of its tensors as outputs."""
    loaded = onnx.load_from_string(model)
    there = {each.name for each in loaded.graph.output}
    loaded.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in there
    )
    content: bytes = loaded.SerializeToString()
    return content


def read(model: onnx.ModelProto, outputs: Sequence[str]) -> Plan:
    """Return the plan of a model with fixed shapes; outputs: those that are wanted."""
    return _Reader(model, outputs).plan()


class _Reader:
    def __init__(self, model: onnx.ModelProto, outputs: Sequence[str]) -> None:
        model = shape_inference.infer_shapes(model, data_prop=True)
        self._model = model
        graph = model.graph
        self._nodes: list[onnx.NodeProto] = list(graph.node)
        self._constants = {each.name: each for each in graph.initializer}
        for node in self._nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t
        self._outputs = tuple(outputs)
        (self._input,) = [each.name for each in graph.input if each.name not in self._constants]
        self._shapes = {each.name: _shape(each) for each in (*graph.input, *graph.value_info, *graph.output)}
        self._uses: Counter[str] = Counter(name for node in self._nodes for name in node.input)
        self._uses.update(self._outputs)
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._sizes: dict[str, Size] = {}
        self._layers: list[Layer] = []
        self._done: set[int] = set()

    def plan(self) -> Plan:
        size = self.size(self._input)
        if size is not None:
            self._sizes[self._input] = size
            for position, node in enumerate(self._nodes):
                if position in self._done or node.op_type == "Constant":
                    continue
                self._take(position, node)
        kept = [name for name in self._outputs if name in self._sizes]
        rest_outputs = tuple(name for name in self._outputs if name not in self._sizes)
        rest, rest_inputs = self._rest(rest_outputs)
        needed = self._needed({*kept, *rest_inputs})
        layers = tuple(layer for layer in self._layers if layer.output in needed)
        names = {self._input, *(layer.output for layer in layers)}
        return Plan(
            self._input,
            {name: size for name, size in self._sizes.items() if name in names},
            layers,
            self._outputs,
            tuple(dict.fromkeys([*kept, *rest_inputs])),
            rest,
            rest_inputs,
            rest_outputs,
        )

    def _needed(self, wanted: set[str]) -> set[str]:
        for layer in reversed(self._layers):
            if layer.output in wanted:
                wanted.update(layer.inputs)
        return wanted

    # ── what layers are read from ──────────────────────────────────────────────────────────────────────────

    def size(self, name: str) -> Size | None:
        """Return the size of a float tensor of shape (1, channels, height, width), None for any other."""
        shape = self._shapes.get(name)
        if shape is None or len(shape) != 4 or shape[0] != 1 or not all(0 < side <= MAX_SIDE for side in shape):
            return None
        return Size(shape[2], shape[3], shape[1])

    def constant(self, name: str) -> np.ndarray[Any, Any] | None:
        """Return a constant's numbers, None for what is none."""
        found = self._constants.get(name)
        return None if found is None else numpy_helper.to_array(found)

    def _take(self, position: int, node: onnx.NodeProto) -> None:
        given = [name for name in node.input if name and name not in self._constants]
        if not given or not all(name in self._sizes for name in given) or node.domain not in ("", "ai.onnx"):
            return
        output = node.output[0]
        size = self.size(output)
        if size is None or any(self._uses[extra] for extra in node.output[1:]):
            return
        layer = reading.layer(node, given, [self._sizes[name] for name in given], size, self.constant)
        if layer is None:
            return
        self._done.add(position)
        if not isinstance(layer, Pool | Concat):
            layer = self._fused(layer)
        if isinstance(layer, Conv):
            layer, size = self._pooled(layer, size)
        self._sizes[layer.output] = size
        self._layers.append(layer)

    def _fused(self, layer: Layer) -> Layer:
        """Return a layer with the activation that alone reads what it writes, unless it has one."""
        if layer.activation.function:
            return layer
        readers = self._readers.get(layer.output, [])
        if self._uses[layer.output] == 1 and readers:
            node = readers[0]
            activation = reading.activation(node, self.constant)
            if activation is not None and node.input[0] == layer.output:
                self._done.add(self._position(node))
                return reading.replaced(layer, node.output[0], activation)
        elif self._uses[layer.output] == 2 and len(readers) == 2:  # x · f(x), as exporters write SiLU and HardSwish
            for inner, outer in (readers, reversed(readers)):
                activation = reading.activation(inner, self.constant)
                both = {layer.output, inner.output[0]}
                if (
                    activation is not None
                    and (whole := reading.gated(activation)) is not None
                    and outer.op_type == "Mul"
                    and set(outer.input) == both
                    and self._uses[inner.output[0]] == 1
                ):
                    self._done |= {self._position(inner), self._position(outer)}
                    return reading.replaced(layer, outer.output[0], whole)
        return layer

    def _pooled(self, layer: Conv, size: Size) -> tuple[Layer, Size]:
        """Return a convolution with the pool that alone reads what it writes, if any, and the size of its output."""
        readers = self._readers.get(layer.output, [])
        if self._uses[layer.output] != 1 or not readers or (after := self.size(readers[0].output[0])) is None:
            return layer, size
        node = readers[0]
        pool = reading.layer(node, [layer.output], [size], after, self.constant)
        if any(self._uses[extra] for extra in node.output[1:]) or not isinstance(pool, Pool):
            return layer, size
        whole = layer.pooled(pool, size, after)
        if whole is None:
            return layer, size
        self._done.add(self._position(node))
        return self._fused(whole), after

    def _position(self, node: onnx.NodeProto) -> int:
        return next(at for at, each in enumerate(self._nodes) if each.output == node.output)

    # ── what no layer does ─────────────────────────────────────────────────────────────────────────────────

    def _rest(self, outputs: Sequence[str]) -> tuple[bytes | None, tuple[str, ...]]:
        if not outputs:
            return None, ()
        wanted = set(outputs)
        nodes: list[onnx.NodeProto] = []
        for node in reversed(self._nodes):
            if any(name in wanted and name not in self._sizes for name in node.output):
                nodes.append(node)
                wanted.update(node.input)
                wanted.update(_captured(node))
        inputs = tuple(name for name in self._sizes if name in wanted)
        constants = [each for each in self._model.graph.initializer if each.name in wanted]
        graph = helper.make_graph(
            nodes[::-1],
            "rest",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, self._shapes[name]) for name in inputs],
            [each for each in self._model.graph.output if each.name in outputs],
            constants,
        )
        model = helper.make_model(graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)
        return model.SerializeToString(), inputs


def _captured(node: onnx.NodeProto) -> set[str]:
    """Return the names that the bodies of a node (If, Loop) read."""
    names: set[str] = set()
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names.update(inner.input)
                names |= _captured(inner)
    return names


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    kind = value.type.tensor_type
    if kind.elem_type != TensorProto.FLOAT or not kind.HasField("shape"):
        return None
    dims = kind.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
