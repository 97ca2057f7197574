"""Inputs in every form that the decoders take."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """A smooth RGB picture, 37 high and 29 wide."""
    coarse = np.random.default_rng(5).integers(0, 256, (5, 4, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (29, 37), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture
def as_png() -> Callable[..., bytes]:
    """Write raw scan lines as a PNG with any header, so that odd ones can be made."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    def write(
        width: int,
        height: int,
        raw: bytes,
        *,
        depth: int = 8,
        color: int = 2,
        interlaced: int = 0,
        before: tuple[tuple[bytes, bytes], ...] = (),
        parts: int = 1,
    ) -> bytes:
        data = zlib.compress(raw)
        step = -(-len(data) // parts)
        return b"".join(
            (
                b"\x89PNG\r\n\x1a\n",
                chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)),
                *(chunk(name, content) for name, content in before),
                *(chunk(b"IDAT", data[start : start + step]) for start in range(0, len(data), step)),
                chunk(b"IEND", b""),
            )
        )

    return write


@pytest.fixture
def as_wav() -> Callable[..., bytes]:
    """Wrap sample bytes in a WAV header with any fields."""

    def write(
        data: bytes, *, tag: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16, extra: bytes = b""
    ) -> bytes:
        align = channels * bits // 8
        layout = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits) + extra
        body = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout
        body += b"LIST\x03\x00\x00\x00abc\x00" + b"data" + struct.pack("<I", len(data)) + data
        return b"RIFF" + struct.pack("<I", len(body)) + body

    return write


@pytest.fixture
def as_npy() -> Callable[[object], bytes]:
    """Write an array as numpy.save does."""

    def write(values: object) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=True)  # type: ignore[arg-type]
        return buffer.getvalue()

    return write


@pytest.fixture
def tone() -> NDArray[np.float32]:
    """Half a second of a rising tone at 8 kHz."""
    time = np.arange(4000) / 8000
    return (0.5 * np.sin(2 * np.pi * (300 + 800 * time) * time)).astype(np.float32)
