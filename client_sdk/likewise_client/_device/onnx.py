"""Networks on the device, with ONNX Runtime, where the app has it: those that make keys, and whole models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise_client._device import pictures
from likewise_client._device.sounds import resampled

MOST_BYTES = 64 << 20
"""Largest file that is fetched."""

_LAYOUTS = {"nchw": (2, 0, 1), "nhwc": (0, 1, 2)}
_PICTURE = frozenset(("size", "channels", "layout", "color", "scale", "mean", "std", "interpolation"))
_SOUND = frozenset(("sample_rate", "seconds", "samples", "full_scale"))


def available() -> bool:
    """Say whether ONNX Runtime is there."""
    try:
        import onnxruntime  # noqa: F401 (an app that has it, has it)
    except ImportError:
        return False
    return True


def network(content: bytes, kind: str, prepare: Mapping[str, Any]) -> Callable[[Any], NDArray[np.float32]] | None:
    """Return what makes a key from pixels, a sound (samples and rate) or an array; None: not here.

    content: the ONNX file, whose digest was checked. prepare: as the function's spec has it; what is not known here is
    not guessed at. Raises what ONNX Runtime raises for a file that it does not take.
    """
    made = runner(content, kind, prepare)
    if made is None:
        return None
    outputs, run = made

    def key(value: Any) -> NDArray[np.float32]:
        return np.ascontiguousarray(run(value, outputs[:1])[0], np.float32).reshape(-1)

    return key


Run = Callable[[Any, Sequence[str]], "list[NDArray[Any]]"]
"""From an input and the names of outputs to these, without the batch axis."""


def runner(content: bytes, kind: str, prepare: Mapping[str, Any]) -> tuple[list[str], Run] | None:
    """Return the names of a model's outputs, and what runs it; None: its inputs cannot be prepared here."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()
    if len(given) != 1 or given[0].type != "tensor(float)":
        return None
    to_tensor: Callable[[Any], NDArray[np.float32]] | None = None
    if kind == "image" and prepare.keys() <= _PICTURE and prepare.get("interpolation", "auto") == "auto":
        to_tensor = _picture(prepare)
    elif kind == "audio" and prepare.keys() <= _SOUND and len(given[0].shape) == 2:
        to_tensor = _sound(prepare)
    elif kind == "array" and not prepare:
        to_tensor = _array
    if to_tensor is None:
        return None
    name = given[0].name

    def run(value: Any, wanted: Sequence[str]) -> list[NDArray[Any]]:
        return [np.asarray(output)[0] for output in session.run(list(wanted), {name: to_tensor(value)[None]})]

    return [each.name for each in session.get_outputs()], run


def _picture(prepare: Mapping[str, Any]) -> Callable[[Any], NDArray[np.float32]] | None:
    width, height = (int(side) for side in prepare["size"])
    channels, layout = int(prepare.get("channels", 3)), str(prepare.get("layout", "nchw"))
    if layout not in _LAYOUTS or channels not in (1, 3) or not 0 < width * height <= 1 << 24:
        return None
    mean = np.asarray(prepare.get("mean") or 0.0, np.float64)
    std = np.asarray(prepare.get("std") or 1.0, np.float64)
    factor = (1.0 / (float(prepare.get("scale") or 255.0) * std)).astype(np.float32)
    offset = (-mean / std).astype(np.float32)
    axes, swapped = _LAYOUTS[layout], prepare.get("color", "rgb") == "bgr" and channels == 3

    def to_tensor(pixels: Any) -> NDArray[np.float32]:
        plain = pictures.gray(pixels) if channels == 1 else pictures.rgb(pixels)
        values = pictures.resize(plain, width, height).reshape(height, width, channels)
        if swapped:
            values = values[:, :, ::-1]
        return np.ascontiguousarray((values * factor + offset).transpose(axes), np.float32)

    return to_tensor


def _sound(prepare: Mapping[str, Any]) -> Callable[[Any], NDArray[np.float32]]:
    rate = int(prepare["sample_rate"])
    count = int(prepare.get("samples") or max(1, round(rate * float(prepare.get("seconds", 1.0)))))
    scale = np.float32(prepare.get("full_scale", 1.0))

    def to_tensor(sound: Any) -> NDArray[np.float32]:
        samples = resampled(sound[0], sound[1], rate)[:count]
        tensor = np.zeros(count, np.float32)
        tensor[: len(samples)] = samples * scale
        return tensor

    return to_tensor


def _array(values: Any) -> NDArray[np.float32]:
    tensor = np.ascontiguousarray(values, np.float32)
    if not math.isfinite(float(tensor.sum())):
        raise ValueError("numbers that a model does not take")
    return tensor
