"""Packed models (`.lwz`) back to the very same ONNX file, by NumPy alone.

Nothing in the file is believed: lengths, checksums and codes are checked before anything follows them, and time and
memory stay within the size that the caller allows. The server's packer has the format.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise_client._device import huffman

MAGIC = b"LWZ1"
HEAD = struct.Struct("<4sI")
MAX_HEADER = 1 << 22
SKIP = 255
"""The gap that no number follows."""
MOST_TENSORS = 4096
"""Tensors in one file: each costs time of its own, however small it is."""
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
    if len(tensors) > MOST_TENSORS:
        raise ValueError("its tensors are too many")
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
    content_of: list[_Tensor] = []
    for tensor, coding, sizes, (begin, span) in zip(tensors, codings, parts, spans):
        if begin < before or begin + span > size or tensor["width"] not in (1, 2, 4, 8):
            raise ValueError("its tensors do not fit")
        out[before:begin] = skeleton[used : used + begin - before]
        used += begin - before
        pieces = []
        for part in sizes:
            pieces.append(content[at : at + part])
            at += part
        content_of.append(_Tensor(coding, pieces, tensor["count"], tensor["width"], tensor["gaps"]))
        before = begin + span
    for found, (begin, span) in zip(_unpacked(content_of), spans):
        out[begin : begin + span] = found
    out[before:] = skeleton[used:]
    model = out.tobytes()
    if hashlib.sha256(model).hexdigest() != digest:
        raise ValueError("its digest is another")
    return model


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


class _Tensor(NamedTuple):
    coding: str
    parts: list[bytes]
    size: int
    width: int
    gaps: int

    @property
    def codebook(self) -> NDArray[np.uint8]:
        found = np.frombuffer(self.parts[0], np.uint8)
        if not len(found) or len(found) % self.width or len(found) // self.width > 256:
            raise ValueError("its codebook is none")
        return found.reshape(-1, self.width)


def _unpacked(tensors: Sequence[_Tensor]) -> Iterator[NDArray[np.uint8]]:
    """Yield the bytes of each tensor; codes are decoded together, those of what fills gaps after the gaps."""
    first: list[huffman.Coded] = []
    for each in tensors:
        if each.coding == "huffman":
            first.append(_coded(each.parts[1:4], len(each.codebook), each.size))
        elif each.coding == "sparse":
            if each.gaps > each.size:  # each stands for a number at least
                raise ValueError("its gaps are too many")
            first.append(_coded(each.parts[1:4], 256, each.gaps))
    decoded = iter(huffman.decode(first))
    symbols = [next(decoded) if each.coding in ("huffman", "sparse") else None for each in tensors]
    sparse = [(each, _places(found, each.size)) for each, found in zip(tensors, symbols) if each.coding == "sparse"]
    others = zip(
        (places for _, places in sparse),
        huffman.decode([_coded(each.parts[4:], len(each.codebook), len(places)) for each, places in sparse]),
    )
    for each, found in zip(tensors, symbols):
        if each.coding == "deflate":
            yield _inflated(each.parts[0], each.size * each.width).reshape(each.width, each.size).T.reshape(-1)
            continue
        if each.coding == "sparse":
            places, values = next(others)
            found = np.zeros(each.size, np.uint8)
            found[places] = values
        yield each.codebook[found].reshape(-1)


def _coded(parts: Sequence[bytes], alphabet: int, count: int) -> huffman.Coded:
    lengths, sizes, lanes = parts
    if len(lengths) != alphabet or len(sizes) % 2:
        raise ValueError("its code is none")
    return huffman.Coded(lanes, np.frombuffer(sizes, "<u2"), np.frombuffer(lengths, np.uint8), count)


def _places(gaps: huffman.Symbols | None, count: int) -> NDArray[np.int64]:
    """Return where the numbers behind each gap stand. Raises ValueError."""
    assert gaps is not None
    ends = gaps != SKIP
    places: NDArray[np.int64] = (np.cumsum(gaps.astype(np.int64) + ends) - 1)[ends]
    if len(places) and places[-1] >= count:
        raise ValueError("its gaps lead beyond its end")
    return places
