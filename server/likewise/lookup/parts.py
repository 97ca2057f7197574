"""The slots and keys of a moment, to be read while the index they are of goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from likewise.types import Keys, Slots


class Parts:
    """Slots and keys in parts, as often as they are read, in any thread."""

    def __init__(self, slots: Slots, keys: Callable[[int, int], Keys], chunk: int) -> None:
        """Set up. keys: returns those from one row to before another, shape (n, d). chunk: rows in a part."""
        self._slots = slots
        self._keys = keys
        self._chunk = chunk

    def __len__(self) -> int:
        """Return the number of keys, not of parts."""
        return len(self._slots)

    def __iter__(self) -> Iterator[tuple[Slots, Keys]]:
        for start in range(0, len(self._slots), self._chunk):
            end = min(start + self._chunk, len(self._slots))
            yield self._slots[start:end], self._keys(start, end)
