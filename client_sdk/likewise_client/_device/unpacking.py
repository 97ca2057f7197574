"""Packed models (`.lwz`) back to the very same ONNX file, by NumPy alone.

Nothing in the file is believed: lengths, checksums and codes are checked before anything follows them, and time and
memory stay within the size that the caller allows. The server's packer has the format.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise_client._device import huffman

MAGIC = b"LWZ1"
HEAD = struct.Struct("<4sI")
MAX_HEADER = 1 << 22
SKIP = 255
"""The gap that no number follows."""
_PARTS = {"deflate": 1, "huffman": 4, "sparse": 7}


def unpack(content: bytes, most_bytes: int = 1 << 30) -> bytes:
    """Return the ONNX file that was packed. Raises ValueError for what is no whole one, or larger than most_bytes."""
    if len(content) < HEAD.size + 4 or content[:4] != MAGIC:
        raise ValueError("it is no packed model")
    if zlib.crc32(content[:-4]) != struct.unpack("<I", content[-4:])[0]:
        raise ValueError("its checksum is another")
    length = HEAD.unpack(content[: HEAD.size])[1]
    if length > min(MAX_HEADER, len(content) - HEAD.size - 4):
        raise ValueError("its header is cut off")
    try:
        header = json.loads(content[HEAD.size : HEAD.size + length])
        size, digest, tensors = header["size"], header["sha256"], header["tensors"]
        numbers = [
            size,
            header["skeleton"],
            *(each[name] for each in tensors for name in ("at", "count", "width", "gaps")),
        ]
        parts = [[*each["parts"]] for each in tensors]
        codings = [each["coding"] for each in tensors]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("its header is none") from error
    whole = all(
        type(number) is int and number >= 0 for number in (*numbers, *(part for each in parts for part in each))
    )
    if not whole or any(_PARTS.get(coding) != len(each) for coding, each in zip(codings, parts)):
        raise ValueError("its header has numbers or codings that cannot be")
    packed_bytes = sum(part for each in parts for part in each) + header["skeleton"]
    if size > most_bytes or packed_bytes != len(content) - HEAD.size - length - 4:
        raise ValueError(f"it has {size} bytes unpacked, over {most_bytes}, or its body is cut off")
    out = np.zeros(size, np.uint8)
    at = HEAD.size + length + header["skeleton"]
    spans = [(each["at"], each["count"] * each["width"]) for each in tensors]
    skeleton = _inflated(content[at - header["skeleton"] : at], size - sum(span for _, span in spans))
    before = used = 0
    for tensor, coding, sizes, (begin, span) in zip(tensors, codings, parts, spans):
        if begin < before or begin + span > size or tensor["width"] not in (1, 2, 4, 8):
            raise ValueError("its tensors do not fit")
        out[before:begin] = skeleton[used : used + begin - before]
        used += begin - before
        pieces = []
        for part in sizes:
            pieces.append(content[at : at + part])
            at += part
        out[begin : begin + span] = _unpacked(coding, pieces, tensor["count"], tensor["width"], tensor["gaps"])
        before = begin + span
    out[before:] = skeleton[used:]
    found = out.tobytes()
    if hashlib.sha256(found).hexdigest() != digest:
        raise ValueError("its digest is another")
    return found


def _inflated(content: bytes, size: int) -> NDArray[np.uint8]:
    if size < 0:
        raise ValueError("its tensors do not fit")
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(content, size + 1)
    except zlib.error as error:
        raise ValueError("what is deflated in it is broken") from error
    if len(found) != size or not stream.eof:
        raise ValueError("what is deflated in it has another size")
    return np.frombuffer(found, np.uint8)


def _unpacked(coding: str, parts: Sequence[bytes], count: int, width: int, gaps: int) -> NDArray[np.uint8]:
    """Return the bytes of a tensor."""
    if coding == "deflate":
        return _inflated(parts[0], count * width).reshape(width, count).T.reshape(-1)
    codebook: NDArray[Any] = np.frombuffer(parts[0], np.uint8)
    if not len(codebook) or len(codebook) % width or len(codebook) // width > 256:
        raise ValueError("its codebook is none")
    codebook = codebook.reshape(-1, width)
    if coding == "huffman":
        symbols = _decoded(parts[1:4], len(codebook), count)
    else:
        symbols = _filled(parts[1:], len(codebook), count, gaps)
    return codebook[symbols].reshape(-1)


def _decoded(parts: Sequence[bytes], alphabet: int, count: int) -> huffman.Symbols:
    lengths, sizes, lanes = parts
    if len(lengths) != alphabet or len(sizes) % 2:
        raise ValueError("its code is none")
    return huffman.decode(lanes, np.frombuffer(sizes, "<u2"), np.frombuffer(lengths, np.uint8), count)


def _filled(parts: Sequence[bytes], alphabet: int, count: int, gap_count: int) -> huffman.Symbols:
    """Return symbols of which most are 0, the others behind the gaps."""
    if gap_count > count:  # each stands for a number at least
        raise ValueError("its gaps are too many")
    gaps = _decoded(parts[:3], 256, gap_count)
    ends = gaps != SKIP
    places = (np.cumsum(gaps.astype(np.int64) + ends) - 1)[ends]
    if len(places) and places[-1] >= count:
        raise ValueError("its gaps lead beyond its end")
    symbols = np.zeros(count, np.uint8)
    symbols[places] = _decoded(parts[3:], alphabet, len(places))
    return symbols
