"""What the shapes of a graph's inputs tell: which one requests fill, what kind of input it is, what the others are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from likewise.errors import InvalidFunction
from likewise.features.decode import Kind
from likewise.inference.onnx_graph import Value
from likewise.onboarding.draft import Draft, Origin

_MAIN = re.compile(r"input|image|img|pixel|audio|wav|sound|byte|data|^x$|tokens", re.I)
_RATE = re.compile(r"^(sr|sample_?rate|sampling_?rate|rate)$", re.I)
_AUDIO = re.compile(r"audio|wav|sound|speech|sample|signal|pcm", re.I)
_BYTES = re.compile(r"byte", re.I)
_OVERLAP = re.compile(r"iou|nms|overlap", re.I)
_SCORE = re.compile(r"score|conf|thresh", re.I)
LONG = 1600
"""Numbers of one axis from which on they are taken for samples of a sound: a tenth of a second."""
LONGEST = 60 * 48_000
NUMERIC = frozenset(
    {"float32", "float64", "float16", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "bool"}
)

Axes = tuple[int | None, ...]


def axes_of(value: Value) -> Axes:
    """Return an input's shape without the batch axis; None for any length."""
    shape = value.shape or ()
    return tuple(axis if isinstance(axis, int) else None for axis in shape[has_batch(value) :])


def has_batch(value: Value) -> bool:
    """Say whether an input has a batch axis: it is of any length, or 1, unless there is no other."""
    shape = value.shape or ()
    fixed = isinstance(shape[0], int) and shape[0] > 1 if shape else True
    return len(shape) > 3 or not (fixed or len(shape) == 1)


def main_input(inputs: Sequence[Value], name: str | None, path: str) -> Value:
    """Return the input that requests fill. Raises InvalidFunction where there is none, or none of that name."""
    if name is not None:
        for each in inputs:
            if each.name == name:
                return each
        raise InvalidFunction(
            f"{path}: has no input `{name}`; its inputs are {', '.join(each.name for each in inputs)}"
        )
    taken = [each for each in inputs if each.dtype in NUMERIC and each.shape]
    if not taken:
        what = ", ".join(f"`{each.name}` ({each.dtype})" for each in inputs) or "none"
        raise InvalidFunction(f"{path}: has no input that is a numeric tensor with a batch axis ({what}); export it so")
    named = [each for each in taken if _MAIN.search(each.name)]
    return (named or taken)[0]


def fix_others(draft: Draft, inputs: Sequence[Value], main: Value, sample_rate: int) -> None:
    """Choose values for all other inputs: sample rates, thresholds, and zeros for states."""
    others = [each for each in inputs if each.name != main.name]
    if others:
        draft.choose("model", "input", main.name, "the one that requests fill")
    for each in others:
        value, why = _fixed(each, sample_rate)
        draft.choose("model.fixed", each.name, value, why, Origin.ASSUMED)


def _fixed(value: Value, sample_rate: int) -> tuple[Any, str]:
    shape = [axis if isinstance(axis, int) else 1 for axis in value.shape or ()]
    whole = value.dtype.startswith(("int", "uint"))
    scalar = all(axis == 1 for axis in shape) and len(shape) <= 2
    if scalar and _RATE.match(value.name):
        number: Any = sample_rate if whole else float(sample_rate)
        return _nested(number, shape), "the sample rate"
    if scalar and not whole and (_OVERLAP.search(value.name) or _SCORE.search(value.name)):
        return _nested(0.45 if _OVERLAP.search(value.name) else 0.25, shape), "a usual threshold"
    fill: Any = False if value.dtype == "bool" else 0 if whole else 0.0
    if not shape:
        return fill, "zero"
    return {"shape": shape, "fill": fill}, "zeros, as of a state before the first input"


def _nested(number: Any, shape: Sequence[int]) -> Any:
    for _ in shape:
        number = [number]
    return number


def kind_of(main: Value, others: Sequence[Value], of_files: Kind | None) -> tuple[Kind, str, Origin]:
    """Return the kind of input, why, and how sure that is. of_files: what the inputs at hand are."""
    axes = axes_of(main)
    many = [axis for axis in axes if axis != 1]
    if len(axes) == 3 and (axes[0] in (1, 3) or axes[2] in (1, 3)):
        return "image", "height, width and channels", Origin.FILE
    if len(many) == 1 and _BYTES.search(main.name) and many[0] is not None:
        return "bytes", f"its input is called `{main.name[:40]}`", Origin.FILE
    if of_files in ("image", "audio") and _could_be(of_files, axes):
        return of_files, "what the inputs are", Origin.INPUTS
    if len(many) == 1 and main.dtype.startswith("float"):
        if any(_RATE.match(each.name) for each in others):
            return "audio", "it takes a sample rate", Origin.FILE
        if _AUDIO.search(main.name) or LONG <= (many[0] or 0) <= LONGEST:
            return "audio", "a long list of numbers", Origin.ASSUMED
    if of_files == "bytes" and len(many) == 1 and many[0] is not None and main.dtype.startswith(("int", "uint")):
        return "bytes", "what the inputs are", Origin.INPUTS
    return "array", "numbers that are no picture and no sound", Origin.INPUTS if of_files == "array" else Origin.ASSUMED


def _could_be(kind: Kind, axes: Axes) -> bool:
    if kind == "image":
        return len(axes) == 2 or (len(axes) == 3 and any(axis in (1, 3, None) for axis in (axes[0], axes[2])))
    return len([axis for axis in axes if axis != 1]) == 1
