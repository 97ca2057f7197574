"""What was taken out of a function, numbered, so that devices that keep copies learn of it."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

KEPT = 256
"""Changes remembered; a device that missed more starts over."""
MOST_IDS = 64
"""Entries in one change; more count as all."""


@dataclass(frozen=True, slots=True)
class Change:
    """Entries that are not to be reused any more."""

    number: int
    ids: tuple[int, ...]
    """Empty: all of them."""


class Changes:
    """The log of one function in one process; another process, or the next one, has a log of its own."""

    def __init__(self) -> None:
        self.origin = secrets.token_hex(4)
        """Names this log among those of other processes."""
        self._number = 0
        self._log: deque[Change] = deque(maxlen=KEPT)
        self.listeners: set[Callable[[Change], None]] = set()
        """Called at each change; they have to be quick and must not raise."""

    @property
    def version(self) -> str:
        """Names the state that the function is in: `ORIGIN.NUMBER`."""
        return f"{self.origin}.{self._number}"

    def note(self, ids: tuple[int, ...]) -> None:
        """Take down that entries are gone; empty: all, or nobody knows which."""
        self._number += 1
        change = Change(self._number, ids if len(ids) <= MOST_IDS else ())
        self._log.append(change)
        for listener in list(self.listeners):
            listener(change)

    def since(self, version: str) -> tuple[int, ...] | None:
        """Return the ids that went since a version; None: too many, all of them, or who knows: start over."""
        origin, _, text = version.partition(".")
        if origin != self.origin or not (text.isascii() and text.isdecimal() and len(text) <= 15):
            return None
        missed = self._number - int(text)
        if not 0 <= missed <= len(self._log):
            return None
        ids: list[int] = []
        for change in list(self._log)[len(self._log) - missed :]:
            if not change.ids or len(ids) > MOST_IDS:
                return None
            ids += change.ids
        return tuple(dict.fromkeys(ids))
