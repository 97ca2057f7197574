"""What workers say to each other over a socket: a JSON header and bytes, both bounded before they are read."""

from __future__ import annotations

import struct
from asyncio import StreamReader
from typing import Any

import orjson

MAX_HEADER_BYTES = 1 << 14
MAX_ANSWER_BYTES = 64 << 20
_LENGTHS = struct.Struct("<II")


def frame(header: dict[str, Any], body: bytes = b"") -> bytes:
    """Return one message: two lengths, little-endian uint32, then header and body.

    Raises ValueError for a header that nobody would read.
    """
    raw = orjson.dumps(header)
    if len(raw) > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {len(raw)} bytes is over its limit")
    return b"".join((_LENGTHS.pack(len(raw), len(body)), raw, body))


async def read_frame(reader: StreamReader, max_body_bytes: int) -> tuple[dict[str, Any], bytes]:
    """Return the next message. Raises EOFError at the end of the stream, ValueError for what is none or too large."""
    header_bytes, body_bytes = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    if header_bytes > MAX_HEADER_BYTES or body_bytes > max_body_bytes:
        raise ValueError(f"a message of {header_bytes} and {body_bytes} bytes is over its limit")
    header = orjson.loads(await reader.readexactly(header_bytes))
    if not isinstance(header, dict):
        raise ValueError("a message has no header")
    return header, await reader.readexactly(body_bytes)
