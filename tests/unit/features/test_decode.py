"""One decoder per function: media types, limits, clear refusals."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.errors import InvalidFunction, UndecodableInput, UnsupportedMediaType
from likewise.features.decode import MEDIA_TYPES, Kind, decoded_size, decoder
from likewise.types import Array


def test_unknown_kind_is_refused_with_the_known_ones() -> None:
    """The message names what may be written instead."""
    with pytest.raises(InvalidFunction, match="'image', 'audio', 'array'"):
        decoder("video")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["image", "audio", "array"])
@pytest.mark.parametrize("media_type", ["application/octet-stream", "text/html", ""])
def test_other_media_types_are_refused_with_those_taken(kind: str, media_type: str) -> None:
    """An input of another media type gets 415 and the list of what is taken."""
    with pytest.raises(UnsupportedMediaType, match=MEDIA_TYPES[kind][0]):
        decoder(kind)(media_type, b"x")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["image", "audio", "array"])
def test_every_media_type_refuses_empty_and_foreign_bodies(kind: str) -> None:
    """Neither an empty body nor one of another format passes as any of the media types."""
    decode = decoder(kind)  # type: ignore[arg-type]
    for media_type in MEDIA_TYPES[kind]:
        for body in (b"", b"\x00", b"%PDF-1.7 and so on", b"GIF89a...........", b"RIFF\x04\0\0\0AVI "):
            with pytest.raises(UndecodableInput):
                decode(media_type, body)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like_body_and_media_type_parameters_are_taken(wrap: type) -> None:
    """Parameters and capitals in the media type do not matter, nor does the kind of buffer."""
    value = decoder("array")("Application/JSON; charset=utf-8", wrap(b"[1, 2.5]"))
    assert isinstance(value, Array)
    assert value.values.tolist() == [1.0, 2.5]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".ppm", ".pgm"])
@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_pictures_tell_their_size_by_their_header(picture: NDArray[np.uint8], suffix: str, wrap: type) -> None:
    """Three numbers a pixel, told without the rest of the body."""
    body = bytes(cv2.imencode(suffix, picture if suffix != ".pgm" else picture[:, :, 0])[1])
    assert decoded_size("image", "image/any", wrap(body)) == picture.size
    start = body[: 1000 if suffix == ".jpg" else 40]
    assert decoded_size("image", "image/any", wrap(start)) == picture.size


def test_sizes_of_jpegs_with_much_before_the_frame(picture: NDArray[np.uint8]) -> None:
    """Fill bytes and long metadata are passed over; where it would take long to tell, the size is the largest."""
    body = bytes(cv2.imencode(".jpg", picture)[1])
    assert decoded_size("image", "image/jpeg", body[:2] + b"\xff\xe1\xff\xff" + bytes(65533) + body[2:]) == picture.size
    assert decoded_size("image", "image/jpeg", body[:2] + b"\xff" * 9 + body[2:]) == picture.size
    assert decoded_size("image", "image/jpeg", body[:2] + b"\xff\xfe\0\2" * 5000 + body[2:]) > 10**9


def test_sizes_of_sounds_and_arrays(as_wav: Callable[..., bytes], as_npy: Callable[[object], bytes]) -> None:
    """Samples over all channels, values, and for JSON the bytes."""
    assert decoded_size("audio", "audio/wav", as_wav(bytes(400), channels=2)) == pytest.approx(200, abs=10)
    assert decoded_size("audio", "audio/wav", as_wav(bytes(400), bits=8)) == pytest.approx(400, abs=20)
    assert decoded_size("array", "application/x-npy", as_npy(np.ones((3, 5)))) == 15
    assert decoded_size("array", "application/json", b"[1, 2]") == 6


@pytest.mark.parametrize("kind", ["image", "audio", "array"])
def test_what_has_no_header_has_no_size(kind: Kind, picture: NDArray[np.uint8]) -> None:
    """Anything cut anywhere is told as 0, or its true size, without an error."""
    bodies = [bytes(cv2.imencode(suffix, picture)[1]) for suffix in (".png", ".jpg", ".webp", ".bmp", ".ppm")]
    bodies += [b"RIFF....WAVEfmt " + bytes(40), b"\x93NUMPY\x01\0\x10\0{'descr'"]
    for body in bodies:
        for stop in range(60):
            size = decoded_size(kind, "any/type", body[:stop])
            assert size in (0, picture.size) or kind != "image" or body[:2] == b"P6"
            assert size >= 0
