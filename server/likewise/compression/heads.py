"""What comes behind the convolutions made small: a pooled head in place of dense layers, and exits before the end.

Both end in one linear layer, fitted in closed form to what the whole network says (ridge regression), so that they need
no training. Sources: Lin, Chen, Yan, Network in Network, ICLR 2014; Teerapittayanon et al., BranchyNet, ICPR 2016.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from likewise.compression.network import Floats, Network, reads
from likewise.inference.graphs import peeker
from likewise.tuning.graph import Graph
from likewise.types import Tensor

RIDGE = 1e-2
"""Of the mean variance of the features."""
BATCH = 32
MOST_FEATURES = 4096


def cut_names(network: Network) -> list[tuple[str, float]]:
    """Return the tensors that all has to pass through, with the share of nodes before each, in order."""
    with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(network.to_bytes())
        return [(cut.tensor, cut.depth) for cut in Graph(path).cuts()]


def last_map(network: Network, shapes: dict[str, tuple[int, ...]]) -> str | None:
    """Return the map that is flattened for dense layers that see more than its channels; None: there is none such."""
    before = None
    for name, _ in cut_names(network):
        shape = shapes.get(name, ())
        if len(shape) == 4 and shape[2] * shape[3] > 1:
            before = name
    if before is None:
        return None
    behind = [node for node in network.model.graph.node if before in reads(node)]
    return before if behind and all(node.op_type in ("Flatten", "Reshape") for node in behind) else None


def headed(network: Network, tensor: str, grid: int, inputs: Tensor, wanted: Floats) -> Network:
    """Return the network up to a tensor, its means over a grid of places, and a linear layer to the outputs.

    inputs: shape (n, ...). wanted: what the linear layer is fitted to, shape (n, outputs).
    """
    found = pooled(network, tensor, grid)
    features = run(found, inputs)
    matrix, bias = ridge(features, wanted)
    return with_linear(found, matrix, bias, network)


def pooled(network: Network, tensor: str, grid: int) -> Network:
    """Return the network up to a tensor, with its means over a grid of places as the output, shape (n, numbers)."""
    found = network.copy()
    needed, todo = set(), [tensor]
    made_by = {name: at for at, node in enumerate(found.model.graph.node) for name in node.output}
    while todo:
        at = made_by.get(todo.pop())
        if at is not None and at not in needed:
            needed.add(at)
            todo += reads(found.model.graph.node[at])
    nodes = [found.model.graph.node[at] for at in sorted(needed)]
    shape = found.shapes()[tensor]
    last = tensor
    if len(shape) == 4:
        last = found.fresh("likewise_means")
        if grid <= 1 or min(shape[2:]) < grid:
            nodes.append(helper.make_node("GlobalAveragePool", [tensor], [last]))
        else:
            kernel = [size - (grid - 1) * (size // grid) for size in shape[2:]]
            strides = [size // grid for size in shape[2:]]
            nodes.append(helper.make_node("AveragePool", [tensor], [last], kernel_shape=kernel, strides=strides))
    flat = found.fresh("likewise_features")
    nodes.append(helper.make_node("Flatten", [last], [flat], axis=1))
    found.set_nodes(nodes)
    set_output(found, flat, None)
    return found


def with_linear(network: Network, matrix: Floats, bias: Floats, like: Network) -> Network:
    """Return a network of features with a linear layer behind it. like: whose output's name and type it takes."""
    found = network.copy()
    weight = found.add_weight(np.ascontiguousarray(matrix.T, np.float32), "likewise_head")
    offset = found.add_weight(bias.astype(np.float32), "likewise_head_bias")
    name = like.outputs[0]
    found.model.graph.node.append(helper.make_node("Gemm", [found.outputs[0], weight, offset], [name], transB=1))
    set_output(found, name, len(bias))
    return found


def ridge(features: Floats, wanted: Floats) -> tuple[Floats, Floats]:
    """Return matrix (numbers, outputs) and offset of the best linear map, with a little shrinkage."""
    mean, offset = features.mean(0, dtype=np.float64), wanted.mean(0, dtype=np.float64)
    centered = features - mean
    square = centered.T @ centered
    square[np.diag_indices_from(square)] += RIDGE * max(float(np.trace(square)) / len(square), 1e-12)
    matrix = np.linalg.solve(square, centered.T @ (wanted - offset))
    return matrix.astype(np.float32), (offset - mean @ matrix).astype(np.float32)


def run(network: Network, inputs: Tensor) -> Floats:
    """Return the first output for many inputs, shape (n, numbers)."""
    look = peeker(network.to_bytes())
    fixed = network.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    step = 1 if fixed == 1 else BATCH
    parts = [next(iter(look(inputs[at : at + step]).values())) for at in range(0, len(inputs), step)]
    return np.concatenate(parts).reshape(len(inputs), -1).astype(np.float32)


def set_output(network: Network, name: str, count: int | None) -> None:
    """Make a tensor of shape (batch, count) the only output."""
    graph = network.model.graph
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    info = onnx.ValueInfoProto()
    info.CopyFrom(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch.dim_value or batch.dim_param or "batch", count])
    )
    del graph.output[:]
    graph.output.append(info)
    network.outputs = [name]
