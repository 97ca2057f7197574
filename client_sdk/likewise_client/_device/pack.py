"""Entries in one file: a JSON header and arrays in .npy, with a checksum; what a server sends and a device keeps.

`LIKEWISE-PACK-1`, a line feed, the length of the header as 8 hexadecimal digits, a line feed, the header (JSON), the
arrays, and the SHA-256 of all that. Nothing in it is ever executed, and everything is checked before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise_client._wire import decode_npy, encode_npy

MAGIC = b"LIKEWISE-PACK-1\n"
MOST_NUMBERS = 1e15
_HEAD = len(MAGIC) + 9
_DTYPES = {
    "ids": "uint64",
    "keys": "float32",
    "radii": "float32",
    "ttl_s": "float32",
    "age_s": "float32",
    "media_types": "uint16",
    "ends": "int64",
    "bodies": "uint8",
}


@dataclass(frozen=True)
class Packed:
    """One entry of a pack."""

    entry: str
    """16 hexadecimal digits."""
    key: NDArray[np.float32]
    radius: float
    body: bytes
    media_type: str
    ttl_s: float
    age_s: float


def read_pack(content: bytes) -> tuple[dict[str, Any], list[Packed]]:
    """Return header and entries. Raises ValueError for anything that is no pack, or is damaged."""
    header, arrays = _parts(content)
    media_types = header.get("media_types")
    if not isinstance(media_types, list) or not all(isinstance(each, str) for each in media_types):
        raise ValueError("media_types is no list of texts")
    count = len(arrays["ids"])
    for name, dtype in _DTYPES.items():
        array = arrays[name]
        if array.dtype != np.dtype(dtype) or array.ndim != (2 if name == "keys" else 1):
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
        if name != "bodies" and len(array) != count:
            raise ValueError(f"{name} has {len(array)} rows, there are {count} entries")
    keys, radii, ends = arrays["keys"], arrays["radii"], arrays["ends"]
    finite = bool((np.abs(keys) < MOST_NUMBERS).all()) and bool((radii >= 0.0).all()) and bool(np.isfinite(radii).all())
    starts = np.concatenate(([0], ends))[:count]
    whole = int(ends[-1]) if count else 0
    if not finite or whole != len(arrays["bodies"]) or bool((ends < starts).any()):
        raise ValueError("numbers that cannot be")
    if count and int(arrays["media_types"].max()) >= len(media_types):
        raise ValueError("an entry of a media type that is not listed")
    bodies = arrays["bodies"].tobytes()
    return header, [
        Packed(
            f"{int(arrays['ids'][row]):016x}",
            np.ascontiguousarray(keys[row]),
            float(radii[row]),
            bodies[int(starts[row]) : int(ends[row])],
            media_types[int(arrays["media_types"][row])],
            _seconds(arrays["ttl_s"][row]),
            _seconds(arrays["age_s"][row]),
        )
        for row in range(count)
    ]


def write_pack(header: Mapping[str, Any], entries: list[Packed], dimension: int) -> bytes:
    """Return a pack of entries whose keys have so many numbers."""
    media_types = sorted({each.media_type for each in entries})
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.array([int(each.entry, 16) for each in entries], np.uint64),
        "keys": np.array([each.key for each in entries], np.float32).reshape(-1, dimension),
        "radii": np.array([each.radius for each in entries], np.float32),
        "ttl_s": np.array([each.ttl_s for each in entries], np.float32),
        "age_s": np.array([each.age_s for each in entries], np.float32),
        "media_types": np.array([media_types.index(each.media_type) for each in entries], np.uint16),
        "ends": np.cumsum([len(each.body) for each in entries], dtype=np.int64),
        "bodies": np.frombuffer(b"".join(each.body for each in entries), np.uint8),
    }
    blocks = {name: encode_npy(array) for name, array in arrays.items()}
    lengths = {name: len(block) for name, block in blocks.items()}
    text = json.dumps({**header, "media_types": media_types, "arrays": lengths}).encode()
    content = b"".join((MAGIC, b"%08x\n" % len(text), text, *blocks.values()))
    return content + sha256(content).digest()


def _parts(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    if not content.startswith(MAGIC) or len(content) < _HEAD + 32:
        raise ValueError("it does not begin like a pack")
    if sha256(content[:-32]).digest() != content[-32:]:
        raise ValueError("its checksum does not fit")
    at = _HEAD + int(content[len(MAGIC) : _HEAD], 16)
    header = json.loads(content[_HEAD:at])
    lengths = header.get("arrays") if isinstance(header, dict) else None
    if not isinstance(lengths, dict) or not lengths.keys() >= _DTYPES.keys():
        raise ValueError("arrays are missing")
    arrays: dict[str, NDArray[Any]] = {}
    for name, length in lengths.items():
        if not isinstance(length, int) or not 0 <= length <= len(content):
            raise ValueError(f"the length of {name} is {length!r}")
        if name in _DTYPES:
            try:
                arrays[name] = decode_npy(content[at : at + length])
            except Exception as error:  # what NumPy's reader of headers raises is no closed list
                raise ValueError(f"{name} is no array: {error!r}") from error
        at += length
    if at != len(content) - 32:
        raise ValueError("its arrays do not fill it")
    return header, arrays


def _seconds(value: Any) -> float:
    return max(0.0, float(value)) if value == value else 0.0
