"""Canonical Huffman codes in lanes, decoded side by side by NumPy; as the server writes them.

The code is given by its lengths alone (as in RFC 1951, section 3.2.2), none longer than 15 bits. Symbols are cut into
lanes of 1,024, each begun at a byte. Lanes of many codes are decoded together, since a step takes as long for one lane
as for a thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_BITS = 15
LANE = 1024
"""Symbols that are decoded one after another; lanes are decoded at once."""
TOGETHER, TOGETHER_BYTES = 256, 1 << 22
"""Codes that are decoded together, at 64 KiB of tables for each; and bytes of them."""

Symbols = NDArray[np.uint8]


class Coded(NamedTuple):
    """Symbols in one code."""

    content: bytes
    """The lanes, one behind another."""
    sizes: NDArray[np.uint16]
    """Bytes of each lane."""
    lengths: NDArray[np.uint8]
    """Bits of each symbol's code; 0: it has none."""
    size: int
    """Symbols."""


def decode(coded: Sequence[Coded]) -> list[Symbols]:
    """Return the symbols of each. Raises ValueError for what cannot be such lanes; takes time and memory as counts."""
    for each in coded:
        _check(each)
    found: list[Symbols] = []
    begin = nbytes = 0
    for end, each in enumerate(coded, 1):
        nbytes += len(each.content)
        if end == len(coded) or end - begin == TOGETHER or nbytes >= TOGETHER_BYTES:
            found += _decoded(coded[begin:end])
            begin, nbytes = end, 0
    return found


def _decoded(coded: Sequence[Coded]) -> list[Symbols]:
    tables = [_table(each) for each in coded]
    symbol_of = np.concatenate([symbols for symbols, _ in tables])
    length_of = np.concatenate([lengths for _, lengths in tables])
    sizes = np.concatenate([each.sizes for each in coded]).astype(np.int64)
    lanes_of = [len(each.sizes) for each in coded]
    table = np.repeat(np.arange(len(coded), dtype=np.int64) << MAX_BITS, lanes_of)
    counts = np.full(len(sizes), LANE, np.int64)
    ends = np.cumsum(lanes_of)
    for each, end in zip(coded, ends.tolist()):
        if each.size:
            counts[end - 1] = each.size - LANE * (len(each.sizes) - 1)
    order = np.argsort(-counts, kind="stable")  # those that end first come last
    bounds = np.concatenate([[0], np.cumsum(sizes)]) * 8
    at, stop, table, counts = bounds[:-1][order], bounds[1:][order], table[order], counts[order]
    data = np.frombuffer(b"".join(each.content for each in coded) + bytes(4), np.uint8).astype(np.uint32)
    words = data[:-3] << 16 | data[1:-2] << 8 | data[2:-1]  # 24 bits from each byte on
    out = np.zeros((LANE, len(sizes)), np.uint8)
    active = np.searchsorted(-counts, -np.arange(LANE), "left")  # lanes with more symbols than each step
    for step, lanes in enumerate(active.tolist()):
        if not lanes:
            break
        here = at[:lanes]
        byte: Any = np.minimum(here >> 3, len(words) - 1)
        window = (words[byte] >> (9 - (here & 7)).astype(np.uint32) & 0x7FFF) + table[:lanes]
        out[step, :lanes] = symbol_of[window]
        here += length_of[window]
    if (at > stop).any() or (stop - at >= 8).any():
        raise ValueError("its lanes are cut off")
    lanes_in_order = np.empty_like(out.T)
    lanes_in_order[order] = out.T
    return [part.reshape(-1)[: each.size] for each, part in zip(coded, np.split(lanes_in_order, ends[:-1].tolist()))]


def _check(coded: Coded) -> None:
    """Raise ValueError for what is no code, or no lanes of that many symbols, before they cost anything."""
    content, sizes, lengths, size = coded
    lanes = -(-size // LANE)
    if len(sizes) != lanes or int(sizes.astype(np.int64).sum()) != len(content):
        raise ValueError("its lanes do not fill its content")
    if not size:
        return
    used = lengths[lengths > 0].astype(np.int64)
    if len(used) == 0 or used.max() > MAX_BITS:
        raise ValueError("its code has no symbols, or longer ones than 15 bits")
    if (1 << (MAX_BITS - used)).sum() != 1 << MAX_BITS and used.tolist() != [1]:
        raise ValueError("its code is not complete")
    least, last = int(used.min()), size - LANE * (lanes - 1)
    if (8 * sizes[:-1].astype(np.int64) < LANE * least).any() or 8 * int(sizes[-1]) < last * least:
        raise ValueError("its lanes are cut off")


def _table(coded: Coded) -> tuple[Symbols, Symbols]:
    """Return the symbol and the length for each 15 bits that may come."""
    symbol_of, length_of = np.zeros(1 << MAX_BITS, np.uint8), np.full(1 << MAX_BITS, MAX_BITS + 1, np.uint8)
    lengths = coded.lengths
    used = np.flatnonzero(lengths) if coded.size else np.zeros(0, np.int64)
    ranked = used[np.argsort(lengths[used], kind="stable")]
    widths = 1 << (MAX_BITS - lengths[ranked].astype(np.int64))
    symbol_of[: widths.sum()] = np.repeat(ranked, widths)  # canonical codes ascend
    length_of[: widths.sum()] = np.repeat(lengths[ranked], widths)
    return symbol_of, length_of
