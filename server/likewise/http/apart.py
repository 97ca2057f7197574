"""A long entry in JSON, taken apart so that no step takes long: its long texts are cut out, the rest is parsed."""

from __future__ import annotations

import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from likewise.errors import InvalidValue, TooLarge
from likewise.http import wire
from likewise.http.pace import Pace
from likewise.results.json_scan import WINDOW_BYTES, Scanner

PIECE_BYTES = 1 << 17
"""Of base64, decoded at once: a quarter of a millisecond."""
_ESCAPE_BYTES = 6
"""The longest escape in a JSON text: a backslash, `u` and four digits."""
_MARK = secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Apart:
    """What is left of an entry, and what was cut out."""

    text: bytes
    """Its JSON, with a short mark in place of each long text that is a member's value."""
    outline: bytes
    """Its JSON with empty strings: nesting and numbers."""
    cut: dict[str, memoryview]
    """By mark: what stood between the quotes."""


async def taken_apart(text: memoryview, limit: int, most_text: int, pace: Pace) -> Apart:
    """Return an entry without its long texts.

    limit: bytes of structure and numbers; most_text: of that and of texts that are not cut out. Raises TooLarge.
    """
    scanner, outline, size = Scanner(), [], 0
    rest: list[bytes | memoryview] = []
    cut: dict[str, memoryview] = {}
    opened, done, outermost = -1, 0, False  # the quote before a text that reaches into the window
    for at in range(0, len(text), WINDOW_BYTES):
        marks = scanner.scan(text[at : at + WINDOW_BYTES])
        places = np.flatnonzero(marks.outside)
        outline.append(marks.window[places].tobytes())  # of a string, its closing quote
        size += len(outline[-1])
        if size > limit:
            raise TooLarge(f"An entry has over {limit} bytes of numbers and structure, the limit here; send less.")
        if opened >= 0 and places.size:
            closed = at + int(places[0])
            if outermost and closed - opened > WINDOW_BYTES:
                mark = f"{_MARK}{len(cut)}"
                cut[mark] = text[opened + 1 : closed]
                rest += (text[done : opened + 1], mark.encode())
                done = closed
            opened = -1
        if opened < 0 and not marks.outside[-1]:
            begin = int(places[-1]) + 1 if places.size else 0
            opened, outermost = at + begin, int(marks.depth[begin]) == 1
        await pace.rest()
    rest.append(text[done:])
    if sum(map(len, rest)) > most_text:
        raise TooLarge(f"An entry has over {most_text} bytes beside its input and result, the limit here; send less.")
    return Apart(b"".join(rest), b"".join(outline).replace(b'"', b'""'), cut)


async def bytes_of(text: memoryview, field: str, pace: Pace) -> bytes:
    """Return the bytes of base64 between the quotes of a JSON text. Raises InvalidValue."""
    parts: list[bytes] = []
    at, left = 0, b""
    while at < len(text):
        end = min(at + PIECE_BYTES, len(text))
        piece = bytes(text[at:end])
        if end < len(text) and (escape := piece.find(b"\\", len(piece) - _ESCAPE_BYTES)) >= 0:
            piece = piece[:escape]  # whole in the next piece
        at += len(piece)
        if b"\\" in piece:  # some writers escape / and +
            piece = str(wire.parse_json(b'"%b"' % piece)).encode()
        piece = left + piece
        whole = len(piece) // 4 * 4 if at < len(text) else len(piece)
        left = piece[whole:]
        try:
            if at < len(text) and b"=" in piece:
                raise ValueError
            parts.append(binascii.a2b_base64(piece[:whole], strict_mode=True))
        except ValueError:
            raise wire.not_base64(field) from None
        await pace.rest()
    return b"".join(parts)


def unexpected(cut: Mapping[str, memoryview]) -> InvalidValue:
    """Return the error for a long text where a short one belongs."""
    longest = max(map(len, cut.values()))
    return InvalidValue(
        f"A text of {longest} bytes stands where an entry has a short one; correct it, or leave it out."
    )
