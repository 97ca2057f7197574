"""Small videos to play: a still scene, and a bright patch that crosses it now and then."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def scene(width: int = 160, height: int = 96, seed: int = 0) -> np.ndarray:
    """Return a smooth picture, RGB, uint8, shape (height, width, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 140, (height // 16, width // 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def crossing(count: int = 40, width: int = 160, height: int = 96, seed: int = 0) -> list[np.ndarray]:
    """Return frames: nothing happens in the first half, then a patch moves from left to right."""
    still, frames = scene(width, height, seed), []
    for at in range(count):
        frame = still.copy()
        if at >= count // 2:
            left = 4 + (width - 40) * (at - count // 2) // max(1, count - count // 2)
            frame[height // 3 : height // 3 + 20, left : left + 32] = 230
        frames.append(frame)
    return frames


def write_video(path: Path, frames: list[np.ndarray]) -> Path:
    """Write frames as Motion JPEG in an AVI file; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (width, height))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def write_pictures(folder: Path, frames: list[np.ndarray]) -> Path:
    """Write frames as numbered PNG files; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for at, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / f"{at}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return folder
