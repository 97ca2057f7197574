"""Small networks with random weights, to be trained to say what the full model says.

Three stages of residual blocks, with batch normalization, behind what the full model does before its first convolution
over a map: a student of a network that begins with a spectrogram begins with it, too. Source: Hinton, Vinyals, Dean,
Distilling the Knowledge in a Neural Network, 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from likewise.compression.heads import set_output
from likewise.compression.network import Floats, Network
from likewise.compression.refusals import NotApplicable

FEWEST_PLACES = 12
"""Rows of a map below which a stage does not halve it."""


def student(network: Network, width: int, seed: int = 0) -> Network:
    """Return a student with so many channels in its first stage, twice and three times as many in the others.

    Raises NotApplicable where the network has no convolution over a map.
    """
    first = next((layer for layer in network.layers() if layer.kind == "conv"), None)
    shapes = network.shapes()
    outputs = shapes.get(network.outputs[0], ())
    if first is None or len(network.outputs) != 1 or len(outputs) != 2 or first.input not in shapes:
        raise NotApplicable("it has no convolution over a map, or not one list of scores")
    found = network.copy()
    nodes = list(found.model.graph.node)
    needed, todo = set(), [first.input]
    made_by = {name: at for at, node in enumerate(nodes) for name in node.output}
    while todo:
        at = made_by.get(todo.pop())
        if at is not None and at not in needed:
            needed.add(at)
            todo += [name for name in nodes[at].input if name]
    builder = _Builder(found, [nodes[at] for at in sorted(needed)], seed)
    channels, rows = shapes[first.input][1], min(shapes[first.input][2:])
    value = builder.convolution(first.input, channels, width, 2 if rows >= 2 * FEWEST_PLACES else 1)
    before = width
    rows //= 2 if rows >= 2 * FEWEST_PLACES else 1
    for times in (1, 2, 3):
        stride = 2 if rows >= FEWEST_PLACES else 1
        rows //= stride
        value = builder.block(value, before, times * width, stride)
        before = times * width
    value = builder.add("GlobalAveragePool", [value])
    value = builder.add("Flatten", [value], axis=1)
    weight = found.add_weight(builder.random((outputs[1], before), before), "student_head")
    offset = found.add_weight(np.zeros(outputs[1], np.float32), "student_offset")
    nodes = [*builder.nodes, helper.make_node("Gemm", [value, weight, offset], [network.outputs[0]], transB=1)]
    found.set_nodes(nodes)
    set_output(found, network.outputs[0], outputs[1])
    return Network.parse(found.to_bytes(), network.name)


class _Builder:
    """Adds layers to a network."""

    def __init__(self, network: Network, nodes: Sequence[NodeProto], seed: int) -> None:
        self.network, self.nodes = network, list(nodes)
        self._rng = np.random.default_rng(seed)
        self._count = 0

    def random(self, shape: Sequence[int], inputs: int) -> Floats:
        """Return weights that keep the scale (He et al., Delving Deep into Rectifiers, ICCV 2015)."""
        return np.asarray(self._rng.normal(size=shape) * np.sqrt(2 / inputs), np.float32)

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node; return its output."""
        self._count += 1
        name = f"student_{self._count}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def convolution(
        self, value: str, before: int, after: int, stride: int, size: int = 3, *, active: bool = True
    ) -> str:
        """Add a convolution with normalization, and an activation."""
        weight = self.network.add_weight(
            self.random((after, before, size, size), before * size * size), "student_weight"
        )
        value = self.add(
            "Conv", [value, weight], kernel_shape=[size, size], strides=[stride, stride], pads=[size // 2] * 4
        )
        names = [
            self.network.add_weight(np.full(after, start, np.float32), f"student_{what}")
            for what, start in (("scale", 1.0), ("shift", 0.0), ("mean", 0.0), ("variance", 1.0))
        ]
        value = self.add("BatchNormalization", [value, *names])
        return self.add("Relu", [value]) if active else value

    def block(self, value: str, before: int, after: int, stride: int) -> str:
        """Add a residual block of two convolutions."""
        inner = self.convolution(value, before, after, stride)
        inner = self.convolution(inner, after, after, 1, active=False)
        around = value
        if stride != 1 or before != after:
            around = self.convolution(value, before, after, stride, 1, active=False)
        return self.add("Relu", [self.add("Add", [inner, around])])
