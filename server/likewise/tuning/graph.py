"""An ONNX graph cut in two at one tensor: what comes before it, and what goes on from there.

A tensor is a cut where everything that is computed of the input passes through it: then its value is all that the
rest of the graph needs. The end of each block of a residual network is one; a tensor inside a block is not. Only tuning
works on graphs; a server loads the files that come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from likewise.errors import InvalidFunction
from likewise.function.fingerprint import file_digest
from likewise.function.layers import SOURCE
from likewise.types import Tensor

_MADE = "likewise_"
"""What names of nodes and weights begin with that are added here."""
MAX_BYTES = (1 << 31) - (1 << 20)
"""The largest model that one protobuf file holds."""
_CHEAP = frozenset({"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout"})
"""Operators after which a cut tells no more than before them."""
_ACTIVATIONS = frozenset(
    {"Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Clip", "HardSwish", "Sigmoid", "Tanh", "Mish"}
    | {"BatchNormalization", "LayerNormalization"}
)
_LATE = frozenset({"HardSwish", "Mul"})
"""The last operator of such activations: hard swish in one, and of several that end in a product."""
_POSITIVE = frozenset({"Relu", "Sigmoid", "Softmax", "Exp", "Abs", "Sqrt"})
"""Operators that give no number below 0."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One place where a graph may be cut."""

    tensor: str
    depth: float
    """Share of the graph's nodes that come before it."""


@dataclass(frozen=True, slots=True)
class Pool:
    """How the tensor at a cut becomes a short list of numbers: means over a grid of its axes, then a projection."""

    axes: tuple[int, ...]
    """Of the tensor, without its batch axis: those that are averaged over."""
    grid: int
    """Parts of each of them, a mean for each part."""
    root: bool = False
    """Whether the numbers are the square roots of the means' sizes, with their signs."""


