"""Networks of kinds that functions here have not, for judging estimates: none of them is calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from onnx import TensorProto

from benchmarks.video_nets import resnet18, tiny_yolo
from likewise.estimation.net import Net


def transformer() -> bytes:
    """An encoder of two layers: 128 steps of 256 numbers, 4 heads."""
    net, steps, width, heads = Net(1001), 128, 256, 4
    x = net.input(1, steps, width)
    split = net.constant(np.array([1, steps, heads, width // heads]))
    joined = net.constant(np.array([1, steps, width]))
    for _ in range(2):
        parts = []
        for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
            part = net.node("Add", [net.node("MatMul", [x, net.weight(width, width)]), net.weight(width)])
            parts.append(net.node("Transpose", [net.node("Reshape", [part, split])], perm=order))
        scores = net.node("Div", [net.node("MatMul", parts[:2]), net.constant(np.float32((width // heads) ** 0.5))])
        mixed = net.node("MatMul", [net.node("Softmax", [scores], axis=-1), parts[2]])
        mixed = net.node("Reshape", [net.node("Transpose", [mixed], perm=[0, 2, 1, 3]), joined])
        mixed = net.node("Add", [net.node("MatMul", [mixed, net.weight(width, width)]), net.weight(width)])
        x = net.node("LayerNormalization", [net.node("Add", [x, mixed]), net.weight(width), net.weight(width)])
        inner = net.node("Add", [net.node("MatMul", [x, net.weight(width, 4 * width)]), net.weight(4 * width)])
        inner = net.node("MatMul", [net.node("Gelu", [inner]), net.weight(4 * width, width)])
        inner = net.node("Add", [inner, net.weight(width)])
        x = net.node("LayerNormalization", [net.node("Add", [x, inner]), net.weight(width), net.weight(width)])
    net.output(x)
    return net.model()


def lstm() -> bytes:
    """Two LSTM of 128 units over 80 steps of 40 numbers, then classes."""
    net = Net(1002)
    x, inputs, units = net.input(80, 1, 40), 40, 128
    for _ in range(2):
        weights = [net.weight(1, 4 * units, inputs), net.weight(1, 4 * units, units), net.weight(1, 8 * units)]
        x = net.node("LSTM", [x, *weights], hidden_size=units)
        x, inputs = net.node("Squeeze", [x, net.constant(np.array([1]))]), units
    x = net.node("Gather", [x, net.constant(np.int64(-1))], axis=0)
    net.output(net.node("Softmax", [net.node("Gemm", [x, net.weight(units, 30), net.weight(30)])]))
    return net.model()


def mobile() -> bytes:
    """Depthwise and pointwise convolutions in turns, as MobileNet has them at half its width."""
    net = Net(1003)
    x, channels = net.conv(net.input(1, 3, 160, 160), 3, 16, (3, 3), 2), 16
    for filters, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1), (512, 2)):
        x = net.conv(net.conv(x, channels, channels, (3, 3), stride, channels), channels, filters, (1, 1))
        channels = filters
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    net.output(net.node("Gemm", [x, net.weight(512, 200), net.weight(200)]))
    return net.model()


def dense() -> bytes:
    """Four dense layers for a batch of eight."""
    net = Net(1004)
    x, inputs = net.input(8, 784), 784
    for units in (1024, 512, 256):
        x = net.node("Relu", [net.node("Gemm", [x, net.weight(inputs, units), net.weight(units)])])
        inputs = units
    net.output(net.node("Softmax", [net.node("Gemm", [x, net.weight(inputs, 10), net.weight(10)])]))
    return net.model()


def waves() -> bytes:
    """Convolutions in one dimension over a second of sound."""
    net = Net(1005)
    x, channels = net.input(1, 1, 8000), 1
    for filters, window, stride in ((32, 25, 4), (64, 9, 2), (64, 9, 2), (128, 5, 2), (128, 5, 2), (256, 3, 2)):
        x, channels = net.conv(x, channels, filters, (window,), stride), filters
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    net.output(net.node("Gemm", [x, net.weight(256, 35), net.weight(35)]))
    return net.model()


def quantized() -> bytes:
    """Convolutions in 8 bits, with quantization written between them, as exporters write it."""
    net = Net(1006)
    scale, zero, small = (net.constant(each) for each in (np.float32(0.02), np.uint8(0), np.float32(0.01)))
    none, bias = net.constant(np.int8(0)), (net.constant(np.float32(0.0002)), net.constant(np.int32(0)))

    def between(x: str) -> str:
        return net.node("DequantizeLinear", [net.node("QuantizeLinear", [x, scale, zero]), scale, zero])

    x, channels = between(net.input(1, 3, 96, 96)), 3
    for filters, stride in ((32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        numbers = net.constant(net.rng.integers(-90, 90, (filters, channels, 3, 3)).astype(np.int8))
        zeros = net.constant(np.zeros(filters, np.int32))
        inputs = [x, net.node("DequantizeLinear", [numbers, small, none]), net.node("DequantizeLinear", [zeros, *bias])]
        x = net.node("Conv", inputs, kernel_shape=[3, 3], pads=[1] * 4, strides=[stride] * 2)
        x, channels = between(net.node("Relu", [x])), filters
    net.output(net.node("GlobalAveragePool", [x]), TensorProto.FLOAT)
    return net.model()


NETWORKS: Mapping[str, Callable[[], bytes]] = {
    "transformer": transformer,
    "lstm": lstm,
    "mobile": mobile,
    "dense": dense,
    "waves": waves,
    "quantized": quantized,
    "resnet18": lambda: resnet18(120, 160).SerializeToString(),
    "tiny-yolo": lambda: tiny_yolo(240, 320).SerializeToString(),
}
