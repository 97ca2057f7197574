"""Results drawn into a picture."""

from __future__ import annotations

import zlib
from typing import Any

import cv2
import numpy as np

from likewise_watch.encoding import Pixels
from likewise_watch.found import Found

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MOST = 200
"""Boxes that are drawn at most."""


def draw(found: Found) -> Pixels:
    """Return a copy of the frame with what was found in it: boxes with label and score, or a line of text."""
    picture: Pixels = found.frame.pixels.copy()
    result = None if found.answer is None else found.answer.result
    scale = max(0.6, min(picture.shape[:2]) / 540)
    for box in _boxes(result):
        _draw_box(picture, box, scale)
    told = found.error[:80] if found.answer is None else f"{caption(result)}  {found.answer.outcome}".strip()
    _write(picture, told, (4, picture.shape[0] - 5), scale)
    return picture


def caption(result: Any) -> str:
    """Return in a few words what a result says as a whole; empty where it is no text."""
    if not isinstance(result, dict):
        return ""
    if isinstance(result.get("boxes"), list):
        return f"{len(result['boxes'])} found"
    if isinstance(result.get("labels"), list):
        return ", ".join(map(str, result["labels"][:8]))
    for name in ("label", "text"):
        if isinstance(result.get(name), str):
            return f"{result[name][:60]}{_score(result.get('confidence'))}"
    return ""


def _boxes(result: Any) -> list[tuple[tuple[float, ...], str, int]]:
    """Return corners in fractions, text and a color's number of each box that can be drawn."""
    listed = result.get("boxes") if isinstance(result, dict) else None
    found: list[tuple[tuple[float, ...], str, int]] = []
    for each in listed[:_MOST] if isinstance(listed, list) else ():
        try:
            corners = tuple(float(number) for number in each["box"])
            label = str(each.get("label", ""))
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
        if len(corners) == 4 and np.isfinite(corners).all():
            found.append((corners, f"{label}{_score(each.get('score'))}", zlib.crc32(label.encode())))
    return found


def _draw_box(picture: Pixels, box: tuple[tuple[float, ...], str, int], scale: float) -> None:
    corners, text, number = box
    height, width = picture.shape[:2]
    shares = np.clip(corners, 0.0, 1.0) * (width - 1, height - 1, width - 1, height - 1)
    left, top, right, bottom = np.rint(shares).astype(int).tolist()
    hue = np.array([[[number % 180, 200, 255]]], np.uint8)
    red, green, blue = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    cv2.rectangle(picture, (left, top), (right, bottom), (red, green, blue), max(1, round(2 * scale)))
    line = top - 3 if top > 24 * scale else bottom + round(20 * scale)
    _write(picture, text, (left, line), scale)


def _write(picture: Pixels, text: str, at: tuple[int, int], scale: float) -> None:
    shown = text.encode("ascii", "replace").decode()  # all that OpenCV's letters have
    thick = max(1, round(scale))
    for thickness, ink in ((3 * thick, (0, 0, 0)), (thick, (255, 255, 255))):
        cv2.putText(picture, shown, at, _FONT, 0.6 * scale, ink, thickness, cv2.LINE_AA)


def _score(value: Any) -> str:
    return f" {value:.2f}" if isinstance(value, (int, float)) and not isinstance(value, bool) else ""
