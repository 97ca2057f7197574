"""The nearest entries of one signature, among others."""

from __future__ import annotations

from likewise.index.keyed import KeyedIndex
from likewise.types import Key

MAX_FETCHED = 1024
"""Nearest entries among which those of one signature are looked for."""


def search_filtered(
    index: KeyedIndex, key: Key, k: int, numbers: memoryview[int], wanted: int
) -> tuple[list[float], list[int]]:
    """Return (l2_sq, slots) of the at most k nearest whose number is `wanted`, nearest first.

    numbers: by slot. Looks at ever more of the nearest, up to `MAX_FETCHED`, until there are k.
    """
    fetched = k
    while True:
        l2_sq, slots = index.search_one(key, fetched)
        near = [(each, slot) for each, slot in zip(l2_sq, slots, strict=True) if numbers[slot] == wanted][:k]
        if len(near) == k or len(slots) < fetched or fetched >= MAX_FETCHED:
            return [each for each, _ in near], [slot for _, slot in near]
        fetched = min(4 * fetched, max(k, MAX_FETCHED))
