"""Channels taken out of a network for good: smaller convolutions, not zeros in large ones.

Channels that are added to each other, or pass through a depthwise convolution, go together. What cannot be followed (an
operator that mixes channels in a way that is not known here, the input, the outputs) keeps all its channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from likewise.compression.network import Layer, Network, attribute, reads

Kept = NDArray[np.int64]

_PASSING = frozenset(
    {"Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Elu", "Selu", "HardSwish", "HardSigmoid", "Softplus", "Identity"}
    | {"Dropout", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Abs", "Neg", "Exp", "Sqrt", "Erf"}
)
_PAIRED = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu"})


@dataclass(frozen=True, slots=True)
class Use:
    """A layer that sums over channels of a group."""

    layer: Layer
    begin: int
    """Which of the layer's inputs is the first of them."""
    spread: int
    """Inputs for each channel: more than one behind a flattened map."""


@dataclass(slots=True)
class Group:
    """Channels that are one thing: the first of one tensor is removed with the first of all others."""

    size: int
    fixed: bool = False
    """Whether it has to stay as it is."""
    made_by: list[Layer] = field(default_factory=list)
    along: list[tuple[str, int]] = field(default_factory=list)
    """Weights with a number, or a filter, for each channel, and the axis."""
    depthwise: list[onnx.NodeProto] = field(default_factory=list)
    used_by: list[Use] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a tensor's channels, which belong to a group."""

    group: int
    spread: int = 1


class Channels:
    """Which channels of a network belong together."""

    def __init__(self, network: Network, shape: Sequence[int] | None = None) -> None:
        """Follow all channels. shape: of the input, where the file leaves it open."""
        self._network = network
        self._groups: list[Group] = []
        self._parent: list[int] = []
        self._layers = {layer.output: layer for layer in network.layers()}
        self._shapes = network.shapes(shape)
        self._layout: dict[str, list[Segment] | None] = {network.input: self._fresh(network.input, fixed=True)}
        for node in network.model.graph.node:
            made = self._follow(node)
            for name in node.output:
                self._layout[name] = made
        for name in network.outputs:
            self._fix(name)

    def groups(self) -> list[Group]:
        """Return those of which channels may be taken."""
        roots = [at for at in range(len(self._groups)) if self._root(at) == at]
        return [self._groups[at] for at in roots if not self._groups[at].fixed and self._groups[at].made_by]

    def _fresh(self, tensor: str, *, fixed: bool = False) -> list[Segment] | None:
        shape = self._shapes.get(tensor)
        if shape is None or len(shape) < 2:
            return None
        self._groups.append(Group(shape[1], fixed))
        self._parent.append(len(self._parent))
        return [Segment(len(self._groups) - 1)]

    def _root(self, at: int) -> int:
        while self._parent[at] != at:
            at = self._parent[at]
        return at

    def _fix(self, tensor: str) -> None:
        for segment in self._layout.get(tensor) or ():
            self._groups[self._root(segment.group)].fixed = True

    def _follow(self, node: onnx.NodeProto) -> list[Segment] | None:
        """Return what the channels of a node's output are."""
        layouts = [self._layout.get(name) for name in node.input if name and name not in self._network.weights]
        layer = self._layers.get(node.output[0])
        simple = node.domain in ("", "ai.onnx") and layouts and all(each is not None for each in layouts)
        if simple and layouts[0] is not None:
            if layer is not None and len(layouts) == 1:
                return self._through(layer, layouts[0])
            if node.op_type in _PASSING:
                return layouts[0]
            if node.op_type == "BatchNormalization" and len(layouts[0]) == 1:
                self._group(layouts[0][0]).along += [(name, 0) for name in node.input[1:5]]
                return layouts[0]
            if node.op_type in _PAIRED and (paired := self._paired(node, layouts)) is not None:
                return paired
            if node.op_type == "Concat" and attribute(node, "axis", 0) == 1 and len(layouts) == len(node.input):
                return [segment for each in layouts for segment in each or ()]
            if node.op_type in ("Flatten", "Reshape", "Squeeze") and (flat := self._flat(node, layouts[0])) is not None:
                return flat
            if node.op_type == "ReduceMean" and self._keeps_channels(node):
                return layouts[0]
        for name in reads(node):
            self._fix(name)
        return self._fresh(node.output[0], fixed=True)

    def _group(self, segment: Segment) -> Group:
        return self._groups[self._root(segment.group)]

    def _through(self, layer: Layer, layout: list[Segment]) -> list[Segment] | None:
        """Follow a convolution or a dense layer."""
        groups = attribute(layer.node, "group", 1) if layer.kind == "conv" else 1
        weight = self._network.weights[layer.weight]
        depthwise = groups > 1 and groups == len(weight) and weight.shape[1] == 1
        if depthwise and len(layout) == 1 and layout[0].spread == 1:
            group = self._group(layout[0])
            group.along += [(layer.weight, 0), *([(layer.bias, 0)] if layer.bias else [])]
            group.depthwise.append(layer.node)
            return layout
        rank = len(self._shapes.get(layer.input, ()))
        if groups > 1 or rank != (4 if layer.kind == "conv" else 2):
            self._fix(layer.input)
            return self._fresh(layer.output, fixed=True)
        begin = 0
        for segment in layout:
            group = self._group(segment)
            group.used_by.append(Use(layer, begin, segment.spread))
            begin += group.size * segment.spread
        made = self._fresh(layer.output)
        if made is not None:
            self._group(made[0]).made_by.append(layer)
        return made

    def _paired(self, node: onnx.NodeProto, layouts: Sequence[list[Segment] | None]) -> list[Segment] | None:
        first = layouts[0] or []
        if len(layouts) == 1:  # with a constant
            constant = next((name for name in node.input if name in self._network.weights), "")
            value = self._network.weights.get(constant)
            rank = len(self._shapes.get(node.output[0], ()))
            if value is None or len(first) != 1:
                return None
            if value.size == 1:
                return first
            axis = value.ndim - (rank - 1)
            if axis < 0 or value.shape[axis] != value.size or first[0].spread != 1:
                return None
            self._group(first[0]).along.append((constant, axis))
            return first
        for other in layouts[1:]:
            if other is None or [each.spread for each in other] != [each.spread for each in first]:
                return None
            if any(self._group(a).size != self._group(b).size for a, b in zip(first, other, strict=True)):
                return None
        shapes = {self._shapes.get(name) for name in node.input if name not in self._network.weights}
        if len(shapes) != 1 and any(len(shape or ()) != 4 for shape in shapes):
            return None
        for other in layouts[1:]:
            for a, b in zip(first, other or (), strict=True):
                self._unite(a.group, b.group)
        return first

    def _unite(self, one: int, other: int) -> None:
        one, other = self._root(one), self._root(other)
        if one == other:
            return
        into, gone = self._groups[one], self._groups[other]
        self._parent[other] = one
        into.fixed |= gone.fixed
        into.made_by += gone.made_by
        into.along += gone.along
        into.depthwise += gone.depthwise
        into.used_by += gone.used_by

    def _flat(self, node: onnx.NodeProto, layout: list[Segment]) -> list[Segment] | None:
        before, after = self._shapes.get(node.input[0]), self._shapes.get(node.output[0])
        if before is None or after is None or len(before) < 2 or len(after) != 2 or after[0] != before[0]:
            return None
        if node.op_type == "Reshape" and -1 not in self._network.weights.get(node.input[1], np.zeros(0)).tolist()[1:]:
            return None  # says how many there are
        spread = int(np.prod(before[2:]))
        return [Segment(segment.group, segment.spread * spread) for segment in layout]

    def _keeps_channels(self, node: onnx.NodeProto) -> bool:
        axes = attribute(node, "axes", None)
        if axes is None and len(node.input) > 1 and node.input[1] in self._network.weights:
            axes = self._network.weights[node.input[1]].tolist()
        rank = len(self._shapes.get(node.input[0], ()))
        return bool(axes) and rank > 2 and all(axis % rank >= 2 for axis in axes)


