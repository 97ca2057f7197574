"""Small networks that a machine is calibrated on: random shapes of all kinds of layers, the same ones each time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import TensorProto

from likewise.estimation.net import Net, pick
from likewise.estimation.small_networks import small_pictures, small_quantized, small_rows, small_waves

CONVOLUTIONS = 6
"""Networks of convolutions in two dimensions."""
MOST_MACS = 24_000_000
"""Of one layer."""


def networks() -> Iterator[Net]:
    """Return the networks, each of which runs in tens of milliseconds at the most."""
    for seed in range(CONVOLUTIONS):
        yield _convolutions(seed)
        yield _light_convolutions(seed)
    yield _columns()
    yield _products()
    yield _quantized()
    yield _cells()
    for seed in range(2):
        yield _numbers(seed)
    yield _large()
    for seed in range(SMALL):
        yield from (small_pictures(seed), small_rows(seed), small_waves(seed), small_quantized(seed))
        seed += SMALL
        yield from (small_pictures(seed, 3), small_rows(seed, 6), small_waves(seed, 3), small_quantized(seed, 2))
    yield _moves()


def memory_networks() -> Iterator[Net]:
    """Return networks of few layers and many, which are loaded for the memory that they take."""
    yield from (
        tiny(1),
        small_pictures(0),
        small_rows(1),
        small_waves(2),
        _convolutions(0),
        _light_convolutions(1),
        _products(),
    )


SMALL = 5
"""Networks of each kind that stay in the processor's caches."""
TINY = 120
"""Layers that do next to nothing, for what a layer costs by itself."""


def tiny(count: int) -> Net:
    """Return a chain of layers on 16 numbers."""
    net = Net(800)
    x = first = net.fresh(1, 16)
    for _ in range(count):
        x = net.node("Add", [x, first])
    net.output(x)
    return net


