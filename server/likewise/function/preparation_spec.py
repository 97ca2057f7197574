"""How inputs become the tensors that ONNX files take, as a spec says it: `[model]` and `[[keys]]`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from likewise.features.image_tensor import Color, Layout
from likewise.features.resizing import MODES, Interpolation, Mode, Resizing
from likewise.function.spec_table import Positive, Table
from likewise.inference.fixed import MAX_FIXED, Fixed
from likewise.inference.model import Batch

Side = Annotated[int, Field(gt=0, le=4096)]
Count = Annotated[int, Field(ge=0, le=1 << 20)]
Number = float | int | bool


class Filled(Table):
    """A shape filled with one number."""

    shape: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_FIXED)], ...], Field(max_length=8)]
    fill: Number = 0.0


class Preparation(Table):
    """How a decoded input becomes the tensor that an ONNX file takes."""

    size: tuple[Side, Side] | None = None
    """Images: width and height in pixels."""
    channels: Literal[1, 3] = 3
    """Images: 1 gray, 3 colors."""
    layout: Layout = "nchw"
    """Images: channels first, last, or (gray alone) without an axis of their own."""
    color: Color = "rgb"
    """Images: the order of the channels."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Images: pixels are divided by it first; default: 255, so that 1 is white."""
    mean: tuple[float, ...] = ()
    """Images: subtracted from x / scale, one number or one per channel."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Images: divides after the mean was subtracted, one number or one per channel."""
    resize: Mode = "stretch"
    """Images: how they come to their size."""
    crop_from: Side | tuple[Side, Side] | None = None
    """Images, resize `crop`: the short side before cropping, or width and height; default: what just covers `size`."""
    min_side: Side = 1
    """Images, resize `free`: a shorter short side is enlarged to this."""
    max_side: Side = 2048
    """Images, resize `free` and `height`: no side gets longer."""
    multiple: Annotated[int, Field(gt=0, le=512)] = 1
    """Images, resize `free`: sides are rounded to a multiple of this."""
    align: Literal["center", "corner"] = "center"
    """Images, resize `letterbox`: where the picture stands on its canvas."""
    fill: Annotated[float, Field(ge=0, le=255)] = 114.0
    """Images, resize `letterbox` and `height`: the pixel value around the picture."""
    interpolation: Interpolation = "auto"
    """Images: how pixels are computed when resizing."""
    sample_rate: Annotated[int, Field(ge=1000, le=192_000)] | None = None
    """Audio: Hz after resampling."""
    seconds: Annotated[float, Field(gt=0, le=600)] | None = None
    """Audio: padded or cropped to this length, from the start."""
    samples: Positive | None = None
    """Audio: the length in samples, instead of `seconds`."""
    overlap: Count | None = None
    """Audio: a sound is cut into windows of that length, which share so many samples; default: one, from the start."""
    full_scale: Annotated[float, Field(gt=0)] = 1.0
    """Audio: what a sample of full scale becomes, such as 32768."""
    first: Count | None = None
    """Bytes: how many are taken from the beginning."""
    last: Count = 0
    """Bytes: how many are taken from the end."""
    padding: Annotated[int, Field(ge=0, le=65535)] = 0
    """Bytes: the number that stands for bytes that are not there."""
    strip: bool = False
    """Bytes: white space at the beginning and the end does not count."""
    block: Positive | None = None
    """Bytes: how many at each end are looked at for that; default: all."""
    input: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The input of the model that comes from the request; default: the one that is not fixed."""
    fixed: Annotated[dict[str, Number | list[Any] | Filled], Field(max_length=32)] = Field(default_factory=dict)
    """Values of all other inputs of the model, by name: numbers, lists of such, or `{ shape = [...], fill = 0 }`."""
    batch: Batch = "both"
    """What has a batch axis: input and outputs, the input alone, or neither; then one is computed at a time."""

    @field_validator("fixed", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        for name, each in value.items() if isinstance(value, Mapping) else ():
            if not (_filled(each) if isinstance(each, Mapping | Filled) else _numeric(each)):
                given = ", ".join(map(str, each))[:80] if isinstance(each, Mapping) else ""
                raise ValueError(
                    f"needs finite numbers for `{str(name)[:64]}`, or a table of `shape`, up to 8 lengths, and `fill`"
                    + (f"; its table has {given}" if given else "")
                )
        return value

    @property
    def fixed_inputs(self) -> dict[str, Fixed]:
        """The fixed inputs as a model takes them."""
        return {
            name: Fixed(each.fill, each.shape) if isinstance(each, Filled) else Fixed(each)
            for name, each in self.fixed.items()
        }

    @property
    def resizing(self) -> Resizing:
        """What it says of sizes."""
        return Resizing(
            mode=self.resize,
            size=self.size,
            crop_from=self.crop_from,
            min_side=self.min_side,
            max_side=self.max_side,
            multiple=self.multiple,
            align=self.align,
            fill=self.fill,
            interpolation=self.interpolation,
        )


def _filled(table: Mapping[Any, Any] | Filled) -> bool:
    try:
        Filled.model_validate(table)
    except ValidationError:
        return False
    return True


def _numeric(values: Any, depth: int = 0) -> bool:
    if isinstance(values, list | tuple):
        return depth < 8 and all(_numeric(each, depth + 1) for each in values)
    return isinstance(values, bool | int | float) and math.isfinite(values)


FIELDS_OF: Mapping[str, frozenset[str]] = {
    "image": frozenset(
        {"size", "channels", "layout", "color", "scale", "mean", "std", "resize", "interpolation"}
        | {field for mode in MODES.values() for field in mode.fields}
    ),
    "audio": frozenset({"sample_rate", "seconds", "samples", "overlap", "full_scale"}),
    "array": frozenset(),
    "bytes": frozenset({"first", "last", "padding", "strip", "block"}),
}
"""What an ONNX file's input is prepared by, for each kind of input."""
OF_ALL = frozenset({"input", "fixed", "batch"})
"""What inputs of every kind may have."""


