"""What a network takes by its description: parameters, multiply-adds, features between layers, energy by a model.

The energy of one inference is what its arithmetic and its memory take in a process of 45 nm: 4.6 pJ for a
multiplication with addition in float32, 0.3 pJ in int8 (sum in int32), 160 pJ for each byte of the weights, which come
from DRAM, and 1.25 pJ for each byte of a feature, which is written to a cache and read from it. It compares networks;
it is no measurement of this machine. Source: Horowitz, Computing's Energy Problem, ISSCC 2014.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from likewise.compression.network import Network, attributes, reads
from likewise.estimation.description import Description, Layer, Value
from likewise.estimation.liveness import peak
from likewise.estimation.work import multiply_adds

FLOAT_PJ, INT8_PJ = 4.6, 0.3
DRAM_PJ, CACHE_PJ = 160.0, 1.25

_IN_PLACE = frozenset({"Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Elu", "HardSwish", "HardSigmoid", "Softmax"})
_NO_WORK = frozenset({"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Constant"})
_ENCODING = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one input."""

    parameters: int
    """Numbers in weights that are not zero."""
    features: int
    """Numbers in what layers hand on, activations computed in place."""
    multiply_adds: int
    """Of convolutions and dense layers; a weight of zero counts, since dense kernels multiply by it."""
    weight_bytes: int
    """Once loaded."""
    peak_bytes: int
    """The most that is held between layers at once, in the order of the file."""
    energy_j: float
    """See the module."""

    @property
    def memory_bytes(self) -> int:
        """What it takes once loaded: weights and the most that is held between layers."""
        return self.weight_bytes + self.peak_bytes


def count(network: Network, shape: Sequence[int] | None = None) -> Counts:
    """Return the counts. shape: of the input, where the file leaves it open. Raises InvalidFunction."""
    shapes = network.shapes(shape)
    nodes = list(network.model.graph.node)
    integer, constants = _integers(network), network.constants()
    macs = {True: 0, False: 0}
    features = moved = 0
    for node in nodes:
        if node.output[0] in shapes:
            given = [shapes.get(name, ()) for name in node.input]
            whole = node.op_type.endswith("Integer") or _is_integer(node, integer)
            macs[whole] += multiply_adds(node.op_type, given, shapes[node.output[0]], attributes(node))
        if node.op_type in _IN_PLACE | _NO_WORK | _ENCODING or all(name in constants for name in node.input):
            continue
        for name in node.output:
            size = math.prod(shapes.get(name, (0,)))
            features += size
            moved += size * (1 if name in integer else 4)
    weights = {name: value for name, value in network.weights.items() if name in _read(nodes)}
    weight_bytes = sum(value.nbytes if value.dtype.itemsize != 2 else 2 * value.nbytes for value in weights.values())
    energy = (
        macs[False] * FLOAT_PJ + macs[True] * INT8_PJ + weight_bytes * DRAM_PJ + 2 * moved * CACHE_PJ
    ) * 1e-12  # fmt: skip
    return Counts(
        sum(int((value != 0).sum()) for value in weights.values() if value.ndim and value.dtype.kind in "fiu"
            and value.dtype.itemsize < 8),
        features,
        macs[False] + macs[True],
        weight_bytes,
        peak(_described(network, shapes, integer, constants)),
        energy,
    )  # fmt: skip


def _read(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.input}


def _integers(network: Network) -> set[str]:
    """Return the tensors that hold 8-bit numbers, or come from such and are computed with as such."""
    found = {name for name, value in network.weights.items() if value.dtype.itemsize == 1}
    for node in network.model.graph.node:
        if node.op_type == "QuantizeLinear":
            found.update((node.input[0], node.output[0]))
        elif node.op_type == "DynamicQuantizeLinear" or (node.op_type == "DequantizeLinear" and node.input[0] in found):
            found.add(node.output[0])
    return found


def _is_integer(node: onnx.NodeProto, integer: set[str]) -> bool:
    return all(name in integer for name in node.input[:2])


def _described(
    network: Network, shapes: Mapping[str, tuple[int, ...]], integer: set[str], constants: set[str]
) -> Description:
    """Return the network as the estimation of memory takes it: what is encoded in 8 bits is held so, and not twice."""
    nodes = [node for node in network.model.graph.node if not all(name in constants for name in reads(node))]
    layers = [
        Layer(
            node.output[0], "Identity" if node.op_type in _ENCODING else node.op_type,
            tuple(name for name in node.input if name not in constants), tuple(node.output), attributes(node), 0, 0,
        )
        for node in nodes
    ]  # fmt: skip
    values = {
        name: Value("uint8" if name in integer else "float32", shape)
        for name, shape in shapes.items()
        if name not in constants and name != network.input
    }
    return Description(inputs=[network.input], outputs=list(network.outputs), values=values, layers=layers)
