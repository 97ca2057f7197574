"""Networks that stay in the processor's caches, or nearly, for what layers cost there; large: by how many times."""

from __future__ import annotations

import numpy as np

from likewise.estimation.net import Net, pick


def small_pictures(seed: int, large: int = 1) -> Net:
    """Return a network of convolutions in two dimensions."""
    net = Net(1100 + seed)
    rng = net.rng
    channels, side = pick(rng, 16, 48 * large, 16), pick(rng, 12, 48 * large)
    given = int(rng.choice([1, 3]))
    x = net.conv(net.input(1, given, side, side), given, channels, (3, 3), 1 + seed % 2)
    x = net.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = net.conv(net.conv(x, channels, channels, (3, 3), 1, channels), channels, channels, (1, 1))
    x = net.node("Add", [net.conv(x, channels, channels, (3, 3)), x])
    filters = pick(rng, 16, 64 * large, 16)
    x = net.node("GlobalAveragePool", [net.conv(x, channels, filters, (3, 3), 2)])
    x = net.node("Gemm", [net.node("Flatten", [x]), net.weight(filters, 20), net.weight(20)])
    net.output(net.node("Softmax", [x]))
    return net


def small_rows(seed: int, large: int = 1) -> Net:
    """Return a network of products and arithmetic on rows."""
    net = Net(1200 + seed)
    rng = net.rng
    rows, width, units = (1 if seed % 2 else pick(rng, 2, 32)), pick(rng, 16, 256 * large), pick(rng, 16, 128 * large)
    x = net.node("Sub", [net.input(rows, width), net.weight(width)])
    x = net.node("Tanh", [net.node("Gemm", [x, net.weight(width, units), net.weight(units)])])
    x = net.node("LayerNormalization", [x, net.weight(units), net.weight(units)])
    length = net.node("Sqrt", [net.node("ReduceSum", [net.node("Mul", [x, x]), net.constant(np.array([1]))])])
    x = net.node("Transpose", [net.node("Div", [x, length])], perm=[1, 0])
    x = net.node("Concat", [x, net.node("Sigmoid", [x])], axis=1)
    x = net.node("Relu", [net.node("MatMul", [x, net.weight(2 * rows, 16)])])
    net.output(net.node("Softmax", [net.node("MatMul", [net.weight(8, units), x])]))
    return net


def small_waves(seed: int, large: int = 1) -> Net:
    """Return a network of convolutions in one dimension and a recurrent cell."""
    net = Net(1300 + seed)
    rng = net.rng
    channels, length, hidden = pick(rng, 4, 32 * large), pick(rng, 32, 400 * large), pick(rng, 8, 40 * large)
    x = net.conv(net.input(1, 1, length), 1, channels, (9,), 2)
    x = net.conv(x, channels, channels, (3,), 2)
    x = net.node("Pow", [x, net.constant(np.float32(2.0))])
    x = net.node("Log", [net.node("Add", [x, net.constant(np.float32(1.0))])])
    x = net.node("Transpose", [x], perm=[2, 0, 1])
    weights = [net.weight(1, 4 * hidden, channels), net.weight(1, 4 * hidden, hidden), net.weight(1, 8 * hidden)]
    x = net.node("Squeeze", [net.node("LSTM", [x, *weights], hidden_size=hidden), net.constant(np.array([1]))])
    x = net.node("ReduceMean", [x, net.constant(np.array([0]))], keepdims=0)
    net.output(net.node("MatMul", [x, net.weight(hidden, 10)]))
    return net


def small_quantized(seed: int, large: int = 1) -> Net:
    """Return a network of convolutions and a product in 8 bits."""
    net = Net(1400 + seed)
    rng = net.rng
    scale, zero, small = (net.constant(each) for each in (np.float32(0.02), np.uint8(128), np.float32(0.01)))
    none = net.constant(np.int8(0))

    def between(x: str) -> str:
        return net.node("DequantizeLinear", [net.node("QuantizeLinear", [x, scale, zero]), scale, zero])

    def weights(*shape: int) -> str:
        numbers = net.constant(rng.integers(-90, 90, shape).astype(np.int8))
        return net.node("DequantizeLinear", [numbers, small, none])

    side, channels = pick(rng, 12, 48 * large), 3
    x = between(net.input(1, channels, side, side))
    for at in range(4):
        filters, kernel = pick(rng, 8, 64 * large, 8), (3, 1)[at % 3 == 2]
        x = net.node(
            "Conv", [x, weights(filters, channels, kernel, kernel)], kernel_shape=[kernel] * 2,
            pads=[kernel // 2] * 4, strides=[1 + at % 2] * 2,
        )  # fmt: skip
        x, channels = between(x), filters
    x = between(net.node("Flatten", [between(net.node("GlobalAveragePool", [x]))]))
    net.output(between(net.node("MatMul", [x, weights(channels, 32)])))
    return net
