"""Canonical Huffman codes over small alphabets, written in lanes that the SDK decodes side by side.

The code is given by its lengths alone (as in RFC 1951, section 3.2.2), none longer than 15 bits. Symbols are cut into
lanes of 1,024, each begun at a byte, so that a decoder without a compiler takes one step for all lanes at once.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

MAX_BITS = 15
LANE = 1024
"""Symbols that are decoded one after another; lanes are decoded at once."""

Symbols = NDArray[np.uint8]


def code_lengths(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the length in bits of each symbol's code, 0 for one that does not occur.

    counts: how often each occurs, shape (symbols,), at most 256.
    """
    counts = np.asarray(counts, np.int64)
    present = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.uint8)
    if len(present) == 1:
        lengths[present] = 1
        return lengths
    weights = counts[present]
    while True:
        found = _lengths(weights.tolist())
        if max(found, default=0) <= MAX_BITS:
            lengths[present] = found
            return lengths
        weights = (weights + 1) // 2  # flatter, so that the rarest come nearer


def _lengths(weights: list[int]) -> list[int]:
    heap: list[tuple[int, int, list[int]]] = [(weight, at, [at]) for at, weight in enumerate(weights)]
    heapq.heapify(heap)
    found = [0] * len(weights)
    order = len(weights)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        members = first[2] + second[2]
        for at in members:
            found[at] += 1
        heapq.heappush(heap, (first[0] + second[0], order, members))
        order += 1
    return found


def encode(symbols: Symbols, lengths: NDArray[np.uint8]) -> tuple[bytes, NDArray[np.uint16]]:
    """Return the lanes one behind another, and the bytes of each. lengths: of the code, as `code_lengths` returns."""
    table = _at_left(lengths)
    parts, sizes = [], []
    for begin in range(0, len(symbols), LANE):
        part = symbols[begin : begin + LANE]
        bits = table[part][:, None] >> np.arange(MAX_BITS - 1, -1, -1) & 1
        lane = np.packbits(bits.astype(np.uint8)[np.arange(MAX_BITS) < lengths[part][:, None]]).tobytes()
        parts.append(lane)
        sizes.append(len(lane))
    return b"".join(parts), np.array(sizes, np.uint16)


def _at_left(lengths: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return each symbol's code at the left of 15 bits: each begins where the one before it ends."""
    used = np.flatnonzero(lengths)
    used = used[np.argsort(lengths[used], kind="stable")]
    widths = 1 << (MAX_BITS - lengths[used].astype(np.int64))
    table = np.zeros(len(lengths), np.int64)
    table[used] = np.cumsum(widths) - widths
    return table
