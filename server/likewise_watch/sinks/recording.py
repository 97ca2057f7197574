"""Results drawn into a video. The only file that writes with PyAV."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from likewise.errors import LikewiseError, SettingsError
from likewise_watch.encoding import Pixels
from likewise_watch.found import Found
from likewise_watch.sinks.drawing import draw

_CODECS = ("libx264", "mpeg4")
_CLOCK = 1000
"""Ticks of a second."""


class Recording:
    """Draws results into one video for each stream: FILE.mp4, or FILE-STREAM.mp4 where there are several.

    Raises SettingsError for a file that cannot be written.
    """

    lost = 0

    def __init__(self, path: Path, streams: tuple[str, ...]) -> None:
        self._lock = threading.Lock()
        self._tracks: dict[str, _Track] = {}
        try:
            for stream in streams:
                own = path if len(streams) == 1 else path.with_name(f"{path.stem}-{_plain(stream)}{path.suffix}")
                self._tracks[stream] = _Track(own)
        except BaseException:
            self.close()
            raise

    def put(self, found: Found) -> None:
        """Draw and encode a frame. Raises LikewiseError where it cannot be written."""
        self._tracks[found.stream].put(found)

    def close(self) -> None:
        """Bring all files to their end, so that they can be played."""
        for track in self._tracks.values():
            track.close()


class _Track:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._closed = False
        self._stream: VideoStream | None = None
        self._size = (0, 0)
        self._start_s = 0.0
        self._last = -1
        try:
            self._container = av.open(str(path), "w")
            path.open("wb").close()  # PyAV opens it with the first frame
        except (FFmpegError, ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or "no format has that ending"
            raise SettingsError(f"--save {path} cannot be written: {reason}; name it something.mp4.") from None

    def put(self, found: Found) -> None:
        at_s = found.frame.taken_at if found.frame.position_s is None else found.frame.position_s
        with self._lock:
            if self._closed:
                return
            try:
                self._encode(draw(found), at_s)
            except (FFmpegError, OSError) as error:
                self._closed = True
                raise LikewiseError(f"--save {self._path} cannot be written: {error.strerror}.") from None

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                if self._stream is not None:
                    self._container.mux(self._stream.encode())
                self._container.close()
            except (FFmpegError, OSError) as error:
                raise LikewiseError(f"--save {self._path} cannot be completed: {error.strerror}.") from None

    def _encode(self, picture: Pixels, at_s: float) -> None:
        if self._stream is None:
            height, width = picture.shape[:2]
            self._size = (max(2, width // 2 * 2), max(2, height // 2 * 2))  # 4:2:0 has color for two pixels
            self._stream = self._open(*self._size)
            self._start_s = at_s
        if picture.shape[1::-1] != self._size:
            picture = np.asarray(cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        self._last = max(self._last + 1, round((at_s - self._start_s) * _CLOCK))
        frame.pts, frame.time_base = self._last, Fraction(1, _CLOCK)
        self._container.mux(self._stream.encode(frame))

    def _open(self, width: int, height: int) -> VideoStream:
        codec = next((name for name in _CODECS if name in av.codecs_available), "mpeg4")
        stream = self._container.add_stream(codec, rate=30)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _CLOCK)
        if codec == "libx264":
            stream.options = {"preset": "veryfast", "crf": "23"}
        return stream


def _plain(stream: str) -> str:
    return stream.replace("/", "-").replace(":", "-").lstrip(".")
