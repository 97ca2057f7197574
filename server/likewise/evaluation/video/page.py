"""One self-contained page about videos: the table, and pictures of what counted as changed."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from likewise.errors import SettingsError
from likewise.evaluation.page import STYLE
from likewise.evaluation.video.race import Seen
from likewise.results.boxes import read_boxes
from likewise.types import Result, Tensor
from likewise.workloads.videos import Frames

EVERY = 40
"""Frames from one picture to the next."""
MOST = 6
"""Pictures of a video and method."""
WIDTH = 320
CHANGED, BOX = np.array([230, 40, 40], np.float32), (255, 220, 0)


@dataclass
class Masks:
    """Pictures of dirty masks by video and method."""

    pictures: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)

    def of(self, video: str, method: str) -> Seen:
        """Return what keeps some of the frames of one play as pictures."""
        kept = self.pictures.setdefault((video, method), [])

        def see(at: int, frame: Frames, mask: Tensor, answer: Result) -> None:
            if at % EVERY == EVERY // 2 and len(kept) < MOST:
                kept.append(_picture(frame, mask, answer))

        return see


def _picture(frame: Frames, mask: Tensor, answer: Result) -> bytes:
    height = max(1, round(frame.shape[0] * WIDTH / frame.shape[1]))
    small = cv2.resize(frame, (WIDTH, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    over = cv2.resize(mask.astype(np.uint8), (WIDTH, height), interpolation=cv2.INTER_NEAREST)[..., None]
    shown = np.where(over > 0, 0.55 * small + 0.45 * CHANGED, small).astype(np.uint8)
    found = read_boxes(answer)
    for box in found.boxes if found is not None else ():
        left, top, right, bottom = (box * (WIDTH, height, WIDTH, height)).round().astype(int).tolist()
        cv2.rectangle(shown, (left, top), (right, bottom), BOX, 1)
    return cv2.imencode(".jpg", cv2.cvtColor(shown, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def write_page(titles: Sequence[str], rows: Sequence[Sequence[str]], caption: str, masks: Masks, path: Path) -> None:
    """Write the page. Raises SettingsError where it cannot be written."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    pictures = "".join(
        f"<h2>{html.escape(video)}, {html.escape(method)}</h2><p>"
        + "".join(
            f'<img alt="what changed" src="data:image/jpeg;base64,{base64.b64encode(each).decode()}"> ' for each in kept
        )
        + "</p>"
        for (video, method), kept in masks.pictures.items()
        if kept
    )
    try:
        path.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>likewise evaluate: video</title><style>{STYLE}</style><h1>Video</h1>"
            f"<table><caption>{html.escape(caption)}</caption><tr>{head}</tr>{body}</table>"
            "<p>Red: blocks that counted as changed since they were last computed. Yellow: what was answered.</p>"
            f"{pictures}</html>\n",
            encoding="utf-8",
        )
    except OSError as error:
        raise SettingsError(f"--html {path}: cannot be written ({error.strerror}).") from error
