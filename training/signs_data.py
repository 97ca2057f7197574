"""The traffic signs as arrays: the half to train on, the half held out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from likewise.workloads.signs import find_tracks, load_picture

CLASSES = 43


def load(data: Path, side: int, *, held_out: bool) -> tuple[Tensor, Tensor]:
    """Return (photographs, class ids): shape (n, 3, side, side), float32 in [0, 1], RGB; shape (n,)."""
    pictures, labels = [], []
    for track in find_tracks(data):
        if track.held_out != held_out or track.class_id >= CLASSES:
            continue
        for path in track.frames:
            pictures.append(resized(load_picture(path), side))
            labels.append(track.class_id)
    return to_tensor(pictures), torch.tensor(labels)


def resized(picture: np.ndarray, side: int) -> np.ndarray:
    """Return a picture as the server resizes it."""
    shrinking = min(picture.shape[:2]) >= side
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def to_tensor(pictures: list[np.ndarray]) -> Tensor:
    """Return blue-first uint8 pictures as RGB planes in [0, 1]."""
    stacked = np.stack(pictures)[..., ::-1].transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(stacked)).float() / 255
