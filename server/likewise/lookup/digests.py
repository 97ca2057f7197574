"""Entries by the digest of what the model sees: how an exact repeat is found without a search."""

from __future__ import annotations

from collections.abc import Iterator

from likewise.lookup.ids import IdTable

MAX_TRIED = 16
"""Entries looked at for one digest: more share its first eight bytes only where somebody made them so."""


class Digests:
    """Slots by the first eight bytes of their entries' digests; the newest first where several share them.

    12 bytes for each entry, as in `IdTable`; who looks one up compares the whole digest.
    """

    def __init__(self) -> None:
        self._newest = IdTable()
        self._older: dict[int, int] = {}  # by slot, only where several share a beginning
        self._newer: dict[int, int] = {}

    def put(self, digest: bytes, slot: int) -> None:
        """Remember the slot of an entry with a digest."""
        start = _start(digest)
        before = self._newest.get(start)
        if before >= 0:
            self._newest.pop(start)
            self._older[slot], self._newer[before] = before, slot
        self._newest.put(start, slot)

    def drop(self, digest: bytes, slot: int) -> None:
        """Forget a slot."""
        newer, older = self._newer.pop(slot, -1), self._older.pop(slot, -1)
        if older >= 0 and newer >= 0:
            self._newer[older], self._older[newer] = newer, older
        elif older >= 0:
            del self._newer[older]
        elif newer >= 0:
            del self._older[newer]
        if newer < 0:
            start = _start(digest)
            self._newest.pop(start)
            if older >= 0:
                self._newest.put(start, older)

    def slots(self, digest: bytes) -> Iterator[int]:
        """Yield the slots that may be meant, newest first; a few at most."""
        slot = self._newest.get(_start(digest))
        for _ in range(MAX_TRIED):
            if slot < 0:
                return
            yield slot
            slot = self._older.get(slot, -1)


def _start(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little", signed=True)