class Graph:
    """A model's graph. Its weights may lie in files beside it; what is written has them within."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises InvalidFunction where it cannot be read."""
        try:
            self._model = onnx.load(str(path))
        except Exception as error:  # onnx raises what protobuf and the system do
            raise InvalidFunction(f"{path}: onnx cannot read it ({error}); export it again") from error
        graph = self._model.graph
        self.constants = {each.name for each in graph.initializer} | {
            each.values.name for each in graph.sparse_initializer
        }
        inputs = [each.name for each in graph.input if each.name not in self.constants]
        if len(inputs) != 1:
            raise InvalidFunction(f"{path}: takes {len(inputs)} inputs; only a model of one can be cut")
        self.path, self.input = path, inputs[0]
        self._source = file_digest(path)
        self._nodes = list(graph.node)
        self._made_by = {name: at for at, node in enumerate(self._nodes) for name in node.output if name}

    def cuts(self) -> list[Cut]:
        """Return where it may be cut, in the order of computing: each tensor through which all has to pass."""
        of_input = {self.input}
        read_last: dict[str, int] = {}
        for at, node in enumerate(self._nodes):
            reads = [name for name in _reads(node) if name in of_input]
            if reads:
                of_input.update(name for name in node.output if name)
                read_last.update(dict.fromkeys(reads, at))
        outputs = {each.name for each in self._model.graph.output}
        read_last.update({name: len(self._nodes) for name in outputs if name in of_input})
        found: list[Cut] = []
        alive: set[str] = {self.input}
        for at, node in enumerate(self._nodes):
            alive |= {name for name in node.output if name in of_input and read_last.get(name, -1) > at}
            alive = {name for name in alive if read_last.get(name, -1) > at}
            # nodes are in topological order, so what is computed and still to be read is all that the rest needs
            if len(alive) == 1 and node.op_type not in _CHEAP:
                (name,) = alive
                if self._made_by.get(name) == at and name not in outputs:
                    if found and found[-1].tensor in node.input and node.op_type in _ACTIVATIONS:
                        found.pop()  # the two are computed as one, and what comes after says more
                    found.append(Cut(name, (at + 1) / len(self._nodes)))
        return found

    def with_outputs(self, tensors: Sequence[str]) -> bytes:
        """Return the whole model with tensors as its outputs, to look at them."""
        return self._part(self._needed(tensors, ()), self._model.graph.input, [_unknown(name) for name in tensors])

    def before(
        self,
        cut: str,
        pool: Pool,
        shape: Sequence[int],
        mean: Tensor,
        matrix: Tensor,
        *,
        through_pool: bool = False,
    ) -> bytes:
        """Return the model up to a cut, with two outputs: the key, and the tensor at the cut.

        shape: the tensor's, without batch axis. mean, matrix: the key is (pooled - mean) @ matrix; shapes (n,), (n, d).
        through_pool: the tensor goes through a pooling of single pixels, as `after` has it: ONNX Runtime does not
        compute some activations with their convolutions where their result is an output.
        """
        made = self._nodes[self._made_by[cut]].op_type if cut in self._made_by else ""
        taken = f"{_MADE}taken" if through_pool else cut
        nodes, weights, last = _pooling(taken, pool, shape, (mean, matrix), positive=made in _POSITIVE)
        if through_pool:
            nodes.insert(0, _single_pixels(cut, taken, shape))
        key = helper.make_tensor_value_info(last, TensorProto.FLOAT, [self._batch, matrix.shape[1]])
        tensor = helper.make_tensor_value_info(taken, TensorProto.FLOAT, [self._batch, *shape])
        return self._part(self._needed([cut], ()), self._model.graph.input, [key, tensor], nodes, weights)

    def fuses_late(self, cut: str) -> bool:
        """Say whether a tensor may come of an activation that is not computed with its convolution at an output."""
        at = self._made_by.get(cut)
        return at is not None and self._nodes[at].op_type in _LATE

    def after(self, cut: str, shape: Sequence[int], *, through_pool: bool = False) -> bytes:
        """Return the model from a cut on: from the tensor there to the model's own outputs.

        through_pool: the tensor goes through a pooling of single pixels first, which leaves it as it is. ONNX Runtime
        computes convolutions in a layout of its own, into which it brings what a convolution reads, but not what is
        added to its result; where that is the tensor, sums are no longer computed with their convolutions. It brings
        the result of a pooling into it.
        """
        outputs = list(self._model.graph.output)
        nodes = self._needed([each.name for each in outputs], {cut})
        given = f"{_MADE}given" if through_pool else cut
        tensor = helper.make_tensor_value_info(given, TensorProto.FLOAT, [self._batch, *shape])
        if through_pool:
            nodes.insert(0, _single_pixels(given, cut, shape))
        return self._part(nodes, [tensor], outputs)

    @property
    def _batch(self) -> int | str:
        axes = next(each for each in self._model.graph.input if each.name == self.input).type.tensor_type.shape.dim
        return axes[0].dim_value if axes and axes[0].dim_value else "batch"

    def _needed(self, tensors: Iterable[str], given: Iterable[str]) -> list[onnx.NodeProto]:
        """Return the nodes that compute tensors from the input, or from those that are given."""
        todo, known, kept = list(tensors), set(given), set()
        while todo:
            name = todo.pop()
            at = self._made_by.get(name)
            if name in known or at is None:
                continue
            known.add(name)
            if at not in kept:
                kept.add(at)
                todo += _reads(self._nodes[at])
        return [self._nodes[at] for at in sorted(kept)]

    def _part(
        self,
        nodes: Sequence[onnx.NodeProto],
        inputs: Iterable[onnx.ValueInfoProto],
        outputs: Iterable[onnx.ValueInfoProto],
        more: Sequence[onnx.NodeProto] = (),
        weights: Sequence[onnx.TensorProto] = (),
    ) -> bytes:
        read = {name for node in nodes for name in _reads(node)}
        graph, whole = onnx.GraphProto(), self._model.graph
        graph.name = whole.name or "part"
        graph.node.extend([*nodes, *more])
        graph.input.extend(each for each in inputs if each.name not in self.constants)
        graph.output.extend(outputs)
        graph.initializer.extend([*(each for each in whole.initializer if each.name in read), *weights])
        graph.sparse_initializer.extend(each for each in whole.sparse_initializer if each.values.name in read)
        model = onnx.ModelProto()
        model.ir_version = self._model.ir_version
        model.opset_import.extend(self._model.opset_import)
        model.functions.extend(self._model.functions)
        model.graph.CopyFrom(graph)
        if model.ByteSize() > MAX_BYTES:
            raise InvalidFunction(f"{self.path}: is too large to be cut; a part would have {model.ByteSize()} bytes")
        entry = model.metadata_props.add()
        entry.key, entry.value = SOURCE, self._source
        return bytes(model.SerializeToString())


def _single_pixels(given: str, made: str, shape: Sequence[int]) -> onnx.NodeProto:
    """Return a node that leaves a tensor of that shape, without batch axis, as it is."""
    return helper.make_node("AveragePool", [given], [made], kernel_shape=[1] * (len(shape) - 1))


