"""One recorded request, and its frame: versioned, with a checksum. Nothing is ever unpickled.

A frame, little-endian throughout:

```text
0   2  magic "LC"
2   1  version: 1
3   1  kind: 1 request, 2 lost
4   4  length of the body in bytes
8   4  CRC-32 of the eight bytes before it and of the body
12  4  length of the JSON list that begins the body
16  -  the list; then, for a request, the input, the key (float32) and the result, one behind the other
```

The list of a request is `[at, took, function, device, outcome, reason, media type, key type, result's media type,
bytes of the input, numbers of the key, bytes of the result or -1]`; that of *lost* is `[at, count]`: so many requests
could not be written in time. A file is frames and nothing else, so files may be put one behind the other.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import orjson

from likewise.errors import InvalidValue
from likewise.types import Key, Result

MAGIC = b"LC"
VERSION = 1
REQUEST, LOST = 1, 2
MAX_FRAME_BYTES = 1 << 28
"""The longest frame that is read; inputs and results are bounded far below by the server."""
MAX_DIMENSION = 1 << 16

HEAD = struct.Struct("<2sBBII")
_LIST = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request and how it ended."""

    at: float
    """When it came, in seconds since the Unix epoch."""
    took_s: float
    """From then to its answer, in seconds."""
    function: str
    """`name@version`."""
    device: str
    """Who asked; in a capture of keys alone, something that stands for it."""
    outcome: str
    """Of `likewise.requests.Outcome`; empty: it was refused, or failed."""
    reason: str = ""
    media_type: str = ""
    body: bytes = b""
    """The input; empty where only its key was kept, or was all that came."""
    key_type: str = ""
    key: Key | None = None
    """Shape (d,); None where the input itself was kept."""
    result: Result | None = None
    """What was answered; None where nothing was: a lookup that found nothing, or a refusal."""


def encode(record: Recorded) -> bytes:
    """Return the frame of a request."""
    key = b"" if record.key is None else np.ascontiguousarray(record.key, "<f4").tobytes()
    result, media_type, size = b"", "", -1
    if record.result is not None:
        result, media_type, size = record.result.body, record.result.media_type, record.result.size_bytes
    facts = [record.at, record.took_s, record.function, record.device, record.outcome, record.reason, record.media_type]
    facts += [record.key_type, media_type, len(record.body), len(key) // 4, size]
    return frame(REQUEST, facts, record.body, key, result)


def encode_lost(at: float, count: int) -> bytes:
    """Return the frame that says how many requests were not kept."""
    return frame(LOST, [at, count])


def frame(kind: int, facts: list[Any], *parts: bytes) -> bytes:
    """Return a frame."""
    text = orjson.dumps(facts)
    body = b"".join((_LIST.pack(len(text)), text, *parts))
    head = HEAD.pack(MAGIC, VERSION, kind, len(body), 0)[:8]
    return b"".join((head, _LIST.pack(crc32(body, crc32(head))), body))


def body_length(content: Any, at: int) -> int:
    """Return the length of the body of the whole, undamaged frame that begins there; -1 where none does.

    content: bytes, or what can be sliced like them. Raises InvalidValue for a frame of a later version.
    """
    if at + HEAD.size > len(content):
        return -1
    magic, version, _, length, expected = HEAD.unpack_from(content, at)
    begin = at + HEAD.size
    if magic != MAGIC or length > MAX_FRAME_BYTES or begin + length > len(content):
        return -1
    if crc32(content[begin : begin + length], crc32(content[at : at + 8])) != expected:
        return -1
    if not 1 <= version <= VERSION:
        raise InvalidValue(f"it holds a frame of version {version}, and this program reads up to {VERSION}; upgrade it")
    return int(length)


def claimed_length(content: Any, at: int) -> int:
    """Return how many bytes a damaged frame claims, of those that are there: what it took to find out."""
    if at + HEAD.size > len(content):
        return 0
    return int(min(HEAD.unpack_from(content, at)[3], len(content) - at))


def decode(content: Any, at: int, length: int) -> Recorded | int:
    """Return the request of a frame, or how many were lost; at, length: as `body_length` has it.

    Raises ValueError for what `encode` cannot have written.
    """
    kind, begin = content[at + 3], at + HEAD.size
    end = begin + length
    if length < _LIST.size:
        raise ValueError("a frame is too short")
    (size,) = _LIST.unpack_from(content, begin)
    blobs = begin + _LIST.size + size
    if blobs > end:
        raise ValueError("a frame is shorter than its list")
    facts = orjson.loads(content[begin + _LIST.size : blobs])
    if not isinstance(facts, list):
        raise ValueError("a frame has no list")
    if kind == LOST:
        if len(facts) != 2 or not isinstance(facts[1], int):
            raise ValueError("a frame does not say how many were lost")
        return max(0, facts[1])
    if kind != REQUEST or len(facts) != 12:
        raise ValueError(f"a frame of kind {kind} has {len(facts)} facts")
    times, texts, sizes = facts[:2], facts[2:9], facts[9:]
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in times):
        raise ValueError("a frame has times that cannot be")
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("a frame has facts of other types")
    if not all(type(each) is int for each in sizes) or sizes[0] < 0 or not 0 <= sizes[1] <= MAX_DIMENSION:
        raise ValueError("a frame has lengths that cannot be")
    body_end = blobs + sizes[0]
    key_end = body_end + 4 * sizes[1]
    if key_end + max(0, sizes[2]) != end:
        raise ValueError("a frame has other lengths than it says")
    function, device, outcome, reason, media_type, key_type, result_type = texts
    body = bytes(content[blobs:body_end])
    key = np.frombuffer(content[body_end:key_end], "<f4").astype(np.float32) if sizes[1] else None
    result = Result(bytes(content[key_end:end]), result_type) if sizes[2] >= 0 else None
    return Recorded(
        float(times[0]), float(times[1]), function, device, outcome, reason, media_type, body, key_type, key, result
    )
