"""Entries as a device takes them: a JSON header and arrays in .npy, one behind the other, with a checksum.

`LIKEWISE-PACK-1`, a line feed, the length of the header as 8 hexadecimal digits, a line feed, the header (JSON), the
arrays, and the SHA-256 of all that. docs/protocol.md describes the fields; the SDK reads them, and keeps its own on
disk in the same form.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.function.leasing import Grant, Reach
from likewise.http import wire
from likewise.ports import Projection

MAGIC = b"LIKEWISE-PACK-1\n"
MEDIA_TYPE = "application/vnd.likewise.pack"


def packed(header: Mapping[str, object], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a pack. arrays: by name, in the order in which they are written."""
    blocks = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        blocks[name] = buffer.getvalue()
    text = wire.dumps({**header, "arrays": {name: len(block) for name, block in blocks.items()}})
    whole = b"".join((MAGIC, b"%08x\n" % len(text), text, *blocks.values()))
    return whole + sha256(whole).digest()


def packed_entries(header: Mapping[str, object], entries: Sequence[Grant], dimension: int) -> bytes:
    """Return a pack of entries whose keys have so many numbers; on any thread."""
    kinds: dict[str, int] = {}
    media_types = [kinds.setdefault(each.result.media_type, len(kinds)) for each in entries]
    bodies = [each.result.body for each in entries]
    # rounded down: no device may be told of a radius that is not safe
    radii = np.nextafter(np.array([each.reach.radius for each in entries], np.float32), np.float32(0.0))
    arrays = {
        "ids": np.array([each.id for each in entries], np.uint64),
        "keys": np.array([each.reach.key for each in entries], "<f4").reshape(-1, dimension),
        "radii": radii,
        "ttl_s": np.array([each.ttl_s for each in entries], np.float32),
        "age_s": np.array([each.age_s for each in entries], np.float32),
        "media_types": np.array(media_types, np.uint16),
        "ends": np.cumsum([len(body) for body in bodies], dtype=np.int64),
        "bodies": np.frombuffer(b"".join(bodies), np.uint8),
    }
    return packed({**header, "media_types": list(kinds)}, arrays)


def small_pack(entries: Sequence[Grant], projection: Projection | None = None) -> bytes:
    """Return a compressed pack of a few entries, at least one, for a header.

    Keys are rounded to half precision where they allow it, which compresses to little more than half, and radii are
    shortened by as much. projection: where radii are among projected keys, by which.
    """
    rounded = [each._replace(reach=_rounded(each.reach, projection)) for each in entries]
    return zlib.compress(packed_entries({}, rounded, len(entries[0].reach.key)), 6)


def _rounded(reach: Reach, projection: Projection | None) -> Reach:
    with np.errstate(over="ignore", invalid="ignore"):
        key = reach.key.astype(np.float16).astype(np.float32)
        apart = key - reach.key if projection is None else projection.one(key) - projection.one(reach.key)
    off = float(np.linalg.norm(apart))
    return Reach(key, reach.radius - off) if off < 0.05 * reach.radius else reach
