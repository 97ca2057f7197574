"""What waits to be written: bounded, in order, and never at the cost of an invalidation."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.limits import DEFAULT_LIMITS, Limits
from likewise.records import Inserted, Invalidated, Record


class Item(NamedTuple):
    """One encoded record on its way."""

    position: int
    """Its place in this journal, counted from 1, without gaps."""
    kind: int
    """One of the codec's kinds."""
    function: str
    entry_id: int
    """The entry's id, -1 for other records."""
    expires_at: float
    frame: bytes
    again: bool = False
    """Published before, into a store that lost it."""


class Buffer:
    """Records that are appended but not yet written. Safe between the event loop and one writer thread.

    When it is full, the oldest waiting *entries* are dropped and counted: a lost entry costs one inference.
    Invalidations are never dropped, because a lost one would bring wrong results back. Should too many of them
    wait, they are merged into one per function that takes everything out, which is safe.

    max_items, max_bytes: what may wait, at least one record. max_invalidations: before they are merged.
    """

    def __init__(
        self, max_items: int, max_bytes: int, max_invalidations: int = 10_000, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        if min(max_items, max_bytes, max_invalidations) < 1:
            raise JournalError("A journal's buffer must have room for at least one record; raise its bounds.")
        self.max_items = max_items
        self._max_bytes = max_bytes
        self._max_invalidations = max_invalidations
        self._limits = limits
        self._lock = threading.Lock()
        self._kept: deque[Item] = deque()  # older than all in _items, and not to be dropped
        self._items: deque[Item] = deque()
        self.last_position = 0
        self.pending_bytes = 0
        self.dropped = 0
        self.appended = 0

    def __len__(self) -> int:
        return len(self._kept) + len(self._items)

    def append(self, record: Record, *, again: bool = False) -> bool:
        """Encode and keep a record; return True if nothing was waiting before. Raises JournalError (codec)."""
        frame = codec.encode(record, self._limits)
        entry_id, expires_at = -1, 0.0
        if isinstance(record, Inserted):
            entry_id, expires_at = record.entry.id, record.entry.expires_at
        kind = codec.kind_of(record)
        with self._lock:
            was_empty = not self._items and not self._kept
            self.last_position += 1
            self.appended += 1
            self._items.append(Item(self.last_position, kind, record.function, entry_id, expires_at, frame, again))
            self.pending_bytes += len(frame)
            if len(self._items) > self.max_items or self.pending_bytes > self._max_bytes:
                self._make_room()
        return was_empty

    def take(self, max_items: int | None = None, max_bytes: int | None = None) -> list[Item]:
        """Take out the oldest items, all of them unless bounded (then at least one, if there is one)."""
        with self._lock:
            taken: list[Item] = []
            size = 0
            for source in (self._kept, self._items):
                while source:
                    if max_items is not None and len(taken) >= max_items:
                        break
                    if max_bytes is not None and taken and size + len(source[0].frame) > max_bytes:
                        break
                    item = source.popleft()
                    size += len(item.frame)
                    taken.append(item)
            self.pending_bytes -= size
            return taken

    def put_back(self, items: Sequence[Item]) -> None:
        """Return items that could not be written to the front, where they were; some may be dropped for it."""
        with self._lock:
            self._items.extendleft(reversed(self._kept))
            self._kept.clear()
            self._items.extendleft(reversed(items))
            self.pending_bytes += sum(len(item.frame) for item in items)
            self._make_room()

    def waiting(self, function: str) -> list[Item]:
        """Return the items of one function that wait, oldest first."""
        with self._lock:
            return [item for source in (self._kept, self._items) for item in source if item.function == function]

    def _make_room(self) -> None:
        while self._items and (
            len(self._items) > self.max_items
            or (self.pending_bytes > self._max_bytes and len(self._items) + len(self._kept) > 1)
        ):
            item = self._items.popleft()
            if item.kind == codec.INVALIDATED:
                self._kept.append(item)
                if len(self._kept) > self._max_invalidations:
                    self._merge()
            else:
                self.pending_bytes -= len(item.frame)
                self.dropped += 1

    def _merge(self) -> None:
        newest: dict[str, Item] = {}
        latest: dict[str, float] = {}
        for item in self._kept:
            record = codec.decode(item.frame, self._limits)
            newest[item.function] = item
            latest[item.function] = max(
                record.at if isinstance(record, Invalidated) else 0.0, latest.get(item.function, 0.0)
            )
        merged = []
        for function, item in newest.items():
            frame = codec.encode(Invalidated(function, latest[function], everything=True), self._limits)
            merged.append(item._replace(frame=frame))
        before = sum(len(item.frame) for item in self._kept)
        self._kept = deque(sorted(merged))
        self.pending_bytes += sum(len(item.frame) for item in self._kept) - before
