"""A memory of what was met of late, bounded in number and in bytes."""

from __future__ import annotations

from typing import Generic, TypeVar

OVERHEAD_BYTES = 200
"""What an item takes beside its text, about."""

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """What was put in or asked for of late, bounded in number and in bytes: a young generation, and the one before.

    What is asked for moves to the young one; when that is full it becomes the old one, and the old one is forgotten.
    """

    def __init__(self, limit: int, max_bytes: int) -> None:
        """Set up. limit, max_bytes: of one generation."""
        self._limit = max(1, limit)
        self._max_bytes = max_bytes
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._young_bytes = self._old_bytes = 0

    def __len__(self) -> int:
        return len(self._young) + sum(1 for key in self._old if key not in self._young)

    @property
    def nbytes(self) -> int:
        """About how many bytes are taken."""
        return self._young_bytes + self._old_bytes

    def get(self, key: K, size: int) -> V | None:
        """Return a value, which counts as seen just now; size: its bytes and those of its key."""
        value = self._young.get(key)
        if value is None and (value := self._old.get(key)) is not None:
            self.put(key, value, size)
        return value

    def peek(self, key: K) -> V | None:
        """Return a value, and leave it where it is."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: K, value: V, size: int) -> None:
        """Remember a value under a key that the young generation does not have."""
        if len(self._young) >= self._limit or self._young_bytes + size + OVERHEAD_BYTES > self._max_bytes:
            self._old, self._old_bytes = self._young, self._young_bytes
            self._young, self._young_bytes = {}, 0
        self._young[key] = value
        self._young_bytes += size + OVERHEAD_BYTES
