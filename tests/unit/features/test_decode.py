"""One decoder per function: media types, limits, clear refusals."""

from __future__ import annotations

import pytest

from likewise.errors import InvalidFunction, UndecodableInput, UnsupportedMediaType
from likewise.features.decode import MEDIA_TYPES, decoder
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
        for body in (b"", b"\x00", b"%PDF-1.7 and so on", b"GIF89a..........."):
            with pytest.raises(UndecodableInput):
                decode(media_type, body)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like_body_and_media_type_parameters_are_taken(wrap: type) -> None:
    """Parameters and capitals in the media type do not matter, nor does the kind of buffer."""
    value = decoder("array")("Application/JSON; charset=utf-8", wrap(b"[1, 2.5]"))
    assert isinstance(value, Array)
    assert value.values.tolist() == [1.0, 2.5]
