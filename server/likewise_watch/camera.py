"""A source that is open: what PyAV decodes of it. The only file that reads with PyAV."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.error import (
    DemuxerNotFoundError,
    FFmpegError,
    HTTPClientError,
    OptionNotFoundError,
    ProtocolNotFoundError,
)
from av.video.frame import VideoFrame

from likewise.errors import SettingsError
from likewise_watch.address import Address
from likewise_watch.encoding import Pixels
from likewise_watch.errors import SourceLost
from likewise_watch.pipe import Pipe, is_pipe

_FINAL = (HTTPClientError, DemuxerNotFoundError, OptionNotFoundError, ProtocolNotFoundError)


HOPELESS = 1000
"""Packets in a row that cannot be decoded, after which a source counts as lost."""
PIXEL_BYTES, LEAST_BYTES = 8, 64 << 20
"""What FFmpeg may take in one piece: for each pixel of the largest frame, and at the least."""


class Camera:
    """The first video stream of a source, open while the block runs.

    timeout_s: longest wait to open it, and between two packets. max_pixels: of a frame.
    Raises SourceLost where it cannot be opened now, SettingsError where it never can.
    """

    def __init__(self, address: Address, timeout_s: float, max_pixels: int) -> None:
        self._address = address
        self._max_pixels = max_pixels
        self.undecodable = 0
        """Packets that could not be decoded."""
        _bound_memory(max_pixels)
        ample = str(2 * max_pixels + (1 << 16))  # FFmpeg counts the borders that its decoders add
        options = {"max_pixels": ample, **address.options}
        self._pipe: Pipe | None = None
        with self._errors("cannot be opened", opening=True):
            if is_pipe(address):
                self._pipe = Pipe(address, timeout_s)
            try:
                self._container = av.open(
                    self._pipe or address.target,
                    "r",
                    format=address.format,
                    options=options,
                    timeout=(timeout_s, timeout_s),
                )
            except BaseException:
                self._close_pipe()
                raise
        try:
            self._stream = next(iter(self._container.streams.video), None)
            if self._stream is None:
                raise SettingsError(f"{address.shown} has no video stream.")
            context = self._stream.codec_context
            if context is None:
                raise SettingsError(f"{address.shown} has video in a coding that FFmpeg does not know.")
            self._check_size(context.width, context.height)
            context.options = {"max_pixels": ample}
            rate = self._stream.average_rate or self._stream.guessed_rate
            self.rate = float(rate) if rate else None
            """Frames per second that it says it has; None where it does not say."""
            lasts = self._container.duration is not None
            self.live = address.kind == "device" or not (
                address.kind == "file" or (address.target[:4].lower() == "http" and lasts)
            )
            """Whether it goes on without end, at its own pace."""
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def frames(self) -> Iterator[VideoFrame]:
        """Yield frames in order, as they are decoded.

        Raises SourceLost where it breaks off, SettingsError for a frame that is too large.
        """
        assert self._stream is not None
        packets, in_a_row = self._container.demux(self._stream), 0
        while True:
            with self._errors("broke off"):
                packet = next(packets, None)
            if packet is None:
                return
            try:
                decoded = packet.decode()
            except av.error.EOFError:
                return
            except FFmpegError as error:  # a packet was lost or damaged; the next key frame mends it
                self.undecodable += 1
                in_a_row += 1
                if in_a_row == HOPELESS:
                    raise SourceLost(f"{self._address.shown} broke off: {_reason(error)}.") from None
                continue
            in_a_row = 0
            for frame in decoded:
                self._check_size(frame.width, frame.height)
                yield frame

    def _close(self) -> None:
        self._container.close()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            self._pipe.close()

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise SettingsError(
                f"{self._address.shown} has frames of {width} × {height}, over the {self._max_pixels} pixels of "
                "--max-pixels; raise it, or let the camera send smaller ones."
            )

    @contextmanager
    def _errors(self, what: str, opening: bool = False) -> Iterator[None]:
        """Turn PyAV's errors into this package's. None of its texts passes, since they hold the URL."""
        address = self._address
        try:
            yield
        except FFmpegError as error:
            here = address.kind in ("file", "other") or (address.kind == "device" and isinstance(error, OSError))
            final = opening and (here or isinstance(error, _FINAL))
            text = f"{address.shown} {what}: {_reason(error)}."
            if opening and error.errno == errno.EIO and address.options.get("max_redirects") == "0":
                text += " Redirects are not followed; name where it leads, or give --option max_redirects=8."
            raise (SettingsError(text) if final else SourceLost(text)) from None
        except (ValueError, UnicodeError, OSError):
            raise SettingsError(f"{address.shown} {what}: it is no source that FFmpeg knows.") from None


def _bound_memory(max_pixels: int) -> None:
    """Bound what FFmpeg takes in one piece: a camera may call a picture as long as it likes, or never end it.

    It holds for the whole process. Source: libavutil, av_max_alloc, which PyAV does not offer.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(av._core.__file__).av_max_alloc(ctypes.c_size_t(max(LEAST_BYTES, PIXEL_BYTES * max_pixels)))


def pixels(frame: VideoFrame, max_width: int | None = None) -> Pixels:
    """Return a frame upright, red first; wider ones scaled down to max_width.

    Raises SourceLost for one that cannot be shown.
    """
    width, height = frame.width, frame.height
    if max_width is not None and width > max_width:
        width, height = max_width, max(1, round(height * max_width / width))
    try:
        picture = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    except (FFmpegError, ValueError) as error:
        raise SourceLost(f"a frame in the format {frame.format.name} cannot be shown ({error})") from None
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns))


def _reason(error: FFmpegError) -> str:
    if isinstance(error, av.error.ExitError):
        return "nothing came in time"
    return (error.strerror or type(error).__name__).rstrip(".")
