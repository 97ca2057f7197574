"""ONNX files read for their description: shapes fixed, weights that are missing put in as zeros.

The only numbers of a file that matter are those that tell shapes, so that a file without its weights will do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from likewise.errors import InvalidFunction, InvalidValue
from likewise.estimation.shapes import name_of, small, value

MAX_FILE = 2 << 30
"""Bytes of a file, the most that one protobuf message has."""
MAX_NODES = 50_000
MAX_NUMBERS = 1 << 40
"""Numbers that the weights of a file may claim together."""
MAX_FILLED = 3 << 29
"""Bytes of weights, up to which ONNX Runtime is asked what it makes of the file."""
_WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (1,), "BatchNormalization": (1, 2, 3, 4),
    "LayerNormalization": (1, 2), "InstanceNormalization": (1, 2), "LSTM": (1, 2, 3), "GRU": (1, 2, 3),
    "RNN": (1, 2, 3), "PRelu": (1,),
}  # fmt: skip
"""Inputs of operators that are weights where nothing computes them."""

InputShapes = Mapping[str, Sequence[int | None]]
"""By input: its axes; None for one that the file says."""


def read(path: Path, shapes: InputShapes, batch: int) -> tuple[onnx.ModelProto, list[str]]:
    """Return a file's model with all input shapes fixed and all weights there, and notes on what was done.

    shapes: of inputs, by name; batch: length of their first axis where the file leaves it open.
    Raises InvalidFunction for what is no ONNX file, or cannot be told; InvalidValue for shapes that do not fit it.
    """
    model = _parsed(path)
    graph, notes = model.graph, list[str]()
    if len(graph.node) > MAX_NODES or not graph.node:
        raise InvalidFunction(f"{path}: has {len(graph.node)} nodes; between 1 and {MAX_NODES} can be estimated")
    _check_functions(path, model)
    _check_weights(path, graph)
    stripped = _weights_without_numbers(path, graph)
    graph.initializer.extend(stripped)
    for tensor in graph.initializer:
        if small(tensor) and uses_external_data(tensor):
            _load_beside(tensor, path)
    _fix(path, graph, shapes, batch)
    empty = [each for each in graph.initializer if not _filled(each)]
    if empty:
        notes.append(f"{len(empty)} of {len(graph.initializer)} weights are not in the file: taken as zeros.")
    if sum(map(_size, empty)) <= MAX_FILLED:
        for tensor in empty:
            _fill(tensor)
    return model, notes


def fits(model: onnx.ModelProto) -> bool:
    """Say whether a model that was read has all its weights, and is small enough to be given to ONNX Runtime."""
    sizes = sum(map(_size, model.graph.initializer))
    return sizes <= MAX_FILLED and all(map(_filled, model.graph.initializer))


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_FILE:
            raise InvalidFunction(f"{path}: has {size} bytes; an ONNX file has between 1 and {MAX_FILE}")
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise InvalidFunction(f"{path}: cannot be read ({error.strerror}); check file and permissions") from error
    except InvalidFunction:
        raise
    except Exception as error:  # what protobuf raises
        raise InvalidFunction(f"{path}: is no whole ONNX file ({error}); export or copy it again") from error
    if not model.HasField("graph"):
        raise InvalidFunction(f"{path}: holds no graph; export or copy it again")
    return model


def _check_weights(path: Path, graph: onnx.GraphProto) -> None:
    total = 0
    for tensor in graph.initializer:
        count = math.prod(tensor.dims)
        if any(axis < 0 for axis in tensor.dims) or name_of(tensor.data_type) == "unknown":
            raise InvalidFunction(
                f"{path}: weight `{tensor.name[:80]}` has shape {'×'.join(map(str, tensor.dims[:8]))} and element type "
                f"{tensor.data_type}, which no tensor can have; export it again"
            )
        total += count
        if total > MAX_NUMBERS:
            raise InvalidFunction(f"{path}: its weights claim more than {MAX_NUMBERS} numbers; export it again")


def _check_functions(path: Path, model: onnx.ModelProto) -> None:
    """Refuse functions that call each other without end, or so often that nobody could put them in where they are used.

    Raises InvalidFunction.
    """
    calls = {
        (each.domain, each.name): Counter((node.domain, node.op_type) for node in each.node) for each in model.functions
    }
    nodes: dict[tuple[str, str], int] = {}
    try:
        for name in TopologicalSorter({name: set(used) & set(calls) for name, used in calls.items()}).static_order():
            nodes[name] = sum(times * nodes.get(used, 1) for used, times in calls[name].items())
    except CycleError as error:
        raise InvalidFunction(
            f"{path}: its function `{error.args[1][0][1][:80]}` calls itself; export it again"
        ) from None
    total = sum(nodes.get((node.domain, node.op_type), 1) for node in model.graph.node)
    if total > MAX_NODES:
        raise InvalidFunction(
            f"{path}: has {total} nodes with those of its functions; up to {MAX_NODES} can be estimated"
        )


def _size(tensor: onnx.TensorProto) -> int:
    count: int = math.prod(tensor.dims)
    return max(1, count) * max(1, int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize))


def _filled(tensor: onnx.TensorProto) -> bool:
    """Say whether a tensor's numbers are there, as many as its shape has."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return False
    if tensor.raw_data:
        return len(tensor.raw_data) == _size(tensor) or tensor.data_type not in _WHOLE_BYTES
    typed = len(tensor.float_data) or len(tensor.int32_data) or len(tensor.int64_data)
    return bool(typed or tensor.double_data or tensor.uint64_data or tensor.string_data) or not math.prod(tensor.dims)


