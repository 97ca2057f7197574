"""Random convolutional ONNX graphs of all operators that video reuse knows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


class GraphBuilder:
    """Puts a graph together, one operator after another."""

    def __init__(self, seed: int, channels: int, height: int, width: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = (channels, height, width)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.sizes = {"x": self.shape}

    def weight(self, value: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, value.dtype), name))
        return name

    def floats(self, *shape: int, scale: float = 1.0) -> str:
        return self.weight((self.rng.normal(size=shape) * scale).astype(np.float32))

    def add(self, kind: str, inputs: list[str], size: tuple[int, int, int], **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        self.sizes[name] = size
        return name

    def conv(self, x: str, filters: int, kernel: int, stride: int, groups: int = 1, dilation: int = 1) -> str:
        channels, height, width = self.sizes[x]
        pad = dilation * (kernel // 2)
        fan = channels // groups * kernel * kernel
        inputs = [x, self.floats(filters, channels // groups, kernel, kernel, scale=(2 / fan) ** 0.5)]
        if self.rng.random() < 0.7:
            inputs.append(self.floats(filters, scale=0.1))
        side = dilation * (kernel - 1) + 1
        size = (filters, (height + 2 * pad - side) // stride + 1, (width + 2 * pad - side) // stride + 1)
        return self.add(
            "Conv", inputs, size, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=[pad] * 4,
            group=groups, dilations=[dilation, dilation],
        )  # fmt: skip

    def norm(self, x: str) -> str:
        count = self.sizes[x][0]
        spread = self.weight((0.5 + self.rng.random(count)).astype(np.float32))
        numbers = [spread, self.floats(count), self.floats(count, scale=0.2), spread]
        return self.add("BatchNormalization", [x, *numbers], self.sizes[x])

    def activation(self, x: str) -> str:
        size = self.sizes[x]
        kind = self.rng.choice(
            ["Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Clip", "Elu", "HardSigmoid", "SiLU"]
        )
        if kind == "Clip":
            low, high = (self.weight(np.float32(each)) for each in (0.0, 6.0))
            return self.add("Clip", [x, low, high], size)
        if kind == "SiLU":
            return self.add("Mul", [x, self.add("Sigmoid", [x], size)], size)
        return self.add(str(kind), [x], size)

    def pool(self, x: str, kind: str, kernel: int, stride: int) -> str:
        channels, height, width = self.sizes[x]
        pad = int(self.rng.integers(0, kernel // 2 + 1))
        size = (channels, (height + 2 * pad - kernel) // stride + 1, (width + 2 * pad - kernel) // stride + 1)
        more = {"count_include_pad": int(self.rng.integers(0, 2))} if kind == "AveragePool" else {}
        return self.add(kind, [x], size, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, **more)

    def resize(self, x: str, factor: int) -> str:
        channels, height, width = self.sizes[x]
        scales = self.weight(np.array([1, 1, factor, factor], np.float32))
        mode = str(self.rng.choice(["nearest", "linear"]))
        ways = ["asymmetric", "half_pixel", "align_corners"] if mode == "linear" else ["asymmetric", "half_pixel"]
        how = str(self.rng.choice(ways))
        more = {"nearest_mode": str(self.rng.choice(["floor", "round_prefer_floor"]))} if mode == "nearest" else {}
        size = (channels, height * factor, width * factor)
        return self.add("Resize", [x, "", scales], size, mode=mode, coordinate_transformation_mode=how, **more)

    def model(self, outputs: list[str]) -> bytes:
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "random",
            [info("x", TensorProto.FLOAT, ["batch", *self.shape])],
            [info(name, TensorProto.FLOAT, None) for name in outputs],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return bytes(model.SerializeToString())


def random_graph(seed: int) -> tuple[bytes, tuple[int, int, int], list[str]]:
    """Return a model, the shape of its input and the names of its outputs."""
    rng = np.random.default_rng(seed)
    net = GraphBuilder(seed, int(rng.integers(1, 5)), int(rng.integers(9, 28)), int(rng.integers(9, 28)))
    x = net.conv("x", 8, 3, 1)
    for _ in range(int(rng.integers(2, 7))):
        channels, height, width = net.sizes[x]
        step = rng.integers(0, 10)
        if step == 0:
            x = net.conv(x, channels, 3, 1, groups=channels)
        elif step == 1:
            x = net.conv(x, channels, 3, 1, groups=2)
        elif step == 2 and min(height, width) >= 6:
            x = net.pool(
                x, str(rng.choice(["MaxPool", "AveragePool"])), int(rng.integers(2, 4)), int(rng.integers(1, 3))
            )
        elif step == 3:
            y = net.conv(net.activation(net.conv(x, channels, 3, 1)), channels, 3, 1)
            x = net.add(str(rng.choice(["Add", "Mul"])), [x, y], net.sizes[x])
        elif step == 4:
            y = net.conv(x, 4, 1, 1)
            x = net.add("Concat", [x, y], (channels + 4, height, width), axis=1)
        elif step == 5 and max(height, width) <= 28:
            x = net.resize(x, 2)
        elif step == 6:
            x = net.conv(x, channels, 3, 1, dilation=2)
        elif step == 7 and min(height, width) >= 6:
            x = net.conv(x, 12 if channels % 2 == 0 else channels, int(rng.choice([1, 3, 5])), 2)
        elif step == 8:
            x = net.add(str(rng.choice(["Add", "Mul", "Sub"])), [x, net.floats(1, channels, 1, 1)], net.sizes[x])
        elif step == 9 and min(height, width) >= 6:
            x = net.pool(net.activation(net.conv(x, channels, 3, 1)), "MaxPool", 2, 2)
        if rng.random() < 0.4:
            x = net.norm(x)
        if rng.random() < 0.7:
            x = net.activation(x)
    outputs = [net.conv(x, 3, 1, 1)]
    if rng.random() < 0.6:
        flat = net.add("Flatten", [net.add("GlobalAveragePool", [x], (net.sizes[x][0], 1, 1))], (0, 0, 0))
        outputs.append(net.add("Gemm", [flat, net.floats(net.sizes[x][0], 5), net.floats(5)], (0, 0, 0)))
    return net.model(outputs), net.shape, outputs


def in_double(content: bytes) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return what runs a float32 graph in float64, as its operators are defined: the truth beside both roundings."""
    model = onnx.load_from_string(content)
    for weights in model.graph.initializer:
        if weights.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(weights).astype(np.float64)
            weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    evaluator, name = ReferenceEvaluator(model), model.graph.input[0].name
    return lambda frame: evaluator.run(None, {name: frame[None].astype(np.float64)})
