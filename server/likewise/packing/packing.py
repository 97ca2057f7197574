"""An ONNX file packed: its weights as Huffman codes over codebooks, everything else deflated.

```text
0   4  magic "LWZ1"
4   4  length of the header, little-endian as all numbers are
8   -  the header, a JSON object
..  -  the body: the skeleton deflated (RFC 1950), then the parts of each tensor, one behind another
-4  4  CRC-32 of all before it
```

The header has `size` and `sha256` of the ONNX file, `skeleton` (bytes deflated), and `tensors`, in the order of the
file: `at` (where its bytes stand), `count`, `width` (bytes of a number), `coding`, and `parts` (bytes of each part in
the body). The skeleton is the ONNX file without those bytes, so unpacking, which is the SDK's, needs no protobuf and
gives the very same file. Codings:

- `huffman`, for at most 256 different numbers: the codebook, the lengths of the codes, the bytes of each lane (uint16),
  the lanes (`huffman.py`).
- `sparse`, where one number is by far the commonest, as zero is after pruning: the codebook, the commonest first;
  lengths, lanes' bytes and lanes of the gaps between the others; the same of the numbers behind each gap. A gap of 255
  says that no number follows yet.
- `deflate`: the bytes of all numbers by place, deflated.

Source: Han, Mao, Dally, Deep Compression, ICLR 2016, sections 2 to 4.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.inference.protobuf import BYTES, VARINT, Span, fields
from likewise.packing import huffman

SUFFIX = ".lwz"
MAGIC = b"LWZ1"
HEAD = struct.Struct("<4sI")
SKIP = 255
"""The gap that no number follows."""
MOST_SYMBOLS = 256
FEWEST = 64
"""Bytes below which a tensor stays in the skeleton."""
MOST_TENSORS = 4096
"""Tensors that are packed, the largest; more stay in the skeleton. Unpacking takes time for each."""
_WIDTHS = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Bytes of a number by TensorProto.DataType."""


def pack(model: bytes) -> bytes:
    """Return an ONNX file packed. Raises ValueError for what is no whole ONNX file."""
    view = memoryview(model)
    tensors: list[dict[str, Any]] = []
    skeleton, body, before = [], [], 0
    for (begin, end), width in _raw_data(view):
        coding, parts, gaps = _packed(np.frombuffer(view[begin:end], f"<u{width}"))
        skeleton.append(view[before:begin])
        before = end
        body += parts
        tensor = {"at": begin, "count": (end - begin) // width, "width": width, "coding": coding, "gaps": gaps}
        tensors.append({**tensor, "parts": [*map(len, parts)]})
    skeleton.append(view[before:])
    rest = zlib.compress(b"".join(skeleton), 9)
    header = {
        "size": len(model), "sha256": hashlib.sha256(model).hexdigest(), "skeleton": len(rest), "tensors": tensors,
    }  # fmt: skip
    text = json.dumps(header, separators=(",", ":")).encode()
    content = b"".join([HEAD.pack(MAGIC, len(text)), text, rest, *body])
    return content + struct.pack("<I", zlib.crc32(content))


def _raw_data(view: memoryview) -> Iterator[tuple[Span, int]]:
    """Yield where the raw data of each initializer stands that is worth packing, and the bytes of its numbers."""
    found: list[tuple[Span, int]] = []
    for number, kind, graph in fields(view, (0, len(view))):
        if (number, kind) != (7, BYTES):
            continue
        for at, wire, tensor in fields(view, graph):
            if (at, wire) != (5, BYTES):
                continue
            width, raw = 0, None
            for field, form, value in fields(view, tensor):
                if (field, form) == (2, VARINT):
                    width = _WIDTHS.get(value[0], 0)
                elif (field, form) == (9, BYTES):
                    raw = value
            if raw and width and raw[1] - raw[0] >= FEWEST and not (raw[1] - raw[0]) % width:
                found.append((raw, width))
    found.sort(key=lambda each: each[0][0] - each[0][1])
    yield from sorted(found[:MOST_TENSORS])


def _packed(numbers: NDArray[Any]) -> tuple[str, list[bytes], int]:
    """Return the coding that is shortest for these numbers, as bits, its parts, and how many gaps it has."""
    values, symbols, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    if len(values) > MOST_SYMBOLS:
        planes = numbers.view(np.uint8).reshape(-1, numbers.dtype.itemsize).T
        return "deflate", [zlib.compress(planes.tobytes(), 6)], 0
    order = np.argsort(-counts, kind="stable")  # the commonest first
    rank = np.empty(len(order), np.uint8)
    rank[order] = np.arange(len(order))
    ranked, codebook = rank[symbols.reshape(-1)], values[order].tobytes()
    dense = "huffman", [codebook, *_coded(ranked, len(values))], 0
    if len(values) == 1 or counts.max() * 2 < len(numbers):
        return dense
    gaps, others = _gaps(ranked)
    sparse = "sparse", [codebook, *_coded(gaps, 256), *_coded(others, len(values))], len(gaps)
    return min((dense, sparse), key=lambda each: sum(map(len, each[1])))


def _coded(symbols: huffman.Symbols, alphabet: int) -> list[bytes]:
    lengths = huffman.code_lengths(np.bincount(symbols, minlength=alphabet))
    lanes, sizes = huffman.encode(symbols, lengths)
    return [lengths.tobytes(), sizes.astype("<u2").tobytes(), lanes]


def _gaps(ranked: huffman.Symbols) -> tuple[huffman.Symbols, huffman.Symbols]:
    """Return how many of symbol 0 stand before each other symbol, with skips, and these symbols."""
    places = np.flatnonzero(ranked)
    gaps = np.diff(places, prepend=-1) - 1
    skips = gaps // SKIP
    ends = np.cumsum(skips + 1)
    found = np.full(int(ends[-1]), SKIP, np.uint8)
    found[ends - 1] = gaps % SKIP
    return found, ranked[places]
