"""Videos as frames: files, and folders of pictures, read by OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.workloads.inputs import natural
from likewise.workloads.sample import data_folder

Frames = NDArray[np.uint8]
"""One frame: RGB, shape (height, width, 3)."""

LAYOUT = "video"
SOURCE = (
    "https://github.com/intel-iot-devkit/sample-videos (car-detection.mp4 as video/cars/car-detection.mp4, "
    "bottle-detection.mp4 as video/bottles/bottle-detection.mp4); highway and tennis are named in functions/README.md"
)
ROADS = {
    "highway": "highway/video.avi",
    "cars": "cars/car-detection.mp4",
    "bottles": "bottles/bottle-detection.mp4",
    "tennis": "tennis",
}
"""By name: where a video is below `DIR/video`. Nothing was trained on the last two."""
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")


def find_videos(data: Path | None, workload: str = "roads") -> dict[str, Path]:
    """Return the videos that are there, by name. Raises InvalidValue, with where to get them, if there are none."""
    folder = data_folder(data, LAYOUT, workload, SOURCE)
    found = {name: folder / path for name, path in ROADS.items() if (folder / path).exists()}
    if not found:
        raise InvalidValue(f"The workload {workload} found no video under {folder}; get them from {SOURCE}.")
    return found


def read_video(path: Path, limit: int | None = None, width: int | None = None) -> Iterator[Frames]:
    """Yield the frames of a video file, or of a folder of pictures in the order of their names.

    limit: frames at most. width: wider ones are brought to it, at their own proportions; None: as they are. Raises
    InvalidValue, naming the file, where there is no frame to read.
    """
    count = 0
    for frame in _pictures(path) if path.is_dir() else _file(path):
        if width is not None and frame.shape[1] > width:
            size = width, max(1, round(frame.shape[0] * width / frame.shape[1]))
            frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
        yield np.ascontiguousarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        count += 1
        if count == limit:
            return
    if not count:
        raise InvalidValue(
            f"{path}: no frames can be read from it; name a video file that OpenCV reads, or a folder of pictures "
            f"({', '.join(PICTURES)})."
        )


def to_and_fro(count: int, length: int) -> Iterator[int]:
    """Yield `length` positions in a video of `count` frames: to its end, back, and so on, without a cut."""
    period = max(1, 2 * (count - 1))
    for at in range(length):
        place = at % period
        yield min(place, period - place)


def _file(path: Path) -> Iterator[NDArray[np.uint8]]:
    if not path.is_file():
        raise InvalidValue(f"{path} is neither a video file nor a folder of pictures.")
    capture = cv2.VideoCapture(str(path))
    try:
        while True:
            there, frame = capture.read()
            if not there:
                return
            yield np.asarray(frame, np.uint8)
    finally:
        capture.release()


def _pictures(path: Path) -> Iterator[NDArray[np.uint8]]:
    size = None
    for each in sorted((each for each in path.iterdir() if each.suffix.lower() in PICTURES), key=natural):
        frame = cv2.imread(str(each), cv2.IMREAD_COLOR)
        if frame is None:
            raise InvalidValue(f"{each} is no picture that can be read; remove it from the folder.")
        if size is not None and frame.shape != size:
            raise InvalidValue(f"{each} is of another size than the pictures before it; a video has frames of one.")
        size = frame.shape
        yield np.asarray(frame, np.uint8)
