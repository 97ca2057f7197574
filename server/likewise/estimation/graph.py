"""The description of an ONNX file: what it is as written, and the layers that ONNX Runtime makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from likewise.errors import InvalidFunction, LikewiseError
from likewise.estimation.description import Description, Layer, Value
from likewise.estimation.reading import InputShapes, fits, read
from likewise.estimation.shapes import Shapes, name_of
from likewise.estimation.shapes import value as value_of
from likewise.estimation.work import multiply_adds

MAX_DEPTH = 8
"""Graphs within each other that are looked at."""
MAX_LIST = 64
MAX_COUNT = 1 << 53
"""Numbers, or multiply-adds, of a whole graph."""
_FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
_QUANTIZED = frozenset({"int8", "uint8"})
_FREE = frozenset({"Constant"})
_KNOWN = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
Optimize = Callable[[bytes, str], bytes]
"""Returns what ONNX Runtime makes of a model; the text is how errors call it. Raises LikewiseError."""


def describe(
    path: Path,
    shapes: InputShapes,
    batch: int,
    simplify: Optimize,
    optimize: Optimize,
    settle: Callable[[int], None] = lambda _: None,
) -> Description:
    """Return what a file describes. Raises InvalidFunction and InvalidValue as `reading.read` does.

    simplify: folds constants and stays with standard operators; optimize: makes what runs. settle: told the bytes of
    the graph once it is read, before anything is computed from it.
    """
    model, notes = read(path, shapes, batch)
    settle(model.ByteSize())
    written = followed(model, _inferred(model))
    runs, optimized = written, False
    if fits(model):
        try:
            content = model.SerializeToString()
            made = onnx.load_model_from_string(optimize(content, str(path)))
            if any(each.unknown for each in written.layers):  # sizes that are known once constants are folded
                plain = onnx.load_model_from_string(simplify(content, str(path)))
                simple = followed(plain, _inferred(plain))
                written.macs, written.activations = simple.macs, simple.activations
                written.values |= simple.values
        except LikewiseError as error:
            notes.append(f"Layers are those of the file, not those that ONNX Runtime would run: {error.detail}")
        else:
            runs, optimized = followed(made, written.values), True
    else:
        notes.append("Layers are those of the file: its weights are too large to ask ONNX Runtime what it would run.")
    parameters = sum(each.parameters for each in written.layers)
    runs.parameters, runs.macs, runs.activations = parameters, written.macs, written.activations
    runs.optimized, runs.notes = optimized, notes
    largest = max(
        runs.macs, runs.activations, *(each.parameters for each in runs.layers),
        *(each.count for each in runs.values.values() if each.shape is not None),
    )  # fmt: skip
    if largest > MAX_COUNT:
        raise InvalidFunction(
            f"{path}: would have {largest:.3g} numbers or multiply-adds, which no machine has; check the shapes of its "
            "inputs and constants"
        )
    return runs


def _inferred(model: onnx.ModelProto) -> dict[str, Value]:
    """Return the shapes that onnx finds by following numbers through the graph, which node by node cannot be found."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    try:
        found = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except Exception:  # too large for one message, or whatever it raises for what does not fit its rules
        return {}
    return {each.name: value_of(each.type) for each in (*found.graph.value_info, *found.graph.output)}


def followed(model: onnx.ModelProto, known: Mapping[str, Value]) -> Description:
    """Return the layers of a graph, in its order."""
    graph, found = model.graph, Description()
    shapes = Shapes(model)
    weights = {each.name for each in graph.initializer}
    own = {(each.domain, each.name) for each in model.functions}
    counted: set[str] = set()
    for node in graph.node:
        why = shapes.follow(node, known)
        if node.op_type in _FREE and not node.domain:
            continue
        layer = _layer(node, shapes.values, counted, why, own)
        found.layers.append(layer)
        found.macs += layer.macs
        found.activations += sum(shapes.values[name].count for name in node.output if name)
    found.values = shapes.values
    found.inputs = [each.name for each in graph.input if each.name not in weights]
    found.outputs = [each.name for each in graph.output]
    return found


def _layer(
    node: onnx.NodeProto, values: Mapping[str, Value], counted: set[str], why: str, own: set[tuple[str, str]]
) -> Layer:
    domain = "" if node.domain == "ai.onnx" else node.domain
    operator = f"{domain}::{node.op_type}" if domain else node.op_type
    there = [values.get(name, Value("unknown", None)) if name else Value("unknown", ()) for name in node.input]
    parameters = 0
    for name, each in zip(node.input, there, strict=True):
        if name and each.weight and name not in counted:
            counted.add(name)
            parameters += each.count if each.dtype in (_FLOATS | _QUANTIZED) else 0
    inner = [each for attribute in node.attribute for each in _graphs(attribute)]
    if inner:
        parameters += sum(_inner_parameters(each, 0) for each in inner)
        why = f"{node.op_type} computes graphs of its own, as often as its input says"
    elif domain not in _KNOWN or (node.domain, node.op_type) in own:
        why = f"`{operator[:80]}` is no operator of ONNX Runtime"
    shapes = [each.shape if each.shape is not None else () for each in there]
    attributes = _attributes(node)
    made = values[node.output[0]].shape if node.output and node.output[0] else None
    macs = multiply_adds(operator, shapes, made, attributes) if made is not None and not why else 0
    name = node.name or next((each for each in node.output if each), node.op_type)
    return Layer(name[:200], operator[:200], tuple(node.input), tuple(node.output), attributes, macs, parameters, why)


def _graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _inner_parameters(graph: onnx.GraphProto, depth: int) -> int:
    """Return the numbers of the weights of a graph within a node."""
    if depth > MAX_DEPTH:
        return 0
    total: int = sum(math.prod(each.dims) for each in graph.initializer if name_of(each.data_type) in _FLOATS)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t") and name_of(attribute.t.data_type) in _FLOATS:
                total += math.prod(attribute.t.dims)
            total += sum(_inner_parameters(each, depth + 1) for each in _graphs(attribute))
    return total


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in node.attribute:
        if each.type in (onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT):
            found[each.name] = helper.get_attribute_value(each)
        elif each.type == onnx.AttributeProto.STRING:
            found[each.name] = each.s[:200].decode("utf-8", "replace")
        elif each.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
            found[each.name] = list(helper.get_attribute_value(each))[:MAX_LIST]
    return found
