"""Cameras over roads, and two that look at something else: each plays a video, one frame after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from likewise.workloads.sample import Sample, check_stream_arguments
from likewise.workloads.videos import find_videos, read_video, to_and_fro

WIDTH = 320
"""Of the frames that a camera sends, in pixels."""
QUALITY = 90
REQUESTS = 2000
"""Length of a stream where none is asked for."""
MOST_FRAMES = 600
"""Of a video that are played, to and fro."""


class Roads:
    """Devices are cameras. They take turns; each has one of the videos, and begins somewhere in it.

    What is to be found is not known: the model's own answers are all there is to compare with.
    """

    function = "roads"

    def __init__(self, data: Path | None) -> None:
        """Find the videos. Raises InvalidValue where there are none."""
        self.name = "roads"
        self._videos = find_videos(data, self.name)

    def stream(self, requests: int | None, seed: int, devices: int) -> Sequence[Sample]:
        """Return frames as JPEG files; see `Workload.stream`."""
        check_stream_arguments(requests, seed, devices)
        total = REQUESTS if requests is None else requests
        rng = np.random.default_rng([seed, 5])
        names = list(self._videos)[:devices]
        videos = [
            [_jpeg(frame) for frame in read_video(self._videos[name], MOST_FRAMES, width=WIDTH)] for name in names
        ]
        turns = -(-total // devices)
        cameras = []
        for device in range(devices):
            frames = videos[device % len(videos)]
            # the first camera of each video begins at its beginning
            start = 0 if device < len(videos) else int(rng.integers(len(frames)))
            places = list(to_and_fro(len(frames), start + turns))[start:]
            cameras.append([Sample(device, frames[at], "image/jpeg", "", False) for at in places])
        return [cameras[at % devices][at // devices] for at in range(total)]


def _jpeg(frame: np.ndarray) -> bytes:
    coded = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return coded.tobytes()
