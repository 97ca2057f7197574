"""A model whose weights and layers can be read, changed and taken out.

Every way to make a model smaller takes such a network and returns another; none changes the one that it is given.
Batch normalization is folded when a file is read, and dense layers are brought to one form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from likewise.errors import InvalidFunction
from likewise.inference.graphs import simplified
from likewise.types import Tensor

Floats = NDArray[np.float32]
MAX_BYTES = 1 << 30
"""The largest model that is taken; each way holds several copies of it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A node with weights that are multiplied with what comes in."""

    node: onnx.NodeProto
    kind: Literal["conv", "dense"]
    weight: str
    bias: str
    """Empty: it has none."""

    @property
    def input(self) -> str:
        """Name of the tensor that comes in."""
        return str(self.node.input[0])

    @property
    def output(self) -> str:
        """Name of the tensor that it makes."""
        return str(self.node.output[0])


class Network:
    """A model of one input; see the module."""

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        """Take over a model, as it is. name: how errors call it. Raises InvalidFunction."""
        self.model, self.name = model, name
        graph = model.graph
        self.weights: dict[str, Tensor] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        inputs = [each for each in graph.input if each.name not in self.weights]
        if len(inputs) != 1:
            raise InvalidFunction(f"{name}: takes {len(inputs)} inputs; only a model of one can be compressed")
        self.input = inputs[0].name
        axes = inputs[0].type.tensor_type.shape.dim
        self.shape: tuple[int, ...] = tuple(axis.dim_value for axis in axes)[1:]
        """Of the input, without its batch axis; 0 for an axis of any length."""
        self.outputs = [each.name for each in graph.output]

    @classmethod
    def load(cls, path: Path) -> Network:
        """Read a file, constants and normalization folded. Raises InvalidFunction."""
        try:
            if path.stat().st_size > MAX_BYTES:
                raise InvalidFunction(f"{path}: has over {MAX_BYTES >> 20} MB, too much to be compressed")
            content = onnx.load(str(path)).SerializeToString()  # with what lies in files beside it
        except InvalidFunction:
            raise
        except Exception as error:  # onnx raises what protobuf and the system do
            raise InvalidFunction(f"{path}: onnx cannot read it ({error}); export it again") from error
        network = cls.parse(simplified(content, str(path)), str(path))
        network._normalize()
        return network

    @classmethod
    def parse(cls, content: bytes, name: str) -> Network:
        """Read a model's bytes as they are."""
        return cls(onnx.load_model_from_string(content), name)

    def copy(self) -> Network:
        """Return another of the same, weights shared until they are replaced."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        other = Network.__new__(Network)
        other.model, other.name, other.weights = model, self.name, dict(self.weights)
        other.input, other.shape, other.outputs = self.input, self.shape, list(self.outputs)
        return other

    def to_bytes(self, extra: Mapping[str, Tensor] = MappingProxyType({})) -> bytes:
        """Return the ONNX file, with the weights that are read, and no others but extra ones."""
        graph = self.model.graph
        read = {name for node in graph.node for name in reads(node)} | set(self.outputs)
        del graph.initializer[:]
        self.weights = {name: value for name, value in self.weights.items() if name in read}
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value, order="C"), name)
            for name, value in {**self.weights, **extra}.items()
        )
        del graph.value_info[:]  # shapes may differ by now
        return bytes(self.model.SerializeToString())

    def layers(self) -> list[Layer]:
        """Return the convolutions and dense layers whose weights are their own, in the order of computing."""
        users: dict[str, int] = {}
        for node in self.model.graph.node:
            for name in reads(node):
                users[name] = users.get(name, 0) + 1
        found = []
        for node in self.model.graph.node:
            kind = {"Conv": "conv", "Gemm": "dense", "MatMul": "dense"}.get(node.op_type)
            if kind is None or node.domain not in ("", "ai.onnx") or len(node.input) < 2:
                continue
            weight = self.weights.get(node.input[1])
            plain = weight is not None and weight.dtype == np.float32 and users[node.input[1]] == 1
            if not plain or weight is None or weight.ndim != (4 if kind == "conv" else 2):
                continue
            if node.op_type == "Gemm" and (attribute(node, "transA", 0) or attribute(node, "alpha", 1.0) != 1.0):
                continue
            bias = node.input[2] if len(node.input) > 2 else ""
            if bias and (bias not in self.weights or self.weights[bias].ndim != 1 or users[bias] != 1):
                continue
            found.append(Layer(node, "conv" if kind == "conv" else "dense", node.input[1], bias))
        return found

    def matrix(self, layer: Layer) -> Floats:
        """Return a layer's weights with its outputs as rows: shape (outputs, what each sums over)."""
        weight = self.weights[layer.weight]
        if layer.kind == "conv":
            return weight.reshape(len(weight), -1)
        return weight if attribute(layer.node, "transB", 0) else weight.T

    def set_matrix(self, layer: Layer, matrix: Floats) -> None:
        """Replace a layer's weights; matrix: as `matrix` gives them, of the same shape."""
        old = self.weights[layer.weight]
        turned = layer.kind == "dense" and not attribute(layer.node, "transB", 0)
        self.weights[layer.weight] = np.ascontiguousarray(
            (matrix.T if turned else matrix).reshape(old.shape), np.float32
        )

    def add_weight(self, value: Tensor, stem: str) -> str:
        """Add a weight; return its name, which nothing else has."""
        names = self.names()
        name, count = stem, 0
        while name in names:
            count += 1
            name = f"{stem}_{count}"
        self.weights[name] = value
        return name

    def fresh(self, stem: str) -> str:
        """Return a name for a tensor that nothing else has."""
        names = self.names()
        count = 0
        while f"{stem}_{count}" in names:
            count += 1
        return f"{stem}_{count}"

    def names(self) -> set[str]:
        """Return the names of all tensors."""
        found = {*self.weights, self.input}
        for node in self.model.graph.node:
            found.update(node.output)
        return found

    def replace(self, old: onnx.NodeProto, new: Sequence[onnx.NodeProto]) -> None:
        """Put nodes in place of one."""
        nodes = list(self.model.graph.node)
        at = next(place for place, node in enumerate(nodes) if node is old or node == old)
        self.set_nodes([*nodes[:at], *new, *nodes[at + 1 :]])

    def set_nodes(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Take these nodes instead of those that there are."""
        kept = []
        for node in nodes:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            kept.append(copied)
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)

    def constants(self) -> set[str]:
        """Return the names of weights, and of what is computed of weights alone."""
        found = set(self.weights)
        for node in self.model.graph.node:
            if all(name in found for name in reads(node)):
                found.update(node.output)
        return found

    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        """Return by tensor the nodes that read it."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.model.graph.node:
            for name in dict.fromkeys(reads(node)):
                found.setdefault(name, []).append(node)
        return found

    def shapes(self, shape: Sequence[int] | None = None) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all tensors for one input, batch axis included, as far as they can be inferred.

        shape: the input's without its batch axis, where the file leaves it open. Raises InvalidFunction.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.initializer[:]
        model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self.weights.items())
        del model.graph.value_info[:]
        for each in model.graph.input:
            if each.name == self.input:
                for axis, size in zip(each.type.tensor_type.shape.dim, (1, *(shape or self.shape)), strict=True):
                    axis.dim_value = size
        for each in model.graph.output:
            each.type.tensor_type.ClearField("shape")
        try:
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        except Exception as error:  # onnx raises a family of its own
            raise InvalidFunction(f"{self.name}: its shapes cannot be inferred: {error}") from error
        found = {name: value.shape for name, value in self.weights.items()}
        for each in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
            kind = each.type.tensor_type
            if kind.HasField("shape") and all(axis.dim_value > 0 for axis in kind.shape.dim):
                found[each.name] = tuple(axis.dim_value for axis in kind.shape.dim)
        return found

    def _normalize(self) -> None:
        """Bring dense layers to one form: transB = 1, alpha and beta 1."""
        for node in self.model.graph.node:
            if node.op_type != "Gemm" or node.input[1] not in self.weights or attribute(node, "transA", 0):
                continue
            alpha, beta = float(attribute(node, "alpha", 1.0)), float(attribute(node, "beta", 1.0))
            weight = self.weights[node.input[1]]
            if not attribute(node, "transB", 0):
                weight = weight.T
            others = [each for each in self.model.graph.node if each is not node]
            if any(set(node.input[1:]) & set(each.input) for each in others):
                continue  # shared with another node, which wants it as it is
            self.weights[node.input[1]] = np.ascontiguousarray(weight * weight.dtype.type(alpha))
            if len(node.input) > 2 and node.input[2] in self.weights:
                bias = np.atleast_1d(self.weights[node.input[2]] * np.float32(beta))
                self.weights[node.input[2]] = np.broadcast_to(bias.ravel(), (len(weight),)).copy() if bias.size in (
                    1, len(weight)) else bias  # fmt: skip
                beta = 1.0
            del node.attribute[:]
            node.attribute.extend([helper.make_attribute("transB", 1), helper.make_attribute("beta", beta)])


def reads(node: onnx.NodeProto) -> list[str]:
    """Return what a node reads, those of its inner graphs included."""
    names = [name for name in node.input if name]
    for each in node.attribute:
        for graph in (*([each.g] if each.HasField("g") else []), *each.graphs):
            names += [name for inner in graph.node for name in reads(inner)]
            names += [output.name for output in graph.output]
    return names


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return an attribute of a node, or its default."""
    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return default


def attributes(node: onnx.NodeProto) -> Mapping[str, Any]:
    """Return all attributes that a node has."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}