def check_preparation(kind: str, table: str, preparation: Preparation) -> None:
    """Raise ValueError, naming the table and what to do, for fields that an input of a kind lacks or has no use for."""
    given = preparation.model_fields_set & Preparation.model_fields.keys()
    strange = sorted(given - FIELDS_OF[kind] - OF_ALL)
    if strange:
        raise ValueError(f"[{table}] has `{strange[0]}`, which inputs of kind `{kind}` have no use for; remove it")
    if kind == "image":
        _check_image(table, preparation, given)
    elif kind == "audio":
        if preparation.sample_rate is None or (preparation.seconds is None) == (preparation.samples is None):
            raise ValueError(
                f"[{table}] needs `sample_rate`, and either `seconds` or `samples`: the sound that its ONNX file takes"
            )
    elif kind == "bytes" and preparation.first is None:
        raise ValueError(f"[{table}] needs `first`, how many bytes from the beginning its ONNX file takes")


def _check_image(table: str, preparation: Preparation, given: set[str]) -> None:
    mode = MODES[preparation.resize]
    if mode.has_size and preparation.size is None:
        raise ValueError(f"[{table}] needs `size = [width, height]`, the picture that its ONNX file takes")
    if not mode.has_size and preparation.size is not None:
        raise ValueError(f"[{table}] has `size`, and resize `{preparation.resize}` keeps it free; remove one of them")
    of_modes = {field for each in MODES.values() for field in each.fields}
    useless = sorted((given & of_modes) - mode.fields)
    if useless:
        raise ValueError(
            f"[{table}] has `{useless[0]}`, which resize `{preparation.resize}` has no use for; remove it, or take "
            f"{' or '.join(name for name, each in MODES.items() if useless[0] in each.fields)}"
        )
    for field in ("mean", "std"):
        count = len(getattr(preparation, field))
        if count not in (0, 1, preparation.channels):
            raise ValueError(
                f"[{table}] {field} has {count} numbers; give one, or one for each of {preparation.channels} channels"
            )
