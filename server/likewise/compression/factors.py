"""Layers as products of smaller ones: low rank, depthwise and pointwise, and Fire modules.

Each begins as the best approximation of what it replaces, so that it works before any training, and better after.
Sources: Denton et al., Exploiting Linear Structure, NIPS 2014; Jaderberg et al., Speeding up CNNs with Low Rank
Expansions, BMVC 2014; Howard et al., MobileNets, 2017; Iandola et al., SqueezeNet, 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from likewise.compression.network import Floats, Layer, Network, attribute


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a convolution walks over its input; two axes each, pads at the begin and at the end."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]

    @classmethod
    def of(cls, network: Network, layer: Layer) -> Geometry | None:
        """Return a layer's; None where it has groups, or pads as automatic as its file."""
        node = layer.node
        if attribute(node, "group", 1) != 1 or attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b""):
            return None
        kernel = network.weights[layer.weight].shape[2:]
        return cls(
            (kernel[0], kernel[1]),
            tuple(attribute(node, "strides", [1, 1])),
            tuple(attribute(node, "dilations", [1, 1])),
            tuple(attribute(node, "pads", [0, 0, 0, 0])),
        )

    @property
    def centered(self) -> bool:
        """Whether the middle of the kernel stands where the output does."""
        reach = [(size - 1) * wide / 2 for size, wide in zip(self.kernel, self.dilations, strict=True)]
        return [*reach, *reach] == list(self.pads)


POINT = Geometry((1, 1), (1, 1), (1, 1), (0, 0, 0, 0))
"""Of a convolution over channels alone."""


def low_rank(network: Network, energy: float, kinds: Sequence[str] = ("conv", "dense")) -> Network:
    """Return the network with layers as products of two, where that is less to compute.

    energy: share of a layer's squared singular values that is kept; with 1 nothing but rounding changes.
    """
    found = network.copy()
    for layer in found.layers():
        if layer.kind not in kinds:
            continue
        if layer.kind == "dense":
            _dense(found, layer, energy)
        elif (geometry := Geometry.of(found, layer)) is not None:
            _convolution(found, layer, geometry, energy)
    return found


def _factors(matrix: Floats, energy: float) -> tuple[Floats, Floats]:
    """Return two matrices whose product has that share of the energy of one."""
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    powers = np.cumsum(np.square(values))
    rank = len(values) if energy >= 1 else int(np.searchsorted(powers, energy * powers[-1])) + 1
    rank = min(rank, len(values))
    root = np.sqrt(values[:rank])
    return (left[:, :rank] * root).astype(np.float32), (root[:, None] * right[:rank]).astype(np.float32)


def _dense(network: Network, layer: Layer, energy: float) -> None:
    matrix = network.matrix(layer)
    left, right = _factors(matrix, energy)
    if left.size + right.size >= matrix.size and energy < 1:
        return
    first = network.add_weight(right, f"{layer.weight}_right")
    second = network.add_weight(left, f"{layer.weight}_left")
    middle = network.fresh(f"{layer.output}_rank")
    if layer.node.op_type == "Gemm":
        nodes = [
            helper.make_node("Gemm", [layer.input, first], [middle], transB=1),
            helper.make_node("Gemm", [middle, second, *([layer.bias] if layer.bias else [])], [layer.output], transB=1),
        ]
    else:
        network.weights[first], network.weights[second] = (np.ascontiguousarray(each.T) for each in (right, left))
        nodes = [
            helper.make_node("MatMul", [layer.input, first], [middle]),
            helper.make_node("MatMul", [middle, second], [layer.output]),
        ]
    network.replace(layer.node, nodes)


def _convolution(network: Network, layer: Layer, geometry: Geometry, energy: float) -> None:
    """Replace a convolution by one of few filters and one over channels, or by one of each direction."""
    weight = network.weights[layer.weight]
    outputs, inputs, high, wide = weight.shape
    left, right = _factors(weight.reshape(outputs, -1), energy)
    choices = [(left.size + right.size, left.reshape(*left.shape, 1, 1), right.reshape(-1, inputs, high, wide))]
    if high > 1 and wide > 1:
        # rows: outputs and horizontal places; columns: inputs and vertical ones
        turned = weight.transpose(0, 3, 1, 2).reshape(outputs * wide, inputs * high)
        across, down = _factors(turned, energy)
        rank = across.shape[1]
        choices.append(
            (
                across.size + down.size,
                across.reshape(outputs, wide, rank).transpose(0, 2, 1)[:, :, None, :],
                down.reshape(rank, inputs, high, 1),
            )
        )
    size, second, first = min(choices, key=lambda each: each[0])
    if size >= weight.size and energy < 1:
        return
    directions = first.shape[3] == 1 and second.shape[3] == wide and wide > 1
    before, behind = (_along(geometry, 0), _along(geometry, 1)) if directions else (geometry, POINT)
    _put(network, layer, [(first, before, 1), (second, behind, 1)])