def _reads(node: onnx.NodeProto) -> list[str]:
    """Return what a node reads, those of its inner graphs included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            own = {each.name for each in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                names += [name for name in _reads(inner) if name not in own]
                own.update(inner.output)
            names += [each.name for each in graph.output if each.name not in own]
    return names


def _unknown(name: str) -> onnx.ValueInfoProto:
    info = onnx.ValueInfoProto()
    info.name = name
    return info


def pooled(tensor: Tensor, pool: Pool) -> Tensor:
    """Return what `Pool` makes of tensors, shape (n, ...): shape (n, numbers), float32."""
    for axis in pool.axes:
        parts = [part.mean(axis + 1, keepdims=True) for part in np.array_split(tensor, pool.grid, axis + 1)]
        tensor = np.concatenate(parts, axis + 1)
    numbers = np.ascontiguousarray(tensor.reshape(len(tensor), -1), np.float32)
    return rooted(numbers) if pool.root else numbers


def rooted(numbers: Tensor) -> Tensor:
    """Return the roots of numbers, with their signs, so that few large ones do not outweigh the others.

    Source: Perronnin et al., Improving the Fisher Kernel for Large-Scale Image Classification, ECCV 2010.
    """
    return np.asarray(np.sign(numbers) * np.sqrt(np.abs(numbers)), np.float32)


def _pooling(
    cut: str, pool: Pool, shape: Sequence[int], projection: tuple[Tensor, Tensor], *, positive: bool
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto], str]:
    """Return nodes and weights that make the key of a tensor, and the name that it has then.

    projection: mean and matrix. positive: whether the tensor has no number below 0.
    """
    mean, matrix = projection
    offset = -(mean.astype(np.float64) @ matrix.astype(np.float64))
    weights = {f"{_MADE}matrix": matrix.astype(np.float32), f"{_MADE}offset": offset.astype(np.float32)}
    rank = len(shape)
    trailing = (
        rank > 1 and pool.axes == tuple(range(1, rank)) and not any(shape[axis] % pool.grid for axis in pool.axes)
    )
    nodes: list[onnx.NodeProto] = []
    last = cut
    if trailing:  # the form for which ONNX Runtime has the fastest kernel
        kernel = [shape[axis] // pool.grid for axis in pool.axes]
        last = f"{_MADE}means"
        nodes.append(helper.make_node("AveragePool", [cut], [last], kernel_shape=kernel, strides=kernel))
    else:
        for axis in pool.axes:
            last = _means_along(nodes, weights, last, axis, pool.grid, shape)
    weights[f"{_MADE}row"] = np.array([-1, len(mean)], np.int64)
    if pool.root:
        nodes += _roots(last, positive=positive)
        last = f"{_MADE}roots"
    nodes += [
        helper.make_node("Reshape", [last, f"{_MADE}row"], [f"{_MADE}numbers"]),
        helper.make_node("Gemm", [f"{_MADE}numbers", f"{_MADE}matrix", f"{_MADE}offset"], [f"{_MADE}key"]),
    ]
    return nodes, [numpy_helper.from_array(value, name) for name, value in weights.items()], f"{_MADE}key"


def _roots(means: str, *, positive: bool) -> list[onnx.NodeProto]:
    """Return nodes that make `roots` of means: of their sizes, with their signs."""
    root = helper.make_node("Sqrt", [means if positive else f"{_MADE}sizes"], [f"{_MADE}roots"])
    if positive:
        return [root]
    root.output[0] = f"{_MADE}unsigned"
    return [
        helper.make_node("Abs", [means], [f"{_MADE}sizes"]),
        root,
        helper.make_node("Sign", [means], [f"{_MADE}signs"]),
        helper.make_node("Mul", [f"{_MADE}unsigned", f"{_MADE}signs"], [f"{_MADE}roots"]),
    ]


def _means_along(
    nodes: list[onnx.NodeProto], weights: dict[str, Tensor], last: str, axis: int, grid: int, shape: Sequence[int]
) -> str:
    """Add the means over parts of one axis, which need not be equal: a product with a matrix of shares."""
    name, rank = f"{_MADE}axis{axis}", len(shape)
    share = np.zeros((shape[axis], grid), np.float32)
    for part, places in enumerate(np.array_split(np.arange(shape[axis]), grid)):
        share[places, part] = 1 / len(places)
    weights[f"{name}_share"] = share
    order = list(range(rank + 1))
    order[axis + 1], order[-1] = order[-1], order[axis + 1]
    if axis + 1 != rank:
        nodes.append(helper.make_node("Transpose", [last], [f"{name}_turned"], perm=order))
        last = f"{name}_turned"
    nodes.append(helper.make_node("MatMul", [last, f"{name}_share"], [f"{name}_means"]))
    if axis + 1 == rank:
        return f"{name}_means"
    nodes.append(helper.make_node("Transpose", [f"{name}_means"], [f"{name}_back"], perm=order))
    return f"{name}_back"
