"""Numbers of fewer bits: 8-bit integers, by ONNX Runtime's own tools, and half precision."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from likewise.compression.network import Network
from likewise.errors import InvalidFunction
from likewise.types import Tensor

STEPS = ("Conv", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Concat", "Flatten", "Gemm", "MatMul")
FEW = ("Conv", "Relu", "Flatten", "Gemm", "MatMul")


class _Examples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, inputs: Tensor) -> None:
        self._left: Iterator[Tensor] = iter(inputs)
        self._name = name

    def get_next(self) -> dict[str, Tensor] | None:
        example = next(self._left, None)
        return None if example is None else {self._name: example[None]}


def dynamic_int8(network: Network) -> Network:
    """Return the network with 8-bit weights; activations are brought to 8 bits as they come, by their own range."""
    with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
        plain, out = Path(folder) / "plain.onnx", Path(folder) / "out.onnx"
        plain.write_bytes(network.to_bytes())
        try:
            quantize_dynamic(plain, out, weight_type=QuantType.QUInt8)
        except Exception as error:  # it raises whatever it meets
            raise InvalidFunction(f"{network.name}: ONNX Runtime cannot quantize it: {error}") from error
        return Network.parse(out.read_bytes(), network.name)


def static_int8(network: Network, inputs: Tensor, *, added: bool = False) -> Network:
    """Return the network with 8-bit weights and activations, whose ranges inputs tell, shape (n, ...).

    Per output channel, in the form QDQ. The first layer, which sees the input itself, stays as it is. Weights take 7 of
    their 8 bits: processors without VNNI add products of two in 16. added: sums and pools in 8 bits as well.
    """
    first = next((layer.node for layer in network.layers()), None)
    if first is None:
        raise InvalidFunction(f"{network.name}: has no layer with weights of its own to quantize")
    named = network.copy()
    for at, node in enumerate(named.model.graph.node):
        node.name = f"node_{at}"
    left_out = next(node.name for node in named.model.graph.node if node.output[0] == first.output[0])
    with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
        plain, ready, out = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "out"))
        plain.write_bytes(named.to_bytes())
        try:
            quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True, skip_optimization=True)
            quantize_static(
                str(ready),
                str(out),
                _Examples(named.input, inputs),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(STEPS if added else FEW),
                nodes_to_exclude=[left_out],
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        except Exception as error:  # as above
            raise InvalidFunction(f"{network.name}: ONNX Runtime cannot quantize it: {error}") from error
        return Network.parse(out.read_bytes(), network.name)


def float16(network: Network) -> Network:
    """Return the network with weights stored in half precision, cast as it is loaded: computed in float32.

    The CPU has no arithmetic of its own for halves in ONNX Runtime; what is saved is storage.
    """
    found = network.copy()
    casts = []
    for name, value in list(found.weights.items()):
        if value.dtype != np.float32 or value.ndim < 1:
            continue
        half = np.clip(value, np.finfo(np.float16).min, np.finfo(np.float16).max).astype(np.float16)
        del found.weights[name]
        stored = found.add_weight(half, f"{name}_half")
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    found.set_nodes([*casts, *found.model.graph.node])
    return found
