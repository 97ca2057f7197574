"""The ONNX graph of a key network of filters: prepared inputs to pictures, activations, numbers and a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from likewise.tuning.key_networks import FLOOR_DB, mel_bands
from likewise.types import Tensor

PICTURE, NUMBERS, KEY = "picture", "numbers", "key"
"""Outputs of the graphs."""
GRID = 4
"""Parts of each side over which activations are averaged."""
_INPUT = "input"
_FAINT = 4e-4
"""Added to the variance of a picture, which is between 0 and 1 white: flat ones stay flat."""


@dataclass(frozen=True, slots=True)
class Filters:
    """A convolution."""

    weights: Tensor
    """Shape (filters, channels, size, size)."""
    offsets: Tensor
    """Shape (filters,)."""


@dataclass(frozen=True, slots=True)
class Front:
    """What makes pictures of prepared inputs."""

    taken: Sequence[int]
    """Shape of an input."""
    shape: Sequence[int]
    """Of a picture: channels, high, wide."""
    nodes: Sequence[onnx.NodeProto]
    weights: dict[str, Tensor] = field(default_factory=dict)


def front(kind: str, taken: Sequence[int], sample_rate: int) -> Front:
    """Return what makes pictures of inputs of a kind, "image" or "audio", of one shape.

    Of sounds, a spectrogram: 25 ms under a Hann window, every 12.5 ms, in bands evenly spaced on the mel scale, in dB
    below the loudest. sample_rate: of sounds, in Hz.
    """
    if kind == "image":
        ones = np.ones(tuple(taken), np.float32)
        node = helper.make_node("LayerNormalization", [_INPUT, "ones"], [PICTURE], axis=1, epsilon=_FAINT)
        return Front(taken, taken, [node], {"ones": ones})
    size = max(16, round(0.025 * sample_rate))
    half = size // 2 + 1
    phase = 2 * np.pi * np.outer(np.arange(half), np.arange(size)) / size
    waves = np.concatenate([np.cos(phase), np.sin(phase)]) * np.hanning(size)
    bands = mel_bands(size, sample_rate)
    frames = (int(taken[0]) - size) // (size // 2) + 1
    shape = (1, len(bands), frames)
    weights = {
        "waves": waves.astype(np.float32)[:, None],
        "bands": bands[:, :, None],
        "quiet": np.array(1e-10, np.float32),
        "decibels": np.array(10 / np.log(10) / FLOOR_DB, np.float32),
        "floor": np.array(-1.0, np.float32),
        "ones": np.ones(shape, np.float32),
        "channel": np.array([1], np.int64),
    }
    steps: tuple[tuple[str, list[str], list[str], dict[str, Any]], ...] = (
        ("Unsqueeze", [_INPUT, "channel"], ["sound"], {}),
        ("Conv", ["sound", "waves"], ["parts"], {"strides": [size // 2]}),
        ("Mul", ["parts", "parts"], ["squares"], {}),
        ("Split", ["squares"], ["real", "imaginary"], {"axis": 1}),
        ("Add", ["real", "imaginary"], ["power"], {}),
        ("Conv", ["power", "bands"], ["summed"], {}),
        ("Add", ["summed", "quiet"], ["heard"], {}),
        ("Log", ["heard"], ["logarithm"], {}),
        ("Mul", ["logarithm", "decibels"], ["level"], {}),
        ("ReduceMax", ["level"], ["loudest"], {"axes": [1, 2]}),
        ("Sub", ["level", "loudest"], ["below"], {}),
        ("Max", ["below", "floor"], ["audible"], {}),
        ("Unsqueeze", ["audible", "channel"], ["spectrogram"], {}),
        ("LayerNormalization", ["spectrogram", "ones"], [PICTURE], {"axis": 1, "epsilon": _FAINT}),
    )
    nodes = [helper.make_node(kind, given, made, **options) for kind, given, made, options in steps]
    return Front(taken, shape, nodes, weights)


def pictures(of: Front) -> bytes:
    """Return the graph that makes pictures."""
    return _model(of, of.nodes, of.weights, PICTURE)


def features(of: Front, filters: Filters) -> bytes:
    """Return the graph that makes numbers: roots of mean activations, shape (batch, filters × grid²)."""
    nodes, weights = _numbers(of, filters)
    return _model(of, nodes, weights, NUMBERS)


def key(of: Front, filters: Filters, mean: Tensor, matrix: Tensor) -> bytes:
    """Return the graph that makes the key, (numbers - mean) @ matrix."""
    nodes, weights = _numbers(of, filters)
    weights["matrix"] = matrix.astype(np.float32)
    weights["offset"] = -(mean.astype(np.float64) @ matrix.astype(np.float64)).astype(np.float32)
    nodes.append(helper.make_node("Gemm", [NUMBERS, "matrix", "offset"], [KEY]))
    return _model(of, nodes, weights, KEY)


def _numbers(of: Front, filters: Filters) -> tuple[list[onnx.NodeProto], dict[str, Tensor]]:
    size = filters.weights.shape[2]
    sides = [side - size + 1 for side in of.shape[1:]]
    kernel = [max(1, side // GRID) for side in sides]
    nodes = [
        *of.nodes,
        helper.make_node("Conv", [PICTURE, "filters", "offsets"], ["likeness"]),
        helper.make_node("Relu", ["likeness"], ["active"]),
        helper.make_node("AveragePool", ["active"], ["means"], kernel_shape=kernel, strides=kernel),
        helper.make_node("Sqrt", ["means"], ["roots"]),
        helper.make_node("Flatten", ["roots"], [NUMBERS]),
    ]
    return nodes, {**of.weights, "filters": filters.weights, "offsets": filters.offsets}


def _model(of: Front, nodes: Sequence[onnx.NodeProto], weights: dict[str, Tensor], output: str) -> bytes:
    graph = helper.make_graph(
        nodes,
        "key",
        [helper.make_tensor_value_info(_INPUT, TensorProto.FLOAT, ["batch", *of.taken])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
