"""Building an index in a background thread while the loop goes on with the one it has."""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from weakref import WeakSet

import numpy as np

from likewise.index.kernels import use_one_thread
from likewise.index.keyed import KeyedIndex
from likewise.index.parts import Parts
from likewise.priority import give_way
from likewise.types import Keys, Slots

logger = logging.getLogger(__name__)

# One build at a time in a process: builds take all that a core gives, and the loop needs the other.
_building = threading.Lock()

CHUNK = 512
"""Keys that are read and added at once; the interpreter lock is held for microseconds between two of them."""
NEARLY = 8
"""Changes that the loop itself may catch up with in one call."""

_threads: WeakSet[threading.Thread] = WeakSet()
_exiting = threading.Event()
EXIT_S = 20.0
"""Longest wait for builds when the process ends; a step of one that cannot be cut short takes seconds."""

Cancelled = Callable[[], bool]
Build = Callable[[Parts, Cancelled], KeyedIndex | None]
"""Returns an index of the keys in the parts, or None: what there is stays, or it was cancelled."""


def fill(index: KeyedIndex, parts: Iterable[tuple[Slots, Keys]], cancelled: Cancelled) -> bool:
    """Add all keys to an index; return False where that was cancelled."""
    for slots, keys in parts:
        if cancelled():
            return False
        index.add(slots, keys)
    return not cancelled()


class Move:
    """A new index on its way: filled from a snapshot, then brought up to date from a log of changes since.

    The snapshot is read when the thread comes to it, so that beginning takes no time: it may have some of the changes
    already, which are made again.

    Who begins one owns it, and either takes its target over or cancels it. The thread owns the target until `ready`,
    the loop from then on. The log is the only thing both touch, from its two ends.
    """

    def __init__(self, source: KeyedIndex, build: Build, *, background: bool, stopped: Cancelled | None = None) -> None:
        """Start at once; without background, return when the target is complete.

        stopped: says that the owner is closed, which cancels it too.
        """
        self._parts: Parts | None = source.snapshot(CHUNK)
        self._make = build
        self._log: deque[int | tuple[Slots, Keys | None]] = deque()
        self._peek = source.peek
        self._stopped = stopped
        self._target: KeyedIndex | None = None
        self._thread: threading.Thread | None = None
        self._cancelled = False
        self.ready = False
        self.failed = False
        self.rejected = False
        if background:
            self._thread = threading.Thread(target=self._run, name="likewise-index", daemon=True)
            _threads.add(self._thread)
            self._thread.start()
        else:
            self._build()

    def cancel(self) -> None:
        """Give it up: the thread ends at the next chance, and frees the place for another build."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        """True: it was given up, or its owner was closed."""
        return self._cancelled or _exiting.is_set() or (self._stopped is not None and self._stopped())

    @property
    def over(self) -> bool:
        """True: the thread will do no more, whatever came of it."""
        return self.ready or self.failed or self.rejected

    def _run(self) -> None:
        use_one_thread()
        give_way()
        try:
            with _building:
                self._build()
        except BaseException:
            logger.exception("An index could not be built; the one before it stays in use")
            self.failed = True

    def _build(self) -> None:
        parts, self._parts = self._parts, None
        assert parts is not None
        target = None if self.cancelled else self._make(parts, lambda: self.cancelled)
        del parts  # while somebody has them, a graph's memory is not given back
        while target is not None and len(self._log) > NEARLY and not self.cancelled:
            self._replay(target)
        if target is None or self.cancelled:
            if target is not None:
                target.close()
            self.rejected = True
            return
        self._target = target
        self.ready = True

    def _replay(self, target: KeyedIndex) -> None:
        noted = self._log.popleft()
        if isinstance(noted, tuple):
            slots, keys = noted
            if keys is None:
                target.remove(slots)
            else:
                target.remove(slots)  # it may have come before the snapshot was read
                target.add(slots, keys)
        elif noted < 0:
            target.remove(np.array([-1 - noted]))
        else:
            added = self._peek(noted)
            if added is not None:  # else it is gone again, as the log will say
                target.remove(np.array([noted]))
                target.add(np.array([noted]), added)

    # While a large graph is built the log grows long. Single changes are noted as one integer each: a tuple with copies
    # takes twenty times the memory, and the garbage collector stops for 40 ms to look through 100,000 of them.

    def added(self, slots: Slots, keys: Keys) -> None:
        """Note what was added to the source."""
        if len(slots) == 1:
            self._log.append(int(slots[0]))
        else:
            self._log.append((slots.copy(), keys.copy()))

    def removed(self, slots: Slots) -> None:
        """Note what was removed from the source."""
        if len(slots) == 1:
            self._log.append(-1 - int(slots[0]))
        else:
            self._log.append((slots.copy(), None))

    def finish(self) -> KeyedIndex | None:
        """Return the target once it is complete; until then catch up by a few changes, and return None."""
        if not self.ready:
            return None
        target = self._target
        assert target is not None
        for _ in range(min(NEARLY, len(self._log))):
            self._replay(target)
        return None if self._log else target

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until the thread is done, at most so long."""
        if self._thread is not None:
            self._thread.join(timeout_s)


def end_builds() -> None:
    """Give up all builds and wait until their threads are done: one that is cut off inside faiss aborts the process."""
    _exiting.set()
    deadline = monotonic() + EXIT_S
    for thread in list(_threads):
        thread.join(max(0.0, deadline - monotonic()))


atexit.register(end_builds)


def drop(index: KeyedIndex, *, background: bool) -> None:
    """Close an index that was replaced, and give its memory back."""
    index.close()
    if background:
        # freeing hundreds of megabytes takes milliseconds: not on the loop
        thread = threading.Thread(target=_empty, args=([index],), name="likewise-index-drop", daemon=True)
        _threads.add(thread)
        thread.start()
    else:
        index.discard()


def _empty(indexes: list[KeyedIndex]) -> None:
    for index in indexes:
        index.discard()
    indexes.clear()
