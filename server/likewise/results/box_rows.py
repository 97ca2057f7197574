"""Detections read from a model's outputs, in the forms that detectors have, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.errors import ModelFailed
from likewise.types import Tensor

Rows = Literal["score-class", "classes", "objectness", "apart", "map"]
Corners = Literal["xyxy", "xywh", "cxcywh", "yxyx"]


class Detections(NamedTuple):
    """Boxes with score and class, in no order."""

    boxes: NDArray[np.float64]
    """Shape (n, 4): left, top, right, bottom, in the output's unit."""
    scores: NDArray[np.float64]
    """Shape (n,)."""
    classes: NDArray[np.int64]
    """Shape (n,)."""


@dataclass(frozen=True, slots=True)
class RowOptions:
    """What a spec says of the rows."""

    corners: Corners = "xyxy"
    classes: int | None = None
    """How many there are, where labels name them."""
    threshold: float = 0.25
    pixel: float = 0.3
    """map: from which value on a pixel belongs to something."""
    grow: float = 0.0
    """map: how far a box is grown on each side, in units of its area by its circumference."""


def _score_class(outputs: Sequence[Tensor], options: RowOptions) -> Detections:
    rows = _rows(outputs[0])
    if rows.shape[1] == 7:  # with the number of the picture in the batch in front
        rows = rows[:, 1:]
    if rows.shape[1] != 6:
        if not rows.size:
            return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
        raise ModelFailed(f"The model's rows of boxes have {rows.shape[1]} numbers where box, score and class are six.")
    return Detections(rows[:, :4], rows[:, 4], np.rint(rows[:, 5]).astype(np.int64))


def _classes(outputs: Sequence[Tensor], options: RowOptions) -> Detections:
    rows = _class_rows(outputs[0], 4, options.classes)
    scores = rows[:, 4:]
    best = scores.argmax(axis=1)
    return Detections(rows[:, :4], scores[np.arange(len(rows)), best], best)


def _objectness(outputs: Sequence[Tensor], options: RowOptions) -> Detections:
    rows = _class_rows(outputs[0], 5, options.classes)
    scores = rows[:, 5:] * rows[:, 4:5]
    best = scores.argmax(axis=1)
    return Detections(rows[:, :4], scores[np.arange(len(rows)), best], best)


def _apart(outputs: Sequence[Tensor], options: RowOptions) -> Detections:
    if len(outputs) not in (2, 3):
        raise ModelFailed(f"Boxes apart need outputs of boxes, scores and perhaps classes, not {len(outputs)}.")
    boxes = outputs[0].reshape(-1, 4).astype(np.float64)
    scores: Tensor = outputs[1].astype(np.float64).reshape(len(boxes), -1) if len(boxes) else np.zeros((0, 1))
    if len(outputs) == 3:
        classes = np.rint(outputs[2].astype(np.float64)).astype(np.int64).reshape(-1)
        scores = scores.reshape(-1)
        if not len(classes) == len(scores) == len(boxes):
            raise ModelFailed(f"There are {len(boxes)} boxes, {len(scores)} scores and {len(classes)} classes.")
        return Detections(boxes, scores, classes)
    best = scores.argmax(axis=1)
    return Detections(boxes, scores[np.arange(len(boxes)), best], best)


