"""Small ONNX models, made to measure."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def onnx_model(
    outputs: list, shape: list, nodes: list, weights: dict | None = None, dtype: int = FLOAT, batch: object = "batch"
) -> bytes:
    """Return a model of one input `x`; outputs: (name, element type, shape without the batch axis) of each."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", dtype, [batch, *shape])],
        [info(name, kind, axes if axes is None else [batch, *axes]) for name, kind, axes in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def scores(classes: int = 3, inputs: int = 2, seed: int = 0) -> bytes:
    """Return a model from `inputs` numbers to scores of `classes`."""
    weights = {"w": np.random.default_rng(seed).normal(size=(inputs, classes)).astype(np.float32)}
    return onnx_model([("y", FLOAT, [classes])], [inputs], [helper.make_node("MatMul", ["x", "w"], ["y"])], weights)


def folds_for_minutes() -> bytes:
    """Return a model of 1 kB that adds a number to two: folding its constants takes 2.6e12 multiply-adds."""
    one = numpy_helper.from_array(np.array([1e-3], np.float32))
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["c0"], value=one)]
    nodes += [helper.make_node("MatMul", [f"c{i}", f"c{i}"], [f"c{i + 1}"]) for i in range(40)]
    nodes += [helper.make_node("ReduceMean", ["c40"], ["mean"], keepdims=0)]
    nodes += [helper.make_node("Add", ["x", "mean"], ["y"])]
    return onnx_model([("y", FLOAT, [2])], [2], nodes, {"shape": np.array([4000, 4000], np.int64)})


def looping() -> bytes:
    """Return a model that counts to the first number of its input, and adds as much to all of it."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "one"], ["w"]),
            helper.make_node("Identity", ["on"], ["still"]),
        ],
        "body",
        [info("i", TensorProto.INT64, []), info("on", TensorProto.BOOL, []), info("v", FLOAT, None)],
        [info("still", TensorProto.BOOL, []), info("w", FLOAT, None)],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["most"], to=TensorProto.INT64),
        helper.make_node("Loop", ["most", "true", "x"], ["y"], body=body),
    ]
    return onnx_model([("y", FLOAT, [2])], [2], nodes, {"one": np.float32(1), "true": np.array(True)})


def with_external(location: str) -> bytes:
    """Return `scores()` with its weights in another file, of 24 bytes."""
    model = onnx.ModelProto.FromString(scores())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "24")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return model.SerializeToString()
