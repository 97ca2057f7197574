"""How a graph's input is prepared: what its shape says, and the candidates for what it does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from likewise.errors import InvalidFunction
from likewise.features.decode import Kind
from likewise.inference.onnx_graph import Value
from likewise.onboarding.draft import Draft, Origin
from likewise.onboarding.shapes import axes_of

USUAL_RATE = 16_000
_COLOR: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("ImageNet mean and std", {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}),
    ("from -1 to 1", {"mean": [0.5], "std": [0.5]}),
    ("from 0 to 1", {}),
    ("from 0 to 255", {"scale": 1.0}),
    ("BGR less its mean, as for Caffe", {"color": "bgr", "scale": 1.0, "mean": [104.0, 117.0, 123.0]}),
    ("BGR from 0 to 1", {"color": "bgr"}),
    ("BGR from -1 to 1", {"color": "bgr", "mean": [0.5], "std": [0.5]}),
    (
        "BGR with ImageNet mean and std",
        {"color": "bgr", "mean": [0.406, 0.456, 0.485], "std": [0.225, 0.224, 0.229]},
    ),
)
_GRAY: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("from 0 to 1", {}),
    ("from -1 to 1", {"mean": [0.5], "std": [0.5]}),
    ("from 0 to 255", {"scale": 1.0}),
    ("MNIST mean and std", {"mean": [0.1307], "std": [0.3081]}),
)
FIELDS = ("scale", "mean", "std", "color")
"""What candidates differ in."""


def prepare(draft: Draft, kind: Kind, main: Value, path: str, sample_rate: int | None) -> None:
    """Choose what the shape of the input says. sample_rate: of the sounds at hand, in Hz.

    Raises InvalidFunction for shapes that no input of the kind can have.
    """
    axes = axes_of(main)
    if kind == "image":
        _image(draft, axes, path)
    elif kind == "audio":
        _audio(draft, axes, path, sample_rate)
    elif kind == "bytes":
        count = next((axis for axis in axes if axis not in (None, 1)), None)
        if count is None and not draft.is_given("model", "first"):
            raise InvalidFunction(f"{path}: takes any number of bytes; say how many: --set model.first=N")
        draft.choose("model", "first", count, "as many as it takes, from the beginning", Origin.ASSUMED)


def _image(draft: Draft, axes: Sequence[int | None], path: str) -> None:
    if len(axes) == 2:
        layout, channels, (high, wide) = "nhw", 1, axes
    elif len(axes) != 3:
        raise InvalidFunction(f"{path}: takes an input of {len(axes)} axes beside the batch; a picture has 3, or 2")
    elif axes[0] in (1, 3) or axes[2] not in (1, 3):
        layout, channels, (high, wide) = "nchw", axes[0] or 3, axes[1:]
    else:
        layout, channels, (high, wide) = "nhwc", axes[2] or 3, axes[:2]
    if layout != "nchw":
        draft.choose("model", "layout", layout, "channels last" if layout == "nhwc" else "no axis for channels")
    if channels == 1:
        draft.choose("model", "channels", 1, "gray")
    if high and wide:
        draft.choose("model", "size", [wide, high], "width, height")
        _cropped(draft)
    elif high:
        draft.choose("model", "size", [high * 4, high], "the least width, and the height", Origin.ASSUMED)
        draft.choose("model", "resize", "height", "any width", Origin.FILE)
    elif not draft.is_given("model", "size", "resize"):
        draft.choose("model", "resize", "free", "any height and width", Origin.FILE)
        draft.choose("model", "multiple", 32, "what most such networks need", Origin.ASSUMED)
        draft.choose("model", "max_side", 960, "as large as most such networks are used", Origin.ASSUMED)


def _cropped(draft: Draft) -> None:
    if draft.is_given("model", "crop_from") and not draft.is_given("model", "resize"):
        draft.choose("model", "resize", "crop", "`crop_from` is given", Origin.GIVEN)


def _audio(draft: Draft, axes: Sequence[int | None], path: str, sample_rate: int | None) -> None:
    count = next((axis for axis in axes if axis not in (None, 1)), None)
    if sample_rate is not None:
        draft.choose("model", "sample_rate", sample_rate, "Hz, as the sounds have", Origin.INPUTS)
    else:
        draft.choose("model", "sample_rate", USUAL_RATE, "Hz, as most such models take", Origin.ASSUMED)
    if draft.is_given("model", "seconds", "samples"):
        return
    if count is not None:
        draft.choose("model", "samples", count, "as many as it takes")
    else:
        draft.choose("model", "seconds", 1.0, "it takes any length", Origin.ASSUMED)


def candidates(draft: Draft, kind: Kind, main: Value) -> list[tuple[str, Mapping[str, Any]]]:
    """Return what might bring pixels to a model's numbers, the likeliest first; nothing where that is known."""
    if kind != "image" or not main.dtype.startswith("float") or draft.is_given("model", *FIELDS):
        return []
    if draft.get("model", "channels", 3) == 1:
        return list(_GRAY)
    found = list(_COLOR)
    if draft.get("result", "kind") in ("boxes", "tensors", "embedding") or draft.get("model", "layout") == "nhwc":
        found.insert(0, found.pop(2))
    return found


def adopt(draft: Draft, candidate: tuple[str, Mapping[str, Any]], why: str, origin: Origin) -> None:
    """Take over one of the candidates; what it does not say goes back to the default."""
    name, fields = candidate
    for each in FIELDS:
        draft.drop("model", each)
    if not fields:
        draft.choose("model", "scale", 255.0, f"pixels {name}; {why}", origin)
    for at, (each, value) in enumerate(fields.items()):
        draft.choose("model", each, value, f"pixels {name}; {why}" if not at else "", origin)


def other_sizes(draft: Draft, kind: Kind) -> list[Mapping[str, Any]]:
    """Return sizes to try, one after another, where a model that takes pictures of any size does not take those."""
    if kind != "image" or draft.get("model", "resize") != "free" or draft.is_given("model", "resize", "multiple"):
        return []
    squares = (224, 256, 299, 320, 416, 512, 640, 128, 64, 32)
    return [
        *({"resize": "height", "size": [320, high]} for high in (48, 32, 64)),
        *({"resize": "stretch", "size": [side, side]} for side in squares),
    ]
