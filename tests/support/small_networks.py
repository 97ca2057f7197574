"""Little networks to make smaller, and what compares them."""

from __future__ import annotations

from pathlib import Path

import networks
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from likewise.compression.examples import Examples, Task
from likewise.compression.heads import run
from likewise.compression.network import Floats, Network


def dense_model(seed: int = 0) -> onnx.ModelProto:
    """Return a plain network: strided and depthwise convolutions, a concatenation, then dense layers."""
    rng = np.random.default_rng(seed)
    shapes = {
        "w0": (16, 1, 3, 3), "b0": (16,), "wd": (16, 1, 3, 3), "bd": (16,), "w1": (24, 16, 3, 3), "b1": (24,),
        "w2": (8, 16, 1, 1), "b2": (8,), "f0": (64, 512), "g0": (64,), "f1": (4, 64), "g1": (4,),
    }  # fmt: skip
    weights = {
        name: rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 16.0)
        for name, shape in shapes.items()
    }
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], strides=[2, 2], **same),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "wd", "bd"], ["cd"], group=16, **same),
        helper.make_node("Conv", ["cd", "w1", "b1"], ["c1"], strides=[2, 2], **same),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r0", "w2", "b2"], ["c2"], kernel_shape=[1, 1], strides=[2, 2]),
        helper.make_node("Concat", ["r1", "c2"], ["both"], axis=1),
        helper.make_node("Flatten", ["both"], ["flat"]),
        helper.make_node("Gemm", ["flat", "f0", "g0"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["rh"]),
        helper.make_node("Gemm", ["rh", "f1", "g1"], ["scores"], transB=1),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, ["batch", 1, networks.SIDE, networks.SIDE])],
        [info("scores", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def residual() -> Network:
    """Return the residual network of `networks`, its channels wide enough to be taken by eights."""
    return Network(networks.residual_model(width=32), "residual")


def dense() -> Network:
    """Return the plain one."""
    return Network(dense_model(), "dense")


def check_same(one: Network, other: Network, inputs: Floats, tolerance: float = 1e-4) -> None:
    """Fail unless both say the same within float error."""
    expected = run(one, inputs)
    np.testing.assert_allclose(run(other, inputs), expected, atol=tolerance * np.abs(expected).max())


def task_of(network: Network, folder: Path, inputs: Floats) -> Task:
    """Return the task of a network for inputs without labels, all in all three parts."""
    path = folder / "model.onnx"
    path.write_bytes(network.to_bytes())
    examples = Examples(inputs, (run(network, inputs),), np.full(len(inputs), -1))

    def same(one, other):
        return one[0].argmax(1) == other[0].argmax(1)

    return Task(path, examples, examples, examples, same, labelled=True)
