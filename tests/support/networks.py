"""A small convolutional network with a block that is added to what goes around it, and pictures for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES = 16, 4
TOML = """\
# what the little network says
description = "Which of four kinds"

[input]
kind = "image"   # from the door's camera

[model]
file = "model.onnx"
size = [16, 16]
channels = 1

[[keys]]
extractor = "gray"  # a guess

[reuse]
accuracy_target = 0.9
"""


def residual_model(seed: int = 0, width: int = 8) -> onnx.ModelProto:
    """Return a model: convolution, a residual block, pooling over a grid, scores."""
    rng = np.random.default_rng(seed)
    weights = {
        "w0": rng.normal(size=(width, 1, 3, 3)) / 3,
        "w1": rng.normal(size=(width, width, 3, 3)) / (3 * np.sqrt(width)),
        "w2": rng.normal(size=(width, width, 3, 3)) / (3 * np.sqrt(width)),
        "w3": rng.normal(size=(16 * width, CLASSES)),
    }
    same = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], **same),
        helper.make_node("Relu", ["c0"], ["stem"]),
        helper.make_node("Conv", ["stem", "w1"], ["c1"], **same),
        helper.make_node("Relu", ["c1"], ["inside"]),
        helper.make_node("Conv", ["inside", "w2"], ["c2"], **same),
        helper.make_node("Add", ["c2", "stem"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["block"]),
        helper.make_node("AveragePool", ["block"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w3"], ["scores"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def write_function(root: Path, name: str = "kinds") -> Path:
    """Write a function with that model and a guessed key; return its folder."""
    folder = root / name
    (folder / "1").mkdir(parents=True)
    onnx.save(residual_model(), folder / "1" / "model.onnx")
    (folder / "function.toml").write_text(TOML)
    return folder


def kind_picture(kind: int, seed: int) -> bytes:
    """Return a PNG of one of many kinds, never the same twice."""
    base = np.random.default_rng(1000 + kind).integers(0, 256, (4, 4), dtype=np.uint8)
    large = cv2.resize(base, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(np.float64)
    noisy = large + np.random.default_rng(seed).normal(0, 12, large.shape)
    return cv2.imencode(".png", np.clip(noisy, 0, 255).astype(np.uint8))[1].tobytes()


def fill(folder: Path, count: int, kinds: int = 30) -> Path:
    """Write a folder of pictures; return it."""
    folder.mkdir(parents=True)
    order = np.random.default_rng(7).integers(kinds, size=count)
    for at, kind in enumerate(order):
        (folder / f"{at}.png").write_bytes(kind_picture(int(kind), at))
    return folder
