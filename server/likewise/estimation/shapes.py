"""Shapes of all values of a graph, by ONNX's own rules, and by rules of our own for what ONNX Runtime adds.

Sources: the operators of ONNX; ONNX Runtime, docs/ContribOperators.md and core/graph/contrib_ops/nchwc_schema_defs.cc.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from likewise.estimation.description import Value

NCHWC = "com.microsoft.nchwc"
_SAME = frozenset(
    {"Gelu", "FastGelu", "QuickGelu", "BiasGelu", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"}
    | {"SimplifiedLayerNormalization", "BiasSoftmax", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"}
    | {"QLinearAdd", "QLinearMul", "RotaryEmbedding", "BiasDropout", "Inverse", "ReorderInput"}
)
"""Operators of ONNX Runtime whose first output has the shape of their first input."""
_AS_STANDARD: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "FusedConv": ("Conv", (0, 1)),
    "Conv": ("Conv", (0, 1)),
    "MaxPool": ("MaxPool", (0,)),
    "AveragePool": ("AveragePool", (0,)),
    "GlobalMaxPool": ("GlobalMaxPool", (0,)),
    "GlobalAveragePool": ("GlobalAveragePool", (0,)),
    "FusedGemm": ("Gemm", (0, 1)),
    "QLinearConv": ("Conv", (0, 3)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearConcat": ("Concat", ()),
    "MatMulIntegerToFloat": ("MatMul", (0, 1)),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "DequantizeLinear": ("Identity", (0,)),
    "QuantizeLinear": ("Identity", (0,)),
}
"""Operators of ONNX Runtime by the standard one that has the same shapes, and the inputs of that."""
_BLOCKS = 16
"""The most channels of a block; those of narrower machines divide it."""
_SMALL = 4096


def name_of(kind: int) -> str:
    """Return the NumPy name of an element type, or "unknown"."""
    try:
        return str(np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name)
    except (KeyError, TypeError, ValueError):
        return "unknown"


def small(tensor: onnx.TensorProto) -> bool:
    """Say whether a tensor's numbers may tell shapes."""
    return len(tensor.dims) <= 1 and int(np.prod(tensor.dims, dtype=np.float64)) <= _SMALL


