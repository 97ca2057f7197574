"""Which tensors are alive when, as ONNX Runtime runs a graph: in order, each freed after it is read for the last time.

Source: ONNX Runtime, core/framework/allocation_planner.cc: an output takes the buffer of an input where the kernel may
write in place, that input is read for the last time, and both have the same size; views share their input's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod

from likewise.estimation.description import Description, Layer

VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"})
"""Operators whose output is their first input, in another shape."""
IN_PLACE = frozenset(
    {"Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Abs", "Neg", "Reciprocal", "Clip", "LeakyRelu", "Elu"}
    | {"HardSigmoid", "HardSwish", "Softplus", "Erf", "Floor", "Ceil", "Round", "Sin", "Cos", "Not"}
    | {"Add", "Mul", "Sub", "Div", "Softmax", "LogSoftmax", "BatchNormalization", "ThresholdedRelu", "Selu"}
)
"""Operators that may write over their first input, or their second."""

Step = tuple[str, int]
"""A name with the bytes that it takes; or, if these are negative, with what is given back."""


def steps(network: Description) -> Iterator[Step]:
    """Return what is taken and given back, in order: tensors by name, and what a layer needs beside them.

    Inputs belong to the caller, and weights stay: neither is among them. A graph's outputs are given back at the end.
    """
    owner: dict[str, str] = {}
    uses = Counter[str]()
    outputs = set(network.outputs)  # each has memory of its own, which is the caller's afterwards

    def root(name: str) -> str:
        while name in owner:
            name = owner[name]
        return name

    for layer in network.layers:
        given, made = next(iter(layer.inputs), ""), next(iter(layer.outputs), "")
        if _operator(layer) in VIEWS and given and made and made not in outputs and made != root(given):
            owner[made] = given
        uses.update(root(name) for name in layer.inputs if name)
    uses.update(root(name) for name in network.outputs)
    sizes: dict[str, int] = {}
    buffers: dict[str, str] = {}
    for layer in network.layers:
        for place, name in enumerate(layer.outputs):
            if not name or name in owner or name in sizes or name not in network.values:
                continue
            size = network.values[name].size_bytes
            taken = None
            if not place and name not in outputs:
                there = (each for each in map(root, _reused(layer)) if uses[each] == 1 and sizes.get(each) == size)
                taken = next(there, None)
            if taken is None:
                yield name, size
                sizes[name], buffers[name] = size, name
            else:  # the buffer goes by the name of what is in it now
                owner[taken] = name
                uses[name] += uses.pop(taken)
                sizes[name], buffers[name] = sizes.pop(taken), buffers.pop(taken)
        beside = scratch(layer, network)
        if beside:
            yield f"{layer.name} works", beside
            yield f"{layer.name} works", -beside
        for name in filter(None, layer.inputs):
            uses[root(name)] -= 1
        for name in dict.fromkeys(map(root, filter(None, (*layer.inputs, *layer.outputs)))):
            if uses[name] <= 0 and name in sizes:
                yield buffers[name], -sizes.pop(name)
    for name, size in sizes.items():
        yield buffers[name], -size


def peak(network: Description) -> int:
    """Return the most bytes that are taken at one time."""
    taken = most = 0
    for _, size in steps(network):
        taken += size
        most = max(most, taken)
    return most


def _operator(layer: Layer) -> str:
    return layer.operator.rpartition("::")[2]


def _reused(layer: Layer) -> list[str]:
    """Return the inputs that a layer may write over."""
    if _operator(layer) in ("Conv", "FusedConv") and len(layer.inputs) > 3:  # adds what it makes to a tensor
        return [name for name in layer.inputs[3:4] if name]
    return [name for name in layer.inputs[:2] if name] if _operator(layer) in IN_PLACE else []


def scratch(layer: Layer, network: Description) -> int:
    """Return the bytes that a layer needs while it runs, beside what it reads and writes.

    A convolution that is no product of blocks lays out its columns first, in pieces: MlasConvPrepare takes at most
    128 KB of them; in 8 bits it keeps pointers. Recurrent cells keep gates of a sequence, Gelu what it has halfway.
    """
    operator = _operator(layer)
    made = network.values.get(layer.outputs[0]) if layer.outputs else None
    place = 3 if operator == "QLinearConv" else 1
    given = network.values.get(layer.inputs[place]) if len(layer.inputs) > place else None
    if made is None or made.shape is None:
        return 0
    if operator in ("BiasGelu", "FastGelu", "Gelu"):
        return made.size_bytes
    if given is None or given.shape is None:
        return 0
    if operator == "QLinearConv" and len(given.shape) > 2:  # a pointer for each place that a window reads
        last = layer.attributes.get("channels_last", 0)
        return 8 * prod(given.shape[2:]) * prod(made.shape[1:-1] if last else made.shape[2:])
    if operator in ("Conv", "FusedConv") and "nchwc" not in layer.operator and len(given.shape) > 2:
        columns = prod(made.shape[2:]) * prod(given.shape[1:]) * 4
        return 0 if prod(given.shape[2:]) == 1 else min(columns, COLUMNS)
    if operator == "ConvTranspose":
        first = network.values[layer.inputs[0]]
        return 4 * prod((first.shape or (0,))[2:]) * prod(given.shape[1:])
    if operator in ("LSTM", "GRU") and len(given.shape) == 3:
        steps_and_batch = (network.values[layer.inputs[0]].shape or (0, 0))[:2]
        return 4 * prod(steps_and_batch) * given.shape[0] * given.shape[1]
    return 0


COLUMNS = 128 << 10
"""Bytes."""
