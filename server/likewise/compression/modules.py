"""A network as a PyTorch module, whose weights can be trained and written back.

The operators of plain and residual networks, and of what stands before them, such as a spectrogram. Weights that share
few numbers stay shared: their codebook is trained. Zeros of a sparse weight stay zero. Comes with the extra `compress`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

from likewise.compression.network import Network, attribute
from likewise.errors import InvalidFunction

MOST_CODES = 256
SPARSE = 0.02
"""Share of zeros from which on they are meant."""

Step = Callable[["Module", onnx.NodeProto, list[Any]], Any]


class Module(nn.Module):  # type: ignore[misc]
    """Computes what the network does."""

    def __init__(self, network: Network, frozen: Collection[str] = ()) -> None:
        """Set up. frozen: weights that are not trained. Raises InvalidFunction for an operator that is not known."""
        super().__init__()
        self.network = network
        strange = sorted({node.op_type for node in network.model.graph.node} - STEPS.keys())
        if strange:
            raise InvalidFunction(f"{network.name}: has the operator {strange[0]}, which cannot be trained through")
        trained = {name for layer in network.layers() for name in (layer.weight, layer.bias) if name}
        for node in network.model.graph.node:
            if node.op_type in ("BatchNormalization", "LayerNormalization"):
                trained.update(name for name in node.input[1:3] if network.weights[name].dtype == np.float32)
        trained -= set(frozen)
        self._keys: dict[str, str] = {}
        self._kept: dict[str, tuple[Any, Any]] = {}
        self._fixed: dict[str, Any] = {}
        self.trained = nn.ParameterDict()
        for at, (name, value) in enumerate(network.weights.items()):
            if name not in trained:
                self._fixed[name] = torch.from_numpy(np.array(value))
                continue
            self._keys[name] = key = f"p{at}"
            self.trained[key] = nn.Parameter(self._parameter(key, value))

    def _parameter(self, key: str, value: Any) -> Any:
        """Return what is trained for a weight: itself, or its codebook."""
        values, places = np.unique(value, return_inverse=True)
        if value.ndim > 1 and len(values) <= MOST_CODES and len(values) * 4 <= value.size:
            nonzero = torch.from_numpy((values != 0).astype(np.float32))
            self._kept[key] = torch.from_numpy(places.reshape(value.shape)), nonzero
            return torch.from_numpy(values.copy())
        if value.ndim > 1 and (value == 0).mean() > SPARSE:
            self._kept[key] = None, torch.from_numpy((value != 0).astype(np.float32))
        return torch.from_numpy(np.array(value))

    def weight(self, name: str) -> Any:
        """Return a weight as it is now."""
        key = self._keys.get(name)
        if key is None:
            return self._fixed[name]
        value = self.trained[key]
        if key not in self._kept:
            return value
        places, nonzero = self._kept[key]
        return value * nonzero if places is None else (value * nonzero)[places]

    def key(self, name: str) -> str:
        """Return under what name a weight is trained."""
        return self._keys[name]

    def forward(self, value: Any) -> Any:
        """Return the first output for a batch."""
        return self.tensors(value)[self.network.outputs[0]]

    def tensors(self, value: Any) -> Mapping[str, Any]:
        """Return all tensors for a batch, by name."""
        known = {self.network.input: value}
        for node in self.network.model.graph.node:
            known[node.output[0]] = self.computed(node, known)
        return known

    def computed(self, node: onnx.NodeProto, known: Mapping[str, Any]) -> Any:
        """Return what a node makes of the tensors that are known."""
        given = [known[name] if name in known else self.weight(name) if name else None for name in node.input]
        return STEPS[node.op_type](self, node, given)

    def result(self) -> Network:
        """Return the network with the weights as they are now."""
        found = self.network.copy()
        with torch.no_grad():
            for name in self._keys:
                found.weights[name] = self.weight(name).float().numpy().copy()
        for name, value in self._fixed.items():  # the running means of normalization
            if value.is_floating_point() and value.ndim:
                found.weights[name] = value.numpy().copy()
        return found


def _convolution(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    value, weight = given[0], given[1]
    bias = given[2] if len(given) > 2 else None
    rank = weight.ndim - 2
    pads = list(attribute(node, "pads", [0] * 2 * rank))
    if pads[:rank] != pads[rank:]:
        value, pads = functional.pad(value, _padding(pads)), [0] * 2 * rank
    run = functional.conv1d if rank == 1 else functional.conv2d
    return run(
        value, weight, bias, attribute(node, "strides", [1] * rank), pads[:rank],
        attribute(node, "dilations", [1] * rank), attribute(node, "group", 1),
    )  # fmt: skip


def _padding(pads: list[int]) -> list[int]:
    """Return ONNX's pads (begins, then ends) as PyTorch's: the last axis first."""
    rank = len(pads) // 2
    return [pads[axis + side * rank] for axis in reversed(range(rank)) for side in (0, 1)]


def _gemm(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    left = given[0].T if attribute(node, "transA", 0) else given[0]
    right = given[1] if attribute(node, "transB", 0) else given[1].T
    found = functional.linear(left, right) * attribute(node, "alpha", 1.0)
    return found + attribute(node, "beta", 1.0) * given[2] if len(given) > 2 else found


def _pool(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    (value,) = given
    kernel = attribute(node, "kernel_shape", None)
    pads = list(attribute(node, "pads", [0] * 2 * len(kernel)))
    strides, whole = attribute(node, "strides", [1] * len(kernel)), bool(attribute(node, "ceil_mode", 0))
    rank = len(kernel)
    if node.op_type == "MaxPool":
        if pads[:rank] != pads[rank:]:
            value, pads = functional.pad(value, _padding(pads), value=-torch.inf), [0] * 2 * rank
        run: Any = functional.max_pool1d if rank == 1 else functional.max_pool2d
        return run(value, kernel, strides, pads[:rank], attribute(node, "dilations", 1), whole)
    run = functional.avg_pool1d if rank == 1 else functional.avg_pool2d
    return run(value, kernel, strides, pads[:rank], whole, bool(attribute(node, "count_include_pad", 0)))


def _batch_norm(module: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    value, scale, offset, mean, variance = given
    return functional.batch_norm(
        value, mean, variance, scale, offset, module.training, 0.1, attribute(node, "epsilon", 1e-5)
    )


def _layer_norm(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    axis = attribute(node, "axis", -1) % given[0].ndim
    return functional.layer_norm(
        given[0], given[0].shape[axis:], given[1].float(), given[2].float() if len(given) > 2 else None,
        attribute(node, "epsilon", 1e-5),
    )  # fmt: skip


def _reduced(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    axes = attribute(node, "axes", None) or (given[1].tolist() if len(given) > 1 and given[1] is not None else None)
    axes = axes or list(range(given[0].ndim))
    run = {"ReduceMean": torch.mean, "ReduceSum": torch.sum, "ReduceMax": torch.amax, "ReduceMin": torch.amin}
    return run[node.op_type](given[0], axes, bool(attribute(node, "keepdims", 1)))


def _reshaped(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    sizes = [given[0].shape[at] if size == 0 else size for at, size in enumerate(given[1].tolist())]
    if sizes[0] == 1 and given[0].shape[0] != 1:
        sizes[0] = given[0].shape[0]
    return given[0].reshape(sizes)


def _flat(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    return given[0].flatten(attribute(node, "axis", 1))


def _axes(node: onnx.NodeProto, given: list[Any]) -> list[int]:
    return list(attribute(node, "axes", None) or given[1].tolist())


def _squeezed(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    return given[0].squeeze(_axes(node, given))


def _unsqueezed(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    value = given[0]
    for axis in sorted(_axes(node, given)):
        value = value.unsqueeze(axis)
    return value


def _sliced(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    begins, ends = (each.tolist() for each in given[1:3])
    axes = given[3].tolist() if len(given) > 3 and given[3] is not None else list(range(len(begins)))
    steps = given[4].tolist() if len(given) > 4 and given[4] is not None else [1] * len(begins)
    places: list[Any] = [slice(None)] * given[0].ndim
    for begin, end, axis, step in zip(begins, ends, axes, steps, strict=True):
        places[axis] = slice(begin, min(end, given[0].shape[axis]), step)
    return given[0][tuple(places)]


def _clipped(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    least, most = (given[at] if len(given) > at and given[at] is not None else None for at in (1, 2))
    return given[0].clamp(attribute(node, "min", least), attribute(node, "max", most))


def _plain(run: Callable[..., Any]) -> Step:
    return lambda _, __, given: run(*given)


def _cast(_: Module, node: onnx.NodeProto, given: list[Any]) -> Any:
    kinds = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}
    return given[0].to(kinds[attribute(node, "to", 1)])


STEPS: Mapping[str, Step] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _plain(torch.matmul),
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _plain(lambda value: value.mean(list(range(2, value.ndim)), keepdim=True)),
    "GlobalMaxPool": _plain(lambda value: value.amax(list(range(2, value.ndim)), keepdim=True)),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Relu": _plain(torch.relu),
    "LeakyRelu": lambda _, node, given: functional.leaky_relu(given[0], attribute(node, "alpha", 0.01)),
    "Sigmoid": _plain(torch.sigmoid),
    "Tanh": _plain(torch.tanh),
    "HardSwish": _plain(functional.hardswish),
    "Erf": _plain(torch.erf),
    "Clip": _clipped,
    "Add": _plain(torch.add),
    "Sub": _plain(torch.sub),
    "Mul": _plain(torch.mul),
    "Div": _plain(torch.div),
    "Pow": _plain(torch.pow),
    "Max": _plain(lambda *given: torch.stack(torch.broadcast_tensors(*given)).amax(0)),
    "Min": _plain(lambda *given: torch.stack(torch.broadcast_tensors(*given)).amin(0)),
    "Log": _plain(torch.log),
    "Exp": _plain(torch.exp),
    "Sqrt": _plain(torch.sqrt),
    "Abs": _plain(torch.abs),
    "Neg": _plain(torch.neg),
    "Softmax": lambda _, node, given: given[0].softmax(attribute(node, "axis", -1)),
    "Concat": lambda _, node, given: torch.cat(given, attribute(node, "axis", 0)),
    "Flatten": _flat,
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Transpose": lambda _, node, given: given[0].permute(attribute(node, "perm", list(range(given[0].ndim))[::-1])),
    "ReduceMean": _reduced,
    "ReduceSum": _reduced,
    "ReduceMax": _reduced,
    "ReduceMin": _reduced,
    "Slice": _sliced,
    "Cast": _cast,
    "Identity": _plain(lambda value: value),
    "Dropout": _plain(lambda value, *_: value),
}
"""By operator: what it computes."""