class Shapes:
    """The values of one graph, as far as its nodes have been followed."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.values: dict[str, Value] = {}
        self.constants: dict[str, onnx.TensorProto] = {}
        self._opsets = {"" if each.domain == "ai.onnx" else each.domain: each.version for each in model.opset_import}
        self._imports = list(model.opset_import)
        self._ir = model.ir_version
        for tensor in model.graph.initializer:
            self.weight(tensor)
        for info in model.graph.input:
            if info.name not in self.values:
                self.values[info.name] = value(info.type)

    def weight(self, tensor: onnx.TensorProto) -> None:
        """Add a weight."""
        self.values[tensor.name] = Value(name_of(tensor.data_type), tuple(tensor.dims), True)
        if small(tensor):
            self.constants[tensor.name] = tensor

    def follow(self, node: onnx.NodeProto, known: Mapping[str, Value]) -> str:
        """Add the outputs of a node; return why they are not known, or "". known: shapes found otherwise, by name."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        if not domain and node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    tensor = onnx.TensorProto()
                    tensor.CopyFrom(attribute.t)
                    tensor.name = node.output[0]
                    self.weight(tensor)
                    return ""
        missing = [name for name in node.input if name and name not in self.values]
        if missing:
            found, why = {}, f"reads `{missing[0][:80]}`, which nothing makes"
        else:
            try:
                found, why = self._infer(domain, node), ""
            except Exception as error:  # whatever onnx raises for what does not fit its rules
                text = (str(error).strip().splitlines() or [type(error).__name__])[0]
                found, why = {}, f"its shape cannot be inferred: {text[:200]}"
        for name in node.output:
            if name:
                best = found.get(name)
                if best is None or best.shape is None:
                    best = known.get(name, best or Value("unknown", None))
                self.values[name] = best
        if any(self.values[name].shape is None for name in node.output[:1] if name):
            return why or "the shape of its output depends on its input"
        return ""

    def _infer(self, domain: str, node: onnx.NodeProto) -> dict[str, Value]:
        if domain == NCHWC and node.op_type in ("ReorderInput", "ReorderOutput"):
            return {node.output[0]: self._reordered(node)}
        if domain in (NCHWC, "com.microsoft") and node.op_type in _AS_STANDARD:
            plain = _plain(node)
            given = {name: Value("float32", self.values[name].shape) for name in plain.input}
            last = any(each.name == "channels_last" and each.i for each in node.attribute)
            if last:  # as the quantized ones have it inside of a graph
                first = given[plain.input[0]].shape or ()
                given[plain.input[0]] = Value("float32", (*first[:1], *first[-1:], *first[1:-1]))
            whole, found = self._whole(node), {}
            for name, each in self._standard(plain, given).items():
                axes = each.shape
                found[name] = Value(whole, (axes[0], *axes[2:], axes[1]) if axes and last else axes)
            return found
        if domain == "com.microsoft":
            return self._contributed(node)
        if node.op_type in _SAME and not domain:  # ONNX Runtime has some of its own in the standard domain
            return self._contributed(node)
        return self._standard(node, self.values)

    def _whole(self, node: onnx.NodeProto) -> str:
        """Return the element type of what an operator of ONNX Runtime puts out."""
        if node.op_type in ("DequantizeLinear", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"):
            return "float32"
        if node.op_type == "QuantizeLinear":
            return self.values[node.input[2]].dtype if len(node.input) > 2 else "uint8"
        first = node.input[2 if node.op_type == "QLinearConcat" else 0]
        return self.values[first].dtype

    def _standard(self, node: onnx.NodeProto, given: Mapping[str, Value]) -> dict[str, Value]:
        domain = "" if node.domain == "ai.onnx" else node.domain
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opsets.get(domain, 21), domain)
        except onnx.defs.SchemaError:  # what ONNX Runtime puts in may be newer than the rest of the file
            schema = onnx.defs.get_schema(node.op_type, domain=domain)
        names = [name for name in node.input if name]
        found = onnx.shape_inference.infer_node_outputs(
            schema, node,
            {name: _type(given[name]) for name in names},
            {name: self.constants[name] for name in names if name in self.constants},
            opset_imports=self._imports, ir_version=self._ir,
        )  # fmt: skip
        return {name: value(each) for name, each in found.items()}

    def _reordered(self, node: onnx.NodeProto) -> Value:
        given = self.values[node.input[0]]
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if given.shape is None or len(given.shape) != 4:
            raise ValueError("it reorders what has not four axes")
        batch, *axes = given.shape
        if node.op_type == "ReorderInput":
            if attributes.get("channels_last", 0):
                axes = [axes[2], axes[0], axes[1]]
            return Value(given.dtype, (batch, -(-axes[0] // _BLOCKS) * _BLOCKS, *axes[1:]))
        channels = int(attributes.get("channels", axes[0]))
        shape = (batch, *axes[1:], channels) if attributes.get("channels_last", 0) else (batch, channels, *axes[1:])
        return Value(given.dtype, shape)

    def _contributed(self, node: onnx.NodeProto) -> dict[str, Value]:
        given = [self.values[name] for name in node.input if name]
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        first = given[0]
        if node.op_type in _SAME or node.op_type.startswith("Quick"):
            shapes = [each.shape for each in given if each.shape is not None]
            wide = node.op_type in ("QLinearAdd", "QLinearMul")
            shape = tuple(np.broadcast_shapes(*shapes[:7])) if wide else first.shape
            return {node.output[0]: Value(first.dtype, shape)}
        if node.op_type == "FusedMatMul" and given[0].shape is not None and given[1].shape is not None:
            left, right = list(given[0].shape), list(given[1].shape)
            if attributes.get("transA", 0):
                left[-2:] = left[:-3:-1]
            if attributes.get("transB", 0):
                right[-2:] = right[:-3:-1]
            lead = tuple(np.broadcast_shapes(tuple(left[:-2]), tuple(right[:-2])))
            return {node.output[0]: Value(first.dtype, (*lead, left[-2], right[-1]))}
        if node.op_type in ("MultiHeadAttention", "Attention") and first.shape is not None:
            hidden = first.shape[-1] if node.op_type == "MultiHeadAttention" else (given[1].shape or (0, 0))[-1] // 3
            return {node.output[0]: Value(first.dtype, (*first.shape[:-1], hidden))}
        raise ValueError(f"no rule for com.microsoft::{node.op_type}")


def _plain(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return the standard node with the shapes of one of ONNX Runtime's."""
    kind, places = _AS_STANDARD[node.op_type]
    plain = onnx.NodeProto()
    plain.op_type = kind
    plain.output.append(node.output[0])
    names = [name for at, name in enumerate(node.input) if name and at > 1 and at % 3 == 2]
    plain.input.extend(names if kind == "Concat" else [node.input[at] for at in places if at < len(node.input)])
    kept = onnx.defs.get_schema(kind).attributes
    plain.attribute.extend(each for each in node.attribute if each.name in kept)
    return plain


def _type(value: Value) -> onnx.TypeProto:
    known = value.dtype != "unknown"
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype)) if known else TensorProto.FLOAT
    return helper.make_tensor_type_proto(kind, value.shape)


def value(proto: onnx.TypeProto) -> Value:
    """Return what a type says; the shape None where one axis is not known."""
    if not proto.HasField("tensor_type"):
        return Value("unknown", None)
    tensor = proto.tensor_type
    axes = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in tensor.shape.dim]
    known = tensor.HasField("shape") and all(axis >= 0 for axis in axes)
    return Value(name_of(tensor.elem_type), tuple(axes) if known else None)


def constant(tensor: onnx.TensorProto) -> list[int]:
    """Return the numbers of a small tensor."""
    return [int(each) for each in numpy_helper.to_array(tensor).ravel()]
