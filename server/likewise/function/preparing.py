"""What turns an input into the tensor that an ONNX file takes, by its spec, checked against the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from likewise.errors import InvalidFunction
from likewise.features.audio_tensor import audio_tensor, sample_count, window_tensor
from likewise.features.bytes_tensor import bytes_tensor
from likewise.features.image_tensor import LAYOUTS, image_tensor
from likewise.features.prepare import Prepare, array_tensor
from likewise.features.resizing import MODES, planner
from likewise.function.preparation_spec import Preparation
from likewise.inference.model import OnnxModel
from likewise.results.boxes import Place
from likewise.results.make import Placing, whole
from likewise.types import Image, Input, Tensor


@dataclass(frozen=True, slots=True)
class Prepared:
    """How inputs become tensors, and what is known of those."""

    prepare: Prepare
    trial: tuple[int, ...] | None
    """A shape of such a tensor, without the batch axis; None: as the array is sent."""
    place: Placing = whole
    """Where what the tensor shows stands in a picture."""
    windows: bool = False
    """Whether tensors have windows as their first axis."""


def prepared(kind: str, table: Preparation, model: OnnxModel, origin: str) -> Prepared:
    """Return what turns inputs of a kind into the model's. Raises InvalidFunction where they do not fit together."""
    try:
        made, shape = _BY_KIND[kind](table, model)
    except InvalidFunction as error:
        raise InvalidFunction(f"{origin}: {model.path.name}: {error.detail}") from error
    if shape is not None:
        model.check(shape, origin)
    return made


Shape = tuple[int | None, ...] | None


def _image(table: Preparation, model: OnnxModel) -> tuple[Prepared, Shape]:
    wanted, mode = table.resizing, MODES[table.resize]
    prepare = image_tensor(
        table.size,
        table.channels,
        _spread(table.mean or (0.0,), table),
        _spread(table.std or (1.0,), table),
        str(model.dtype),
        layout=table.layout,
        color=table.color,
        scale=table.scale,
        resizing=wanted,
    )
    plan_for = planner(wanted)
    wide, high = plan_for(*(table.size or (640, 480))).canvas

    def place(value: Input | None) -> Place:
        if not isinstance(value, Image):
            return Place((wide, high), (0.0, 0.0, 1.0, 1.0))
        plan = plan_for(value.pixels.shape[1], value.pixels.shape[0])
        return Place(plan.canvas, plan.region)

    free = mode.free
    shape = LAYOUTS[table.layout](None if free[1] else high, None if free[0] else wide, table.channels)
    trial = tuple(axis or 0 for axis in LAYOUTS[table.layout](high, wide, table.channels))
    return Prepared(prepare, trial, place), shape


def _audio(table: Preparation, model: OnnxModel) -> tuple[Prepared, Shape]:
    rate, dtype = table.sample_rate or 1, str(model.dtype)
    count = sample_count(rate, table.seconds or 1.0, table.samples)
    shape = _with_ones(model.shape, count)
    if table.overlap is None:
        plain = audio_tensor(rate, table.seconds or 1.0, dtype, samples=table.samples, full_scale=table.full_scale)
    else:
        plain = window_tensor(rate, count, table.overlap, dtype, full_scale=table.full_scale)
    prepare = plain if shape == (count,) else lambda value: _reshaped(plain(value), shape)
    return Prepared(prepare, shape, windows=table.overlap is not None), shape


def _reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return tensor.reshape(*tensor.shape[:-1], *shape)


def _with_ones(shape: tuple[int | None, ...], count: int) -> tuple[int, ...]:
    """Return a model's shape for so many samples: its axes of one stay, such as one for the channel."""
    ones = [axis for axis in shape if axis == 1]
    if len(ones) != len(shape) - 1:
        return (count,)
    return tuple(1 if axis == 1 else count for axis in shape)


def _array(table: Preparation, model: OnnxModel) -> tuple[Prepared, Shape]:
    return Prepared(array_tensor(model.shape, str(model.dtype)), None), None


def _bytes(table: Preparation, model: OnnxModel) -> tuple[Prepared, Shape]:
    first = table.first or 0
    prepare = bytes_tensor(
        first, table.last, padding=table.padding, strip=table.strip, block=table.block, dtype=str(model.dtype)
    )
    shape = (first + table.last,)
    return Prepared(prepare, shape), shape


_BY_KIND: Mapping[str, Callable[[Preparation, OnnxModel], tuple[Prepared, Shape]]] = {
    "image": _image,
    "audio": _audio,
    "array": _array,
    "bytes": _bytes,
}
"""By kind of input."""


def _spread(values: tuple[float, ...], table: Preparation) -> tuple[float, ...]:
    return values * table.channels if len(values) == 1 else values