_WHOLE_BYTES = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16})
"""Element types of whole bytes; the others are packed."""


def _fill(tensor: onnx.TensorProto) -> None:
    empty = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    empty.raw_data = bytes(_size(tensor))
    tensor.CopyFrom(empty)


def _load_beside(tensor: onnx.TensorProto, path: Path) -> None:
    """Fetch a few numbers from a file beside the model, if they are there; onnx keeps to the model's folder."""
    try:
        load_external_data_for_tensor(tensor, str(path.parent))
    except Exception:  # a file that is missing, too short, or elsewhere: as if there was none
        return
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _weights_without_numbers(path: Path, graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Return tensors for what nodes read as weights and nothing makes, where the file says their shapes."""
    there = {each.name for each in graph.initializer} | {each.values.name for each in graph.sparse_initializer}
    made = {name for node in graph.node for name in node.output}
    firsts = {node.input[0] for node in graph.node if node.input}
    inputs = {each.name: each for each in graph.input if each.name not in there}
    said = {each.name: value(each.type) for each in (*graph.value_info, *inputs.values())}
    found: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if not name or name in there or name in made or name in found:
                continue
            is_weight = place in _WEIGHTS.get(node.op_type, ()) and name not in firsts
            shape = said[name].shape if name in said else None
            matrix = node.op_type != "MatMul" or (shape is not None and len(shape) == 2)
            if name in inputs and not (is_weight and matrix and len(inputs) > 1 and shape is not None):
                continue
            if shape is None:
                raise InvalidFunction(
                    f"{path}: node `{(node.name or node.op_type)[:80]}` reads `{name[:80]}`, which is no input, no "
                    "weight, and no other node's output; export it again, or keep its shape in value_info"
                )
            kind = inputs[name].type if name in inputs else next(v.type for v in graph.value_info if v.name == name)
            found[name] = TensorProto(name=name, data_type=kind.tensor_type.elem_type, dims=shape)
    kept = [each for each in graph.input if each.name not in found]
    del graph.input[:]
    graph.input.extend(kept)
    yield from found.values()


def _fix(path: Path, graph: onnx.GraphProto, shapes: InputShapes, batch: int) -> None:
    """Give every input of the graph a shape without open axes."""
    weights = {each.name for each in graph.initializer}
    inputs = {each.name: each for each in graph.input if each.name not in weights}
    for name in shapes:
        if name not in inputs:
            there = ", ".join(f"`{each[:80]}`" for each in inputs)
            raise InvalidValue(f"--input-shape {name[:80]}: {path} has no such input; its inputs are {there}.")
    named: dict[str, int] = {}
    for name, each in inputs.items():
        if not each.type.HasField("tensor_type"):
            raise InvalidFunction(f"{path}: input `{name[:80]}` is no tensor; export it with tensors alone")
        asked = shapes.get(name)
        axes = each.type.tensor_type.shape.dim
        if asked is not None and not each.type.tensor_type.HasField("shape"):
            axes.extend(onnx.TensorShapeProto.Dimension() for _ in asked)
            each.type.tensor_type.shape.SetInParent()
        if asked is not None and len(asked) != len(axes):
            raise InvalidValue(f"--input-shape {name[:80]}: has {len(asked)} axes, and the input has {len(axes)}.")
        for place, axis in enumerate(axes):
            length = _length(path, name, place, axis, asked[place] if asked else None, named, batch)
            if axis.dim_param:
                named[axis.dim_param] = length
            axis.dim_value = length
    # what the file says of sizes between may be in terms of axes that are fixed now
    del graph.value_info[:]
    for out in graph.output:
        if out.type.HasField("tensor_type"):
            out.type.tensor_type.ClearField("shape")


def _length(
    path: Path,
    name: str,
    place: int,
    axis: onnx.TensorShapeProto.Dimension,
    asked: int | None,
    named: Mapping[str, int],
    batch: int,
) -> int:
    said = axis.dim_value if axis.HasField("dim_value") and axis.dim_value > 0 else None
    if asked is not None:
        if said is not None and asked != said:
            raise InvalidValue(f"--input-shape {name[:80]}: axis {place} of {path.name} is {said}, not {asked}.")
        return asked
    if said is not None:
        return said
    if axis.dim_param in named:
        return named[axis.dim_param]
    if place == 0:
        return batch
    raise InvalidValue(
        f"{path}: axis {place} of input `{name[:80]}` may have any length ({axis.dim_param[:40] or 'not named'}); say "
        f"which with --input-shape {name[:80]}=…, axes divided by x, as in 1x3x224x224."
    )
