"""Frames on their way from the thread that reads to the thread that sends."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Handoff(Generic[T]):
    """A queue between two threads, full at `size` items.

    latest: whether a new item takes the place of the oldest where it is full, as for a camera, whose late frames
    nobody wants; else `put` waits, as for a file, of which every frame is sent.
    """

    def __init__(self, size: int, latest: bool) -> None:
        self._items: deque[T] = deque()
        self._size = size
        self.latest = latest
        """Whether late items are dropped."""
        self._changed = threading.Condition()
        self._ended = False
        self._stopped = False
        self.replaced = 0
        """Items that a newer one took the place of."""

    def put(self, item: T) -> bool:
        """Hand an item over; return False where nobody will take it any more."""
        with self._changed:
            if self.latest:
                while len(self._items) >= self._size:
                    self._items.popleft()
                    self.replaced += 1
            else:
                self._changed.wait_for(lambda: len(self._items) < self._size or self._stopped)
            if self._stopped:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self) -> T | None:
        """Return the next item, waiting for it; None after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended or self._stopped)
            if self._stopped or not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def newer(self) -> bool:
        """Return whether an item waits that makes the one under way a late one."""
        with self._changed:
            return self.latest and bool(self._items)

    def end(self) -> None:
        """Say that nothing more comes; what is there is still taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Wake both sides and hand nothing over any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
