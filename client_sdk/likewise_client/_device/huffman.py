"""Canonical Huffman codes in lanes, decoded side by side by NumPy; as the server writes them.

The code is given by its lengths alone (as in RFC 1951, section 3.2.2), none longer than 15 bits. Symbols are cut into
lanes of 1,024, each begun at a byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BITS = 15
LANE = 1024
"""Symbols that are decoded one after another; lanes are decoded at once."""

Symbols = NDArray[np.uint8]


def codes(lengths: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return each symbol's code, its first bit the highest. Raises ValueError for lengths that are no whole code."""
    used = np.flatnonzero(lengths)
    if len(used) == 0 or lengths.max() > MAX_BITS:
        raise ValueError("its code has no symbols, or longer ones than 15 bits")
    kraft = int((1 << (MAX_BITS - lengths[used].astype(np.int64))).sum())
    if kraft != 1 << MAX_BITS and not (len(used) == 1 and lengths[used[0]] == 1):
        raise ValueError("its code is not complete")
    found = np.zeros(len(lengths), np.uint32)
    code = before = 0
    for symbol in sorted(used.tolist(), key=lambda each: (int(lengths[each]), each)):
        code <<= int(lengths[symbol]) - before
        before = int(lengths[symbol])
        found[symbol] = code
        code += 1
    return found


def decode(content: bytes, sizes: NDArray[np.uint16], lengths: NDArray[np.uint8], count: int) -> Symbols:
    """Return the symbols of lanes. Raises ValueError for what cannot be such lanes; takes time and memory as count."""
    lanes = -(-count // LANE)
    if len(sizes) != lanes or int(sizes.astype(np.int64).sum()) != len(content):
        raise ValueError("its lanes do not fill its content")
    if not count:
        return np.zeros(0, np.uint8)
    symbol_of, length_of = _table(lengths)
    last = count - LANE * (lanes - 1)
    least = int(lengths[lengths > 0].min())
    if (8 * sizes[:-1].astype(np.int64) < LANE * least).any() or 8 * int(sizes[-1]) < last * least:
        raise ValueError("its lanes are cut off")  # before they cost anything
    begins = np.concatenate([[0], np.cumsum(sizes.astype(np.int64))])
    data = np.frombuffer(content + bytes(4), np.uint8).astype(np.uint32)
    words = data[:-3] << 16 | data[1:-2] << 8 | data[2:-1]  # 24 bits from each byte on
    at = begins[:-1] * 8
    end = begins[1:] * 8
    out = np.zeros((LANE, lanes), np.uint8)
    for step in range(LANE if lanes > 1 else last):
        byte: Any = np.minimum(at >> 3, len(words) - 1)
        window = words[byte] >> (9 - (at & 7)).astype(np.uint32) & 0x7FFF
        out[step] = symbol_of[window]
        if step < last:
            at = at + length_of[window]
        else:
            at[:-1] = at[:-1] + length_of[window[:-1]]
    if (at > end).any() or (end - at >= 8).any():
        raise ValueError("its lanes are cut off")
    return out.T.reshape(-1)[:count]


def _table(lengths: NDArray[np.uint8]) -> tuple[Symbols, NDArray[np.int64]]:
    """Return the symbol and the length for each 15 bits that may come."""
    symbol_of, length_of = np.zeros(1 << MAX_BITS, np.uint8), np.full(1 << MAX_BITS, MAX_BITS + 1, np.int64)
    table = codes(lengths)
    for symbol in np.flatnonzero(lengths):
        free = MAX_BITS - int(lengths[symbol])
        begin = int(table[symbol]) << free
        symbol_of[begin : begin + (1 << free)] = symbol
        length_of[begin : begin + (1 << free)] = lengths[symbol]
    return symbol_of, length_of