def _convolutions(seed: int) -> Net:
    net = Net(seed)
    rng = net.rng
    todo = 14
    while todo:
        channels, filters = pick(rng, 16, 512, 16), pick(rng, 16, 512, 16)
        side, kernel, stride = pick(rng, 4, 64), int(rng.choice([3, 3, 3, 5])), int(rng.choice([1, 1, 2]))
        out = -(-side // stride)
        if channels * filters * kernel**2 * out**2 > MOST_MACS or channels * filters * kernel**2 > 1_200_000:
            continue
        x = net.conv(net.fresh(1, channels, side, side), channels, filters, (kernel, kernel), stride)
        if todo % 2:  # a block of a residual network
            y = net.conv(x, filters, filters, (1, 1))
            x = net.node("Relu", [net.node("Add", [net.conv(y, filters, filters, (1, 1), relu=False), x])])
        net.end(x)
        todo -= 1
    return net


def _light_convolutions(seed: int) -> Net:
    net = Net(100 + seed)
    rng = net.rng
    for at in range(12):
        channels, side = pick(rng, 16, 512, 16), pick(rng, 5, 80)
        while channels * side**2 > 400_000:
            side = side // 2 + 1
        kernel = (3, 3, 5)[at % 3]
        filters = pick(rng, 16, 512, 16)
        while channels * filters * side**2 > MOST_MACS:
            filters = max(16, filters // 32 * 16)
        x = net.conv(net.fresh(1, channels, side, side), channels, channels, (kernel,) * 2, 1 + at % 2, channels)
        net.end(net.conv(x, channels, filters, (1, 1), relu=bool(at % 2)))
    for at in range(6):
        filters, side = pick(rng, 16, 96, 16), pick(rng, 24, 320)
        filters = 16 if side > 128 else filters
        kernel = int(rng.choice([3, 3, 5, 7]))
        given = int(rng.choice([1, 3]))
        x = net.conv(net.fresh(1, given, side, side), given, filters, (kernel, kernel), 1 + at % 2)
        kind = ("MaxPool", "AveragePool")[at % 2]
        window = 2 + (at // 2) % 2
        x = net.node(kind, [x], kernel_shape=[window] * 2, strides=[2, 2], pads=[window // 3] * 4)
        net.end(net.node("GlobalAveragePool", [x]))
    return net


def _columns() -> Net:
    """Convolutions that ONNX Runtime does not put into blocks of channels: in one dimension, and in odd groups."""
    net = Net(200)
    rng = net.rng
    for at in range(14):
        channels, filters, length = pick(rng, 2, 256), pick(rng, 8, 256), pick(rng, 16, 4000)
        kernel = int(rng.choice([1, 3, 5, 9, 25]))
        while channels * filters * length * kernel > MOST_MACS:
            length = length // 2 + 1
        net.end(net.conv(net.fresh(1, channels, length), channels, filters, (kernel,), 1 + at % 2))
    for window in (128, 200, 256, 400, 512):  # as networks for sound have them in the place of a spectrum
        x = net.fresh(1, 1, pick(rng, 4000, 16_000))
        net.end(net.conv(x, 1, pick(rng, 64, 512), (window,), window * 5 // 8, relu=False))
    for at in range(8):
        channels, length = pick(rng, 8, 256), pick(rng, 16, 1000)
        net.end(net.conv(net.fresh(1, channels, length), channels, channels, ((3, 5, 9)[at % 3],), 1, channels))
    for at in range(6):
        groups, width, side = int(rng.choice([2, 4, 8])), int(rng.choice([4, 8, 12])), pick(rng, 6, 40)
        x = net.fresh(1, groups * width, side, side)
        net.end(net.conv(x, groups * width, groups * width, (3, 3), 1 + at % 2, groups))
    for _ in range(5):
        channels, filters, side = pick(rng, 8, 96), pick(rng, 8, 96), pick(rng, 4, 32)
        weights = net.weight(channels, filters, 2, 2)
        x = net.fresh(1, channels, side, side)
        net.end(net.node("ConvTranspose", [x, weights], kernel_shape=[2, 2], strides=[2, 2]))
    return net


def _products() -> Net:
    net = Net(300)
    rng = net.rng
    for at in range(26):
        rows = 1 if at % 3 == 0 else pick(rng, 2, 512)
        depth, columns = pick(rng, 16, 2048), pick(rng, 4, 1024)
        while rows * depth * columns > MOST_MACS or depth * columns > 1_000_000:
            depth, rows = depth // 2 + 1, rows // 2 + 1
        x, weights = net.fresh(rows, depth), net.weight(depth, columns)
        net.end(net.node("Gemm", [x, weights, net.weight(columns)]) if at % 2 else net.node("MatMul", [x, weights]))
    for _ in range(10):
        batch, rows, depth, columns = pick(rng, 1, 12), pick(rng, 8, 256), pick(rng, 8, 128), pick(rng, 8, 256)
        net.end(net.node("MatMul", [net.fresh(batch, rows, depth), net.fresh(batch, depth, columns)]))
    return net


def _quantized() -> Net:
    net = Net(400)
    rng = net.rng
    scale, zero = net.constant(np.float32(0.02)), net.constant(np.uint8(128))
    small, none = net.constant(np.float32(0.01)), net.constant(np.int8(0))

    def quantized(x: str) -> str:
        return net.node("DequantizeLinear", [net.node("QuantizeLinear", [x, scale, zero]), scale, zero])

    def weights(*shape: int) -> str:
        numbers = net.constant(rng.integers(-100, 100, shape).astype(np.int8))
        return net.node("DequantizeLinear", [numbers, small, none])

    for at in range(14):
        channels, filters, side = pick(rng, 4, 256, 4), pick(rng, 8, 256, 8), pick(rng, 4, 48)
        kernel = (1, 3)[at % 2] if at < 10 else 3
        groups = channels if at >= 10 else 1
        filters = channels if groups > 1 else filters
        while channels // groups * filters * (side * kernel) ** 2 > MOST_MACS:
            side = side // 2 + 1
        bias = net.node(
            "DequantizeLinear",
            [net.constant(np.zeros(filters, np.int32)), net.constant(np.float32(0.0002)), net.constant(np.int32(0))],
        )
        x = net.node(
            "Conv",
            [quantized(net.fresh(1, channels, side, side)), weights(filters, channels // groups, kernel, kernel), bias],
            kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4, strides=[1 + (at % 4 == 1)] * 2, group=groups,
        )  # fmt: skip
        net.end(quantized(x))
    for at in range(8):
        rows, depth, columns = (1 if at % 2 else pick(rng, 2, 256)), pick(rng, 32, 1024), pick(rng, 8, 512)
        net.end(quantized(net.node("MatMul", [quantized(net.fresh(rows, depth)), weights(depth, columns)])))
    for side in (8, 24):
        x = quantized(net.fresh(1, 32, side, side))
        x = quantized(net.node("Add", [x, quantized(net.fresh(1, 32, side, side))]))
        net.end(quantized(net.node("GlobalAveragePool", [x])))
    for at in range(6):
        rows, depth, columns = (1 if at % 2 else pick(rng, 2, 128)), pick(rng, 32, 768), pick(rng, 16, 512)
        numbers = net.constant(rng.integers(-100, 100, (depth, columns)).astype(np.int8))
        x = net.fresh(rows, depth)
        whole = net.node("DynamicQuantizeLinear", [x], 3)
        made = net.node("MatMulInteger", [whole, numbers, whole.replace("_0", "_2")])
        cast = net.node("Cast", [made], to=TensorProto.FLOAT)
        net.end(net.node("Mul", [cast, net.node("Mul", [whole.replace("_0", "_1"), small])]))
    return net


def _cells() -> Net:
    net = Net(500)
    rng = net.rng
    for at in range(20):
        steps, inputs, hidden = pick(rng, 1, 128), pick(rng, 8, 256), pick(rng, 8, 192)
        directions = 1 + at % 2
        kind, gates = (("LSTM", 4), ("GRU", 3))[at % 3 == 2]
        weights = [net.weight(directions, gates * hidden, inputs), net.weight(directions, gates * hidden, hidden)]
        weights.append(net.weight(directions, 2 * gates * hidden))
        x = net.fresh(steps, 1, inputs)
        direction = ("forward", "bidirectional")[directions - 1]
        net.end(net.node(kind, [x, *weights], hidden_size=hidden, direction=direction))
    return net


def _large() -> Net:
    """Arithmetic on tensors that leave the processor's second cache, in a chain: each finds what the last one left."""
    net = Net(650)
    for channels, side in ((32, 160), (16, 140), (64, 60)):
        x = first = net.fresh(1, channels, side, side)
        for kind in ("Relu", "Sigmoid", "HardSigmoid", "Tanh"):
            x = net.node(kind, [x])
        for kind in ("Add", "Mul", "Sub", "Div"):
            x = net.node(kind, [x, first])
            x = net.node(kind, [x, net.weight(1, channels, 1, 1)])
            x = net.node(kind, [x, net.constant(np.float32(1.5))])
            x = net.node("Clip", [x, net.constant(np.float32(0)), net.constant(np.float32(6))])
        net.end(x)
    return net


_UNARY = (
    "Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Sqrt", "HardSigmoid", "HardSwish", "LeakyRelu", "Gelu", "Softplus", "Neg",
    "Abs", "Reciprocal", "Log", "Elu",
)  # fmt: skip
_BINARY = ("Add", "Mul", "Sub", "Div", "Max", "Pow")


def _numbers(seed: int) -> Net:
    net = Net(600 + seed)
    rng = net.rng
    for size in ((100, 3_000, 30_000), (800, 12_000, 150_000))[seed]:
        channels = pick(rng, 8, 128)
        side = max(2, round((size / channels) ** 0.5))
        shape = (1, channels, side, side)
        for kind in _UNARY:
            net.end(net.node(kind, [net.fresh(*shape)]))
        low, high = net.constant(np.float32(0)), net.constant(np.float32(6))
        net.end(net.node("Clip", [net.fresh(*shape), low, high]))
        silu = net.fresh(*shape)
        net.end(net.node("Mul", [silu, net.node("Sigmoid", [silu])]))
        for kind in _BINARY:
            net.end(net.node(kind, [net.fresh(*shape), net.fresh(*shape)]))
            net.end(net.node(kind, [net.fresh(*shape), net.weight(1, channels, 1, 1)]))
            net.end(net.node(kind, [net.fresh(*shape), net.constant(np.float32(2.0))]))
        rows = net.fresh(size // 64 + 1, 64)
        net.end(net.node("Add", [rows, net.weight(64)]))
        net.end(net.node("Equal", [net.fresh(*shape), net.fresh(*shape)]), TensorProto.BOOL)
        width = pick(rng, 16, 512)
        count = max(1, size // width)
        net.end(net.node("Softmax", [net.fresh(count, width)], axis=-1))
        net.end(net.node("LayerNormalization", [net.fresh(count, width), net.weight(width), net.weight(width)]))
        x = net.node("Add", [net.fresh(1, count, width), net.fresh(1, count, width)])
        net.end(net.node("LayerNormalization", [x, net.weight(width), net.weight(width)]))
        for kind in ("ReduceMean", "ReduceMax", "ReduceSum"):
            last = net.constant(np.array([-1], np.int64))
            net.end(net.node(kind, [net.fresh(count, width), last], keepdims=1))
            over = net.constant(np.array([1], np.int64))
            net.end(net.node(kind, [net.fresh(1, count, width), over], keepdims=1))
        norm = [net.weight(channels) for _ in range(3)]
        net.end(net.node("BatchNormalization", [net.fresh(*shape), *norm, net.constant(np.ones(channels, np.float32))]))
        net.end(net.node("InstanceNormalization", [net.fresh(*shape), *norm[:2]]))
    return net


def _moves() -> Net:
    net = Net(700)
    rng = net.rng
    for size in (200, 3_000, 20_000, 80_000, 300_000):
        channels = pick(rng, 8, 64)
        side = max(2, round((size / channels) ** 0.5))
        shape = (1, channels, side, side)
        for order in ([0, 2, 3, 1], [0, 2, 1, 3], [0, 1, 3, 2]):
            net.output(net.node("Transpose", [net.fresh(*shape)], perm=order))
        for axis in (1, 3):
            net.end(net.node("Concat", [net.fresh(*shape), net.fresh(*shape)], axis=axis))
        first = net.constant(np.array([1], np.int64))
        for shape_, axis in ((shape, 2), (shape, 1), ((1, 2 * side, side * channels // 2), 2)):
            axes, last = net.constant(np.array([axis], np.int64)), net.constant(np.array([shape_[axis]], np.int64))
            net.end(net.node("Slice", [net.fresh(*shape_), first, last, axes]))
        whole = net.fresh(1, 2 * channels, side, side)
        halves = net.node("Split", [whole], 2, axis=1, num_outputs=2)
        net.end(halves)
        net.end(halves.replace("_0", "_1"))
        for pads in ([0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 3, 0, 0, 0, 3, 0]):
            net.end(net.node("Pad", [net.fresh(*shape), net.constant(np.array(pads, np.int64))]))
        scales = net.constant(np.array([1, 1, 2, 2], np.float32))
        for mode in ("nearest", "linear"):
            net.end(net.node("Resize", [net.fresh(*shape), "", scales], mode=mode,
                                coordinate_transformation_mode="asymmetric", nearest_mode="floor"))  # fmt: skip
        places = net.constant(rng.integers(0, 500, max(1, size // 64)))
        net.end(net.node("Gather", [net.weight(500, 64), net.node("Abs", [places])]))
        net.end(net.node("Cast", [net.fresh(*shape)], to=TensorProto.INT32), TensorProto.INT32)
        net.end(net.node("Expand", [net.fresh(1, channels, 1, 1), net.constant(np.array(shape, np.int64))]))
        more = net.node("Greater", [net.fresh(*shape), net.fresh(*shape)])
        net.end(net.node("Where", [more, net.fresh(*shape), net.fresh(*shape)]))
        net.end(net.node("Reshape", [net.fresh(*shape), net.constant(np.array([-1], np.int64))]))
        net.end(net.node("MaxPool", [net.fresh(1, channels, size // channels + 4)], kernel_shape=[3]))
        net.end(net.node("GlobalAveragePool", [net.fresh(1, channels, size // channels + 4)]))
    return net
