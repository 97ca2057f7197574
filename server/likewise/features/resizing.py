"""How a picture comes to the size that a model takes: one plan for each mode, in whole pixels, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidFunction

Mode = Literal["stretch", "crop", "letterbox", "height", "free"]
Interpolation = Literal["auto", "nearest", "linear", "cubic", "area", "lanczos"]

MAX_SIDE = 4096

_INTERPOLATIONS: Mapping[str, int] = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


@dataclass(frozen=True, slots=True)
class Resizing:
    """What a spec says of sizes; each mode has a use for some of it."""

    mode: Mode = "stretch"
    size: tuple[int, int] | None = None
    """Width and height of what the model takes; None for mode `free`."""
    crop_from: int | tuple[int, int] | None = None
    """crop: the short side before cropping, or width and height; None: as small as covers `size`."""
    min_side: int = 1
    """free: pictures whose short side is shorter are enlarged to this."""
    max_side: int = 2048
    """free, height: no side gets longer than this."""
    multiple: int = 1
    """free: both sides are rounded to a multiple of this."""
    align: Literal["center", "corner"] = "center"
    """letterbox: where the picture stands on its canvas; `corner` is the upper left one."""
    fill: float = 114.0
    """letterbox, height: the pixel value around the picture, from 0 to 255."""
    interpolation: Interpolation = "auto"
    """`auto`: averaged over areas when shrinking, bilinear when enlarging."""


class Plan(NamedTuple):
    """Where the pixels of one picture go."""

    scaled: tuple[int, int]
    """Width and height that the picture is resized to."""
    canvas: tuple[int, int]
    """Width and height of what the model takes."""
    left: int
    """Where the scaled picture begins on the canvas; negative: so much of it is cut off."""
    top: int

    @property
    def region(self) -> tuple[float, float, float, float]:
        """What the canvas shows of the picture, as fractions of its sides: left, top, right, bottom.

        Outside of [0, 1] where the canvas is larger than the picture.
        """
        (wide, high), (canvas_wide, canvas_high) = self.scaled, self.canvas
        return (
            -self.left / wide,
            -self.top / high,
            (canvas_wide - self.left) / wide,
            (canvas_high - self.top) / high,
        )


Planner = Callable[[int, int], Plan]
"""(width, height) of a picture -> its plan."""


def _stretch(wanted: Resizing) -> Planner:
    size = _size(wanted)
    fixed = Plan(size, size, 0, 0)
    return lambda width, height: fixed


def _crop(wanted: Resizing) -> Planner:
    size, before = _size(wanted), wanted.crop_from
    if before is not None:
        sides = (before, before) if isinstance(before, int) else before
        if sides[0] < size[0] or sides[1] < size[1]:
            raise InvalidFunction(f"crop_from is {before}, less than size {list(size)}; give as much, or more.")

    def plan(width: int, height: int) -> Plan:
        if isinstance(before, int):
            factor = before / min(width, height)
            scaled = max(size[0], round(width * factor)), max(size[1], round(height * factor))
        elif before is not None:
            scaled = before
        else:
            factor = max(size[0] / width, size[1] / height)
            scaled = max(size[0], round(width * factor)), max(size[1], round(height * factor))
        return Plan(scaled, size, -((scaled[0] - size[0]) // 2), -((scaled[1] - size[1]) // 2))

    return plan


def _letterbox(wanted: Resizing) -> Planner:
    size, centered = _size(wanted), wanted.align == "center"

    def plan(width: int, height: int) -> Plan:
        factor = min(size[0] / width, size[1] / height)
        wide = min(size[0], max(1, round(width * factor)))
        high = min(size[1], max(1, round(height * factor)))
        return Plan((wide, high), size, (size[0] - wide) // 2 * centered, (size[1] - high) // 2 * centered)

    return plan


def _height(wanted: Resizing) -> Planner:
    (least, high), most = _size(wanted), wanted.max_side

    def plan(width: int, height: int) -> Plan:
        wide = min(max(least, high * width // height), max(least, most))
        return Plan((min(wide, max(1, ceil(high * width / height))), high), (wide, high), 0, 0)

    return plan


def _free(wanted: Resizing) -> Planner:
    least, most, step = wanted.min_side, wanted.max_side, wanted.multiple
    if least > most or step > most:
        raise InvalidFunction(f"max_side is {most}; it has to be at least min_side and multiple.")

    def side(length: float) -> int:
        return min(most // step * step, max(step, round(int(length) / step) * step))

    def plan(width: int, height: int) -> Plan:
        factor = max(1.0, least / min(width, height))
        factor = min(factor, most / max(width, height))
        size = side(width * factor), side(height * factor)
        return Plan(size, size, 0, 0)

    return plan


@dataclass(frozen=True, slots=True)
class _Mode:
    plan: Callable[[Resizing], Planner]
    fields: frozenset[str]
    """Fields of the spec that it has a use for, beside `size`."""
    free: tuple[bool, bool] = (False, False)
    """Whether the width and the height differ from picture to picture."""
    has_size: bool = True


MODES: Mapping[str, _Mode] = {
    "stretch": _Mode(_stretch, frozenset()),
    "crop": _Mode(_crop, frozenset({"crop_from"})),
    "letterbox": _Mode(_letterbox, frozenset({"align", "fill"})),
    "height": _Mode(_height, frozenset({"fill", "max_side"}), (True, False)),
    "free": _Mode(_free, frozenset({"min_side", "max_side", "multiple"}), (True, True), has_size=False),
}
"""All modes by name."""


def planner(wanted: Resizing) -> Planner:
    """Return what makes plans. Raises InvalidFunction for settings that cannot be."""
    mode = MODES[wanted.mode]
    if not mode.has_size and wanted.size is not None:
        raise InvalidFunction("resize `free` takes pictures of any size; remove size, or take another resize.")
    plan = mode.plan(wanted)
    if wanted.mode != "crop":
        return plan

    def bounded(width: int, height: int) -> Plan:
        made = plan(width, height)
        if max(made.scaled) <= 4 * MAX_SIDE:
            return made
        # a strip so long that its short side cannot be enlarged as asked: it is squeezed along its length
        scaled = min(made.scaled[0], 4 * MAX_SIDE), min(made.scaled[1], 4 * MAX_SIDE)
        return made._replace(
            scaled=scaled, left=-((scaled[0] - made.canvas[0]) // 2), top=-((scaled[1] - made.canvas[1]) // 2)
        )

    return bounded


def placed(pixels: NDArray[np.uint8], plan: Plan, interpolation: Interpolation) -> NDArray[np.uint8]:
    """Return what the canvas shows of a picture: resized, and cut where it reaches beyond; uint8, (h, w[, 3])."""
    shown = resize(pixels, plan.scaled, interpolation)
    (wide, high), left, top = plan.canvas, max(0, -plan.left), max(0, -plan.top)
    return shown[top : top + high, left : left + wide]


def resize(
    pixels: NDArray[np.uint8], size: tuple[int, int], interpolation: Interpolation = "auto"
) -> NDArray[np.uint8]:
    """Return pixels at size (width, height); `auto` averages over areas when shrinking, is bilinear when enlarging."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    if interpolation == "auto":
        shrinking = width >= size[0] and height >= size[1]
        how = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    else:
        how = _INTERPOLATIONS[interpolation]
    return cv2.resize(pixels, size, interpolation=how)  # type: ignore[return-value]


def _size(wanted: Resizing) -> tuple[int, int]:
    size = wanted.size
    if size is None or len(size) != 2 or not all(1 <= side <= MAX_SIDE for side in size):
        raise InvalidFunction(f"size is {size and list(size)}; give width and height, each 1 to {MAX_SIDE}.")
    return int(size[0]), int(size[1])