def without(network: Network, kept: Sequence[tuple[Group, Kept]]) -> Network:
    """Return the network with only some channels of groups, or in another order.

    kept: of each group that is changed, which channels stay, in the order that they have then.
    """
    found = network.copy()
    rows: dict[str, Kept] = {}
    columns: dict[str, NDArray[np.int64]] = {}
    along: dict[tuple[str, int], Kept] = {}
    counts: dict[str, int] = {}
    for group, chosen in kept:
        for layer in group.made_by:
            rows[layer.weight] = chosen
            if layer.bias:
                along[layer.bias, 0] = chosen
        along.update(dict.fromkeys(group.along, chosen))
        counts.update({node.output[0]: len(chosen) for node in group.depthwise})
        for use in group.used_by:
            conv = use.layer.kind == "conv"
            inputs = found.weights[use.layer.weight].shape[1] if conv else found.matrix(use.layer).shape[1]
            taken = columns.setdefault(use.layer.weight, np.arange(inputs))
            places = np.full(group.size * use.spread, -1)
            places[: len(chosen) * use.spread] = (
                use.begin + chosen[:, None] * use.spread + np.arange(use.spread)
            ).ravel()
            taken[use.begin : use.begin + len(places)] = places
    for (name, axis), chosen in along.items():
        found.weights[name] = np.ascontiguousarray(np.take(found.weights[name], chosen, axis))
    by_weight: Mapping[str, Layer] = {layer.weight: layer for layer in found.layers()}
    for name in {*rows, *columns}:
        layer = by_weight[name]
        row: Any = rows.get(name, slice(None))
        column: Any = slice(None) if name not in columns else columns[name][columns[name] >= 0]
        weight = found.weights[name]
        if layer.kind == "dense" and not attribute(layer.node, "transB", 0):
            weight = weight.T[row][:, column].T
        else:
            weight = weight[row][:, column]
        found.weights[name] = np.ascontiguousarray(weight)
    for node in found.model.graph.node:
        if node.output[0] in counts:
            for each in node.attribute:
                if each.name == "group":
                    each.i = counts[node.output[0]]
    return found
