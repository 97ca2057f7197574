"""What the readers of all image formats check alike."""

from __future__ import annotations

from likewise.errors import TooLarge, UndecodableInput

Bytes = bytes | bytearray | memoryview


def check_dimensions(name: str, width: int, height: int, max_pixels: int) -> None:
    """Raise UndecodableInput for an image without pixels, TooLarge for one with more than max_pixels."""
    if not width or not height:
        raise UndecodableInput(f"The {name} says it is {width} x {height} pixels; send one with at least 1 x 1.")
    if width * height > max_pixels:
        raise TooLarge(
            f"The image is {width} x {height} pixels and at most {max_pixels} are taken in all; send a smaller one."
        )


def looks_like(body: bytes) -> str:
    """Return " but looks like a PNG" or the like, or nothing, to complete a message about a wrong media type."""
    if body[:4] == b"RIFF":
        return {b"WEBP": " but looks like a WebP", b"WAVE": " but looks like a WAV"}.get(
            body[8:12], " but looks like a RIFF file"
        )
    for start, name in (
        (b"\x89PNG", "a PNG"),
        (b"\xff\xd8\xff", "a JPEG"),
        (b"GIF8", "a GIF"),
        (b"BM", "a BMP"),
        (b"P6", "a PPM"),
        (b"P5", "a PGM"),
        (b"II*\0", "a TIFF"),
        (b"MM\0*", "a TIFF"),
    ):
        if body.startswith(start):
            return f" but looks like {name}"
    if body[4:8] == b"ftyp":
        return " but looks like an AVIF or HEIC"
    return ""
