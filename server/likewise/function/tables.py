"""What tables of a spec share: their fields' types, and how an input is prepared for an ONNX file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")

Positive = Annotated[int, Field(gt=0, lt=2**31)]
Bytes = Annotated[int, Field(gt=0, le=2**46)]
Side = Annotated[int, Field(gt=0, le=4096)]
Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400)]
Share = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
FileName = Annotated[str, Field(pattern=rf"^{FILE_NAME.pattern}$")]


class Table(BaseModel):
    """A table of the spec: immutable, and nothing in it is ignored silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class Preparation(Table):
    """How a decoded input becomes the tensor that an ONNX file takes."""

    size: tuple[Side, Side] | None = None
    """Images: width and height in pixels."""
    channels: Literal[1, 3] = 3
    """Images: 1 gray, 3 RGB."""
    mean: tuple[float, ...] = ()
    """Images: subtracted from x / 255, one number or one per channel."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Images: divides after the mean was subtracted, one number or one per channel."""
    sample_rate: Annotated[int, Field(ge=1000, le=192_000)] | None = None
    """Audio: Hz after resampling."""
    seconds: Annotated[float, Field(gt=0, le=600)] | None = None
    """Audio: padded or cropped to this length, from the start."""


_FIELDS_OF: Mapping[str, frozenset[str]] = {
    "image": frozenset({"size", "channels", "mean", "std"}),
    "audio": frozenset({"sample_rate", "seconds"}),
    "array": frozenset(),
}
"""What an ONNX file's input is prepared by, for each kind of input."""


def check_preparation(kind: str, table: str, preparation: Preparation) -> None:
    """Raise ValueError, naming the remedy, where inputs of a kind are not prepared so."""
    if kind == "image" and preparation.size is None:
        raise ValueError(f"[{table}] needs `size = [width, height]`, the picture that its ONNX file takes")
    if kind == "audio" and (preparation.sample_rate is None or preparation.seconds is None):
        raise ValueError(f"[{table}] needs `sample_rate` and `seconds`, the sound that its ONNX file takes")
    strange = sorted((preparation.model_fields_set & Preparation.model_fields.keys()) - _FIELDS_OF[kind])
    if strange:
        raise ValueError(f"[{table}] has `{strange[0]}`, which inputs of kind `{kind}` have no use for; remove it")
    for field in ("mean", "std"):
        count = len(getattr(preparation, field))
        if count not in (0, 1, preparation.channels):
            raise ValueError(
                f"[{table}] {field} has {count} numbers; give one, or one for each of {preparation.channels} channels"
            )
