"""Detections as results: what a client gets, and when two such results are equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from likewise.errors import ModelFailed
from likewise.results.box_rows import FORMS, Detections, RowOptions, Rows, corners, iou, suppressed
from likewise.results.check import is_json
from likewise.results.encode import Encode
from likewise.types import Input, Result, Tensor

Unit = Literal["pixels", "fractions"]

MAX_BOXES = 1000
"""Boxes of a result at most, and those up to which two results are compared box by box."""


class Place(NamedTuple):
    """What the model's input shows of a picture."""

    size: tuple[int, int]
    """Width and height of the model's input, in pixels."""
    region: tuple[float, float, float, float]
    """Left, top, right and bottom of it, as fractions of the picture; may reach beyond [0, 1]."""


def boxes_encoder(
    rows: Rows,
    place: Callable[[Input | None], Place],
    labels: Sequence[str] = (),
    *,
    options: RowOptions = RowOptions(),  # noqa: B008 (it is immutable)
    unit: Unit = "pixels",
    nms: float | None = None,
    most: int = 100,
) -> Encode:
    """Return an encoder to `{"boxes": [{"box": [left, top, right, bottom], "score": ..., "label": ...}]}`.

    The box in fractions of the picture that was sent, from 0 to 1, so that it holds for a near picture of another size;
    the best first. rows: the form of the outputs. place: what the model's input shows of a picture; of None, of one
    that is unknown. unit: of the outputs: pixels of the model's input, or fractions of it. nms: overlap (intersection
    over union) from which on the worse of two boxes of one class goes; None: the model did it. most: boxes at most.
    """
    names, form = tuple(labels), FORMS[rows]

    def encode(outputs: Sequence[Tensor], value: Input | None = None) -> Result:
        for output in outputs:
            if output.dtype.kind == "f" and not np.isfinite(output).all():
                raise ModelFailed("The model's output holds NaN or infinity; check the input and the model.")
        found = form.read(outputs, options)
        sure = found.scores >= options.threshold
        boxes = corners(found.boxes[sure], options.corners)
        found = suppressed(
            Detections(boxes, found.scores[sure], found.classes[sure]), 2.0 if nms is None else nms, most
        )
        at = place(value)
        if unit == "pixels" and rows != "map":
            found = found._replace(boxes=found.boxes / (*at.size, *at.size))
        left, top, right, bottom = at.region
        start, span = np.array([left, top, left, top]), np.array([right - left, bottom - top] * 2)
        shares = np.clip(start + found.boxes * span, 0.0, 1.0)
        if names and found.classes.size and not 0 <= found.classes.min() <= found.classes.max() < len(names):
            odd = next(each for each in found.classes.tolist() if not 0 <= each < len(names))
            raise ModelFailed(f"The model found class {odd}, and the labels name {len(names)}, from 0; correct them.")
        listed = [
            {
                "box": [round(number, 5) for number in box],
                "score": round(score, 5),
                "label": names[kind] if names else str(kind),
            }
            for box, score, kind in zip(shares.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
        ]
        return Result(orjson.dumps({"boxes": listed}))

    return encode


class Found(NamedTuple):
    """The boxes of a result, as they are compared: sorted by label."""

    labels: tuple[str, ...]
    boxes: NDArray[np.float64]
    """Shape (n, 4)."""


def read_boxes(result: Result) -> Found | None:
    """Return the boxes of a result; None where it has none in that form, or more than are compared."""
    if not is_json(result.media_type):
        return None
    try:
        document = orjson.loads(result.body)
        listed = document["boxes"]
        if not isinstance(listed, list) or len(listed) > MAX_BOXES:
            return None
        listed = sorted(((str(each["label"]), each["box"]) for each in listed), key=lambda each: each[0])
        boxes = np.array([box for _, box in listed], np.float64).reshape(-1, 4)
    except (orjson.JSONDecodeError, TypeError, ValueError, KeyError, OverflowError):
        return None
    if len(boxes) != len(listed) or not np.isfinite(boxes).all():
        return None
    return Found(tuple(label for label, _ in listed), boxes)


def same_boxes(ours: Found, theirs: Found, least: float) -> bool:
    """Say whether each box has its own on the other side, of its label and with an IoU of at least `least`.

    Labels are taken to be the same list on both sides.
    """
    return matched(ours, theirs, least) == len(ours.labels)


def matched(ours: Found, theirs: Found, least: float) -> int:
    """Return how many boxes have their own on the other side, of their label and with an IoU of at least `least`.

    Matched greedily, the largest overlap first.
    """
    if not ours.labels or not theirs.labels:
        return 0
    overlaps = iou(ours.boxes, theirs.boxes)
    overlaps[np.array(ours.labels)[:, None] != np.array(theirs.labels)[None, :]] = -1.0
    count = 0
    while count < len(ours.labels):
        row, column = divmod(int(overlaps.argmax()), len(theirs.labels))
        if overlaps[row, column] < least:
            break
        overlaps[row] = overlaps[:, column] = -1.0
        count += 1
    return count
