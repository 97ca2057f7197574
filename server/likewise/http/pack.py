"""Entries as a device takes them: a JSON header and arrays in .npy, one behind the other, with a checksum.

`LIKEWISE-PACK-1`, a line feed, the length of the header as 8 hexadecimal digits, a line feed, the header (JSON), the
arrays, and the SHA-256 of all that. docs/protocol.md describes the fields; the SDK reads them, and keeps its own on
disk in the same form.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.http import wire

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
