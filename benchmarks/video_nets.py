"""Networks as the study of video reuse has them: random weights that are always the same, a head that is fitted."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class _Builder:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.count = 0

    def name(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def constant(self, value: np.ndarray) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], **attributes: object) -> str:
        out = self.name()
        self.nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def conv(self, x: str, channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        fan = channels // groups * kernel * kernel
        weights = self.rng.normal(size=(filters, channels // groups, kernel, kernel)) * np.sqrt(2.0 / fan)
        pad = kernel // 2
        x = self.node(
            "Conv", [x, self.constant(weights)], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4,
            group=groups,
        )  # fmt: skip
        ones, zeros = np.ones(filters), np.zeros(filters)
        statistics = [ones, self.rng.normal(size=filters) * 0.1, zeros, ones]
        return self.node("BatchNormalization", [x, *map(self.constant, statistics)])

    def model(self, height: int, width: int, output: str, channels: int) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["out"]))
        graph = helper.make_graph(
            self.nodes, "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, height, width])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", channels, None, None])],
            self.constants,
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet18(height: int, width: int, head: tuple[np.ndarray, float] | None = None) -> onnx.ModelProto:
    """Return ResNet-18 up to its third stage (stride 16, 256 channels), with a 1 × 1 head if one is given."""
    net = _Builder(18)
    x = net.node("Relu", [net.conv("x", 3, 64, 7, 2)])
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for filters in (64, 128, 256):
        for block in range(2):
            stride = 2 if filters > 64 and not block else 1
            short = x if stride == 1 else net.conv(x, channels, filters, 1, stride)
            y = net.node("Relu", [net.conv(x, channels, filters, 3, stride)])
            y = net.conv(y, filters, filters, 3)
            x = net.node("Relu", [net.node("Add", [y, short])])
            channels = filters
    return _with_head(net, x, channels, height, width, head)


def tiny_yolo(height: int, width: int, head: tuple[np.ndarray, float] | None = None) -> onnx.ModelProto:
    """Return a network like Tiny YOLO v2 at half its width: six convolutions and pools to stride 16, then two more."""
    net = _Builder(2)
    x, channels = "x", 3
    for filters in (16, 32, 64, 128):
        x = net.node("LeakyRelu", [net.conv(x, channels, filters, 3)], alpha=0.1)
        x = net.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
        channels = filters
    for filters in (256, 256):
        x = net.node("LeakyRelu", [net.conv(x, channels, filters, 3)], alpha=0.1)
        channels = filters
    return _with_head(net, x, channels, height, width, head)


def _with_head(
    net: _Builder, x: str, channels: int, height: int, width: int, head: tuple[np.ndarray, float] | None
) -> onnx.ModelProto:
    if head is None:
        return net.model(height, width, x, channels)
    weights, bias = head
    names = [x, net.constant(weights.reshape(1, channels, 1, 1)), net.constant(np.array([bias]))]
    return net.model(height, width, net.node("Conv", names, kernel_shape=[1, 1]), 1)
