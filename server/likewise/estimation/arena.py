"""Memory that ONNX Runtime's arena comes to hold: it grows in regions, and what was touched once stays.

The first run takes and gives back one tensor after another. From the second on, all tensors of a run lie in one block
whose plan was drawn up in the first, so that both leave their traces.
Sources: ONNX Runtime, core/framework/bfc_arena.cc and core/framework/mem_pattern_planner.h.
"""

from __future__ import annotations

from dataclasses import dataclass

from likewise.estimation.description import Description
from likewise.estimation.liveness import Step, steps

ALIGNMENT = 256
FIRST_REGION = 1 << 20
LARGEST_REGION = 1 << 30
DEAD = 128 << 20
"""Bytes of a piece that are given away with it rather than split off, the most."""


@dataclass(slots=True)
class _Piece:
    region: int
    start: int
    size: int
    used: bool = False


class Arena:
    """Pieces of regions, the best fitting one first."""

    def __init__(self) -> None:
        self._regions: list[list[_Piece]] = []
        self._touched: list[int] = []
        self._next = FIRST_REGION
        self._taken: dict[str, _Piece] = {}

    @property
    def touched(self) -> int:
        """Bytes that were ever used."""
        return sum(self._touched)

    def take(self, name: str, size: int) -> None:
        """Take a piece."""
        size = max(1, -(-size // ALIGNMENT)) * ALIGNMENT
        free = [each for pieces in self._regions for each in pieces if not each.used and each.size >= size]
        piece = min(free, key=lambda each: (each.size, each.region, each.start)) if free else self._grow(size)
        if piece.size >= 2 * size or piece.size - size >= DEAD:
            pieces = self._regions[piece.region]
            rest = _Piece(piece.region, piece.start + size, piece.size - size)
            pieces.insert(pieces.index(piece) + 1, rest)
            piece.size = size
        piece.used = True
        self._touched[piece.region] = max(self._touched[piece.region], piece.start + size)
        self._taken[name] = piece

    def give(self, name: str) -> None:
        """Give a piece back; it joins its free neighbors."""
        piece = self._taken.pop(name)
        piece.used = False
        pieces = self._regions[piece.region]
        at = next(place for place, each in enumerate(pieces) if each is piece)
        if at + 1 < len(pieces) and not pieces[at + 1].used:
            piece.size += pieces.pop(at + 1).size
        if at and not pieces[at - 1].used:
            pieces[at - 1].size += pieces.pop(at).size

    def _grow(self, size: int) -> _Piece:
        doubled = False
        while self._next < size:
            self._next = min(2 * self._next, LARGEST_REGION) if self._next < LARGEST_REGION else size
            doubled = True
        piece = _Piece(len(self._regions), 0, self._next)
        self._regions.append([piece])
        self._touched.append(0)
        if not doubled:
            self._next = min(2 * self._next, LARGEST_REGION)
        return piece


def planned(trace: list[Step]) -> int:
    """Return the bytes of the block that holds all tensors of a run: each in the tightest gap when it is taken."""
    blocks: list[tuple[int, int, str]] = []
    most = 0
    for name, size in trace:
        if size < 0:
            blocks = [each for each in blocks if each[2] != name]
            continue
        size = -(-size // 64) * 64
        best, end, tightest = None, 0, None
        for start, length, _ in blocks:
            gap = start - end
            if gap >= size and (tightest is None or gap < tightest):
                best, tightest = end, gap
            end = max(end, start + length)
        at = end if best is None else best
        blocks.append((at, size, name))
        blocks.sort()
        most = max(most, at + size)
    return most


def held(network: Description) -> int:
    """Return the bytes of tensors that stay with a process that runs a network again and again."""
    trace = list(steps(network))
    outputs = set(network.outputs)
    arena = Arena()
    for name, size in trace:
        if size >= 0:
            arena.take(name, size)
        else:
            arena.give(name)
    within = [each for each in trace if each[0] not in outputs]
    block = planned([each for each in within if not each[0].endswith(" works")])
    if block:
        arena.take("", block)
    for name, size in trace:
        if name in outputs or name.endswith(" works"):
            if size >= 0:
                arena.take(name, size)
            else:
                arena.give(name)
    return arena.touched