def _map(outputs: Sequence[Tensor], options: RowOptions) -> Detections:
    """Read a map of how much each pixel belongs to something: one box around each region.

    Each region's smallest rectangle is grown by area * grow / circumference on all sides, and its score is the mean of
    the map within it; boxes are upright. Source: Liao et al., Real-time Scene Text Detection with Differentiable
    Binarization (AAAI 2020), section 3.5.
    """
    axes = [axis for axis in outputs[0].shape if axis != 1]
    if len(axes) != 2:
        raise ModelFailed(f"The model's first output has shape {list(outputs[0].shape)}; a map has height and width.")
    values = np.ascontiguousarray(outputs[0].reshape(axes), np.float32)
    mask = cv2.dilate((values > options.pixel).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask * 255, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes: list[tuple[float, float, float, float]] = []
    scores: list[float] = []
    for contour in contours[:MAX_REGIONS]:
        center, (long, short), angle = cv2.minAreaRect(contour)
        if min(long, short) < 3:
            continue
        score = _mean_within(values, cv2.boxPoints((center, (long, short), angle)))
        if score < options.threshold:
            continue
        by = options.grow * long * short / (long + short)  # on both sides together
        around = cv2.boxPoints((center, (long + by, short + by), angle))
        (left, top), (right, bottom) = around.min(axis=0).tolist(), around.max(axis=0).tolist()
        boxes.append((max(0.0, left), max(0.0, top), min(values.shape[1], right), min(values.shape[0], bottom)))
        scores.append(score)
    high, wide = values.shape
    fractions = np.array(boxes, np.float64).reshape(-1, 4) / (wide, high, wide, high)
    return Detections(fractions, np.array(scores), np.zeros(len(boxes), np.int64))


MAX_REGIONS = 1000
"""Regions of a map that are looked at."""


def _mean_within(values: NDArray[np.float32], corners: Tensor) -> float:
    high, wide = values.shape
    left, top = (int(np.clip(np.floor(corners[:, at].min()), 0, (wide, high)[at] - 1)) for at in (0, 1))
    right, bottom = (int(np.clip(np.ceil(corners[:, at].max()), 0, (wide, high)[at] - 1)) for at in (0, 1))
    mask = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(mask, (corners - (left, top)).astype(np.int32)[None], 1)  # type: ignore[call-overload]
    return float(cv2.mean(values[top : bottom + 1, left : right + 1], mask)[0])


def _rows(output: Tensor) -> NDArray[np.float64]:
    """Return an output as rows of numbers. Raises ModelFailed for what is none."""
    axes = [axis for axis in output.shape if axis != 1] if output.ndim > 2 else list(output.shape)
    if len(axes) == 1:
        axes = [1, axes[0]]
    if len(axes) != 2 or output.dtype.kind != "f":
        raise ModelFailed(
            f"The model's first output has shape {list(output.shape)} and type {output.dtype.name}; boxes need rows."
        )
    return output.reshape(axes).astype(np.float64)


def _class_rows(output: Tensor, before: int, classes: int | None) -> NDArray[np.float64]:
    """Return rows of `before` numbers and one for each class; columns where that is what there is."""
    rows = _rows(output)
    if not rows.size:
        return np.zeros((0, before + (classes or 1)))
    wanted = before + (classes or 1)
    across = rows.shape[1] != wanted and rows.shape[0] == wanted if classes else rows.shape[0] < rows.shape[1]
    rows = rows.T if across else rows
    if rows.shape[1] != wanted if classes else rows.shape[1] < wanted:
        raise ModelFailed(
            f"The model's rows of boxes have {rows.shape[1]} numbers, and {before} with {classes or 'some'} classes "
            f"make {wanted}; check labels and rows."
        )
    return rows


@dataclass(frozen=True, slots=True)
class _Form:
    read: Callable[[Sequence[Tensor], RowOptions], Detections]
    outputs: tuple[int, ...]
    """How many outputs it may take."""
    fields: frozenset[str]
    """Fields of the spec that it has a use for, beside those that all have."""
    says: str
    """What the documentation says of it."""


_PLACED = frozenset({"corners", "unit"})

FORMS: Mapping[str, _Form] = {
    "score-class": _Form(_score_class, (1,), _PLACED, "rows of box, score, class, as after non-maximum suppression"),
    "classes": _Form(_classes, (1,), _PLACED, "rows of box and a score for each class (YOLOv8 and later)"),
    "objectness": _Form(_objectness, (1,), _PLACED, "rows of box, objectness, a score for each class (YOLOv5, YOLOX)"),
    "apart": _Form(_apart, (2, 3), _PLACED, "outputs of boxes, scores and perhaps classes, in this order"),
    "map": _Form(
        _map,
        (1,),
        frozenset({"pixel", "grow"}),
        "a map of scores: a box around each region (text detectors)",
    ),
}
"""All forms by name."""


def corners(boxes: NDArray[np.float64], order: Corners) -> NDArray[np.float64]:
    """Return boxes as left, top, right, bottom."""
    if order == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    if order == "xywh":
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    if order == "cxcywh":
        half = boxes[:, 2:] / 2
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return boxes


def suppressed(found: Detections, overlap: float, most: int) -> Detections:
    """Return the best of boxes of one class that overlap by more than `overlap` (IoU), the best first, at most `most`.

    overlap: 1 or more suppresses nothing. Greedy non-maximum suppression; bounded to the 10 * `most` best.
    """
    order = np.argsort(-found.scores, kind="stable")[: 10 * most]
    kept: list[int] = []
    while order.size and len(kept) < most:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        if overlap < 1 and order.size:
            same = found.classes[order] == found.classes[best]
            order = order[~(same & (iou(found.boxes[best][None], found.boxes[order])[0] > overlap))]
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept])


def iou(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of boxes with boxes, shape (n, m); 0 where both are empty."""
    left_top = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    right_bottom = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    common = np.clip(right_bottom - left_top, 0, None).prod(axis=2)
    areas = [np.clip(each[:, 2:] - each[:, :2], 0, None).prod(axis=1) for each in (ours, theirs)]
    union = areas[0][:, None] + areas[1][None, :] - common
    ratio: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return ratio
