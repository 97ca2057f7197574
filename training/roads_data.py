"""Road videos as a teacher without labels sees them: what differs from the background, with boxes around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 320, 192
VIDEOS = ("highway/video.avi", "cars/car-detection.mp4")
HELD_OUT = 1 / 3
"""The end of each video: other vehicles than those before."""
DIFFERENCE = 28
"""Gray levels, in the channel that differs most, from which on a pixel is no background."""
LEAST_AREA = 220
"""Pixels of a vehicle."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A frame as the teacher sees it."""

    picture: np.ndarray
    """RGB, uint8, shape (192, 320, 3)."""
    mask: np.ndarray
    """255 where something is, uint8, shape (192, 320)."""
    boxes: np.ndarray
    """Left, top, right, bottom in pixels, float32, shape (n, 4)."""
    background: np.ndarray
    """What the camera sees without traffic; as `picture`."""


def frames(path: Path) -> np.ndarray:
    """Return all frames of a video, RGB, uint8, shape (n, 192, 320, 3). Raises FileNotFoundError."""
    capture = cv2.VideoCapture(str(path))
    found = []
    while True:
        there, frame = capture.read()
        if not there:
            break
        small = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        found.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
    if not found:
        raise FileNotFoundError(f"{path}: no frames; see functions/README.md for where the videos come from")
    return np.array(found)


def scenes(data: Path, *, held_out: bool) -> list[Scene]:
    """Return the frames of one part of both videos, those left out whose masks are poor."""
    found: list[Scene] = []
    for name in VIDEOS:
        every = frames(data / "video" / name)
        background = np.median(every[::3], axis=0).astype(np.uint8)
        cut = round(len(every) * (1 - HELD_OUT))
        part = every[cut:] if held_out else every[:cut]
        taught = list(_taught(part, background))
        print(f"{name}: {len(taught)} of {len(part)} frames, {sum(len(each.boxes) for each in taught)} boxes")
        found += taught
    return found


def _taught(part: np.ndarray, background: np.ndarray) -> Iterator[Scene]:
    for picture in part:
        mask = foreground(picture, background)
        count, labels, figures, _ = cv2.connectedComponentsWithStats(mask)
        boxes, poor = [], False
        for at in range(1, count):
            left, top, width, height, area = figures[at].tolist()
            if area < LEAST_AREA:
                poor |= area > LEAST_AREA // 4
                mask[labels == at] = 0
                continue
            poor |= min(width, height) < 6 or area < 0.45 * width * height or area > 0.4 * WIDTH * HEIGHT
            boxes.append((left, top, left + width, top + height))
        if not poor:
            yield Scene(picture, mask, np.array(boxes, np.float32).reshape(-1, 4), background)


def foreground(picture: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return 255 where a picture differs from the background, whose exposure is brought to the picture's first."""
    gain = np.median((picture.astype(np.float32) + 1) / (background.astype(np.float32) + 1), axis=(0, 1))
    off = np.abs(picture - np.clip(background * gain, 0, 255)).max(axis=2)
    mask = (off > DIFFERENCE).astype(np.uint8) * 255
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17)))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 255, cv2.FILLED)
