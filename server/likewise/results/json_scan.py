"""The structure of a JSON text, found a window at a time without parsing it: commas, brackets, strings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW_BYTES = 1 << 15
"""Bytes looked at in one step: some tenths of a millisecond."""

_QUOTE, _BACKSLASH, _COMMA, _COLON = b'"\\,:'
_OPEN, _CLOSE = b"{}"  # and with bit 5 set, [ and ] read like these


class Marks(NamedTuple):
    """What one window holds outside of strings; both arrays have shape (n,) for n bytes."""

    window: NDArray[np.uint8]
    outside: NDArray[np.bool_]
    """True for each byte that is not inside a string."""
    depth: NDArray[np.int32]
    """How many brackets are open after each byte."""


class Scanner:
    """Reads a text window by window. It takes any bytes: what is not JSON gives some structure, and no error."""

    def __init__(self, depth: int = 0) -> None:
        """Set up. depth: brackets that are open where the text begins."""
        self._depth = depth
        self._in_string = False
        self._escaped = False  # the window before ended in a backslash that counts

    def scan(self, piece: bytes | memoryview) -> Marks:
        """Return the structure of the next bytes, at least one."""
        window = np.frombuffer(piece, np.uint8)
        quotes = window == _QUOTE
        self._unescape(window, quotes)
        inside = (np.cumsum(quotes, dtype=np.uint8) & 1).astype(np.bool_) ^ self._in_string
        self._in_string = bool(inside[-1])
        outside = ~inside
        lowered = window | 0x20
        steps = ((lowered == _OPEN) & outside).view(np.int8) - ((lowered == _CLOSE) & outside).view(np.int8)
        depth = np.cumsum(steps, dtype=np.int32) + np.int32(self._depth)
        self._depth = int(depth[-1])
        return Marks(window, outside, depth)

    def _unescape(self, window: NDArray[np.uint8], quotes: NDArray[np.bool_]) -> None:
        """Clear the quotes that a backslash takes their meaning."""
        escapes = np.flatnonzero(window == _BACKSLASH)
        carried, self._escaped = self._escaped, False
        if carried:
            quotes[0] = False
            escapes = escapes[1:] if escapes.size and escapes[0] == 0 else escapes
        if not escapes.size:
            return
        # in a run of backslashes every second one is escaped itself
        at = np.arange(len(escapes))
        begins = np.concatenate(([True], np.diff(escapes) != 1))
        escaped = escapes[(at - np.maximum.accumulate(np.where(begins, at, 0))) % 2 == 0] + 1
        self._escaped = bool(escaped[-1] == len(window))
        quotes[escaped[: len(escaped) - self._escaped]] = False


def deepest(text: bytes) -> int:
    """Return how many brackets are open at once in a JSON text."""
    scanner = Scanner()
    return max((int(scanner.scan(each).depth.max()) for each in _windows(text)), default=0)


def members(text: bytes) -> int:
    """Return how many members the objects of a JSON text have in all, repeated ones included."""
    scanner = Scanner()
    return sum(int(((each.window == _COLON) & each.outside).sum()) for each in map(scanner.scan, _windows(text)))


class Elements:
    """Finds the elements of an array in a JSON text, step by step."""

    def __init__(self, text: bytes, start: int) -> None:
        """Set up. start: the place behind the array's opening bracket."""
        self._text = memoryview(text)
        self._scanner = Scanner(1)
        self._at = start
        self._begin = start
        self.found: list[tuple[int, int]] = []
        """Begin and end of each element so far, white space included."""
        self.end = -1
        """The place of the array's closing bracket, once that was seen."""

    def step(self) -> bool:
        """Look at the next window; False once there is nothing left to find."""
        piece = self._text[self._at : self._at + WINDOW_BYTES]
        if self.end >= 0 or not len(piece):
            return False
        marks = self._scanner.scan(piece)
        closed = np.flatnonzero(marks.depth < 1)
        size = int(closed[0]) if closed.size else len(piece)
        commas = (marks.window[:size] == _COMMA) & marks.outside[:size] & (marks.depth[:size] == 1)
        for comma in (np.flatnonzero(commas) + self._at).tolist():
            self.found.append((self._begin, comma))
            self._begin = comma + 1
        if closed.size:
            self.end = self._at + size
            if self.found or self._text[self._begin : self.end].tobytes().strip():
                self.found.append((self._begin, self.end))
        self._at += len(piece)
        return True


def _windows(text: bytes) -> list[memoryview]:
    view = memoryview(text)
    return [view[at : at + WINDOW_BYTES] for at in range(0, len(text), WINDOW_BYTES)]
