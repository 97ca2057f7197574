"""Answers that clients have not read yet: bounded in all, and shared among addresses."""

from __future__ import annotations

from collections import Counter
from typing import Protocol


class Reader(Protocol):
    """A connection on which answers wait to be read."""

    def abort(self) -> None:
        """End at once."""


class Unread:
    """Bytes of answers by connection, where so many wait that no further request is taken before they are read.

    Beyond the limit, the address that has most loses the connection that has not read for longest. So a flood of small
    requests for large answers holds no more than that, and costs those who read theirs nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Set up. A single connection may have more, for one answer."""
        self._limit_bytes = limit_bytes
        self._by_share: dict[str, dict[Reader, int]] = {}
        self._bytes_of: Counter[str] = Counter()

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        return self._bytes_of.total()

    def note(self, reader: Reader, share: str, size: int) -> None:
        """Take note of what waits on a connection now, which has just read some of it, or was just sent it.

        share: what its address counts as. size: bytes; 0: nothing any more. May end other connections.
        """
        self._drop(reader, share)
        if not size:
            return
        self._by_share.setdefault(share, {})[reader] = size
        self._bytes_of[share] += size
        while self.nbytes > self._limit_bytes:
            other = self._slowest(reader)
            if other is None:
                return
            self._drop(*other)
            other[0].abort()

    def _slowest(self, spared: Reader) -> tuple[Reader, str] | None:
        """Return who has not read for longest at the address that has most, and the address; not the one spared."""
        for share, _ in self._bytes_of.most_common():
            for reader in self._by_share[share]:
                if reader is not spared:
                    return reader, share
        return None

    def _drop(self, reader: Reader, share: str) -> None:
        found = self._by_share.get(share)
        if found is None or reader not in found:
            return
        self._bytes_of[share] -= found.pop(reader)
        if not found:
            del self._by_share[share], self._bytes_of[share]