def _along(geometry: Geometry, axis: int) -> Geometry:
    """Return the part of a walk that is along one axis."""

    def only(values: tuple[int, ...], other: int) -> tuple[int, int]:
        return (values[0], other) if axis == 0 else (other, values[1])

    top, left, bottom, right = geometry.pads
    pads = (top, 0, bottom, 0) if axis == 0 else (0, left, 0, right)
    return Geometry(only(geometry.kernel, 1), only(geometry.strides, 1), only(geometry.dilations, 1), pads)


def depthwise(network: Network, multiplier: int) -> Network:
    """Return the network with convolutions as depthwise and pointwise ones, where that is less to compute.

    multiplier: filters for each input channel; with as many as a kernel has places nothing but rounding changes.
    """
    found = network.copy()
    for layer in found.layers():
        geometry = Geometry.of(found, layer) if layer.kind == "conv" else None
        if geometry is None or geometry.kernel == (1, 1):
            continue
        weight = found.weights[layer.weight]
        outputs, inputs, high, wide = weight.shape
        count = min(multiplier, high * wide, outputs)
        if count * (high * wide + outputs) * inputs >= weight.size and multiplier < high * wide:
            continue
        # for each input channel the best kernels that all outputs have in common
        left, values, right = np.linalg.svd(
            weight.transpose(1, 0, 2, 3).reshape(inputs, outputs, high * wide).astype(np.float64), full_matrices=False
        )
        root = np.sqrt(values[:, :count])
        kernels = (root[:, :, None] * right[:, :count]).reshape(inputs * count, 1, high, wide)
        points = (left[:, :, :count] * root[:, None]).transpose(1, 0, 2).reshape(outputs, inputs * count, 1, 1)
        _put(found, layer, [(kernels, geometry, inputs), (points, POINT, 1)])
    return found


def fire(network: Network, squeeze: float) -> Network:
    """Return the network with convolutions as Fire modules: squeezed by a pointwise one, expanded by two side by side.

    squeeze: channels between them, of the input's. The first half of the outputs sees a pixel, the other what it saw
    before. Convolutions that this makes no cheaper, or whose kernel is not centered, stay.
    """
    found = network.copy()
    for layer in found.layers():
        geometry = Geometry.of(found, layer) if layer.kind == "conv" else None
        if geometry is None or geometry.kernel == (1, 1) or not geometry.centered:
            continue
        weight = found.weights[layer.weight]
        outputs, inputs, high, wide = weight.shape
        count, half = max(1, round(squeeze * inputs)), outputs // 2
        size = count * (inputs + half + (outputs - half) * high * wide)
        if inputs < 8 or half < 1 or size >= weight.size:
            continue
        _, _, right = np.linalg.svd(
            weight.transpose(0, 2, 3, 1).reshape(-1, inputs).astype(np.float64), full_matrices=False
        )
        right = right[:count]
        expand = np.einsum("oihw,ri->orhw", weight, right)
        names = {
            "squeeze": found.add_weight(right[:, :, None, None].astype(np.float32), f"{layer.weight}_squeeze"),
            "pixel": found.add_weight(
                np.ascontiguousarray(expand[:half, :, high // 2, wide // 2, None, None], np.float32),
                f"{layer.weight}_pixel",
            ),
            "around": found.add_weight(np.ascontiguousarray(expand[half:], np.float32), f"{layer.weight}_around"),
        }
        biases: dict[str, list[str]] = {"pixel": [], "around": []}
        if layer.bias:
            bias = found.weights[layer.bias]
            biases["pixel"] = [found.add_weight(bias[:half].copy(), f"{layer.bias}_pixel")]
            biases["around"] = [found.add_weight(bias[half:].copy(), f"{layer.bias}_around")]
        middle, pixel, around = (found.fresh(f"{layer.output}_{part}") for part in ("squeezed", "pixel", "around"))
        one = Geometry((1, 1), geometry.strides, (1, 1), (0, 0, 0, 0))
        found.replace(
            layer.node,
            [
                _conv([layer.input, names["squeeze"]], middle, POINT, 1),
                _conv([middle, names["pixel"], *biases["pixel"]], pixel, one, 1),
                _conv([middle, names["around"], *biases["around"]], around, geometry, 1),
                helper.make_node("Concat", [pixel, around], [layer.output], axis=1),
            ],
        )
    return found


def _put(network: Network, layer: Layer, steps: Sequence[tuple[NDArray[np.generic], Geometry, int]]) -> None:
    """Replace a convolution by others, one behind another. steps: weight, walk and groups of each."""
    nodes, given = [], layer.input
    for at, (weight, geometry, groups) in enumerate(steps):
        last = at == len(steps) - 1
        name = network.add_weight(np.ascontiguousarray(weight, np.float32), f"{layer.weight}_part{at}")
        made = layer.output if last else network.fresh(f"{layer.output}_part")
        nodes.append(_conv([given, name, *([layer.bias] if last and layer.bias else [])], made, geometry, groups))
        given = made
    network.replace(layer.node, nodes)


def _conv(inputs: Sequence[str], output: str, geometry: Geometry, groups: int) -> onnx.NodeProto:
    return helper.make_node(
        "Conv", list(inputs), [output], kernel_shape=list(geometry.kernel), strides=list(geometry.strides),
        dilations=list(geometry.dilations), pads=list(geometry.pads), group=groups,
    )  # fmt: skip
