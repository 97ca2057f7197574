"""The devices that ask: what each of them was answered last, within a bound."""

from __future__ import annotations

from collections import OrderedDict

from likewise.types import Session


class Sessions:
    """The sessions of one function's devices; the one that was heard of first is forgotten first."""

    def __init__(self, limit: int) -> None:
        """Set up. limit: devices remembered, at least 1."""
        self._limit = limit
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def session(self, device: str) -> Session:
        """Return the session of a device, a new one at its first request.

        device: any name that tells it from others; nothing depends on its being true but what its answers are worth.
        """
        session = self._sessions.get(device)
        if session is None:
            if len(self._sessions) >= self._limit:
                self._sessions.popitem(last=False)
            session = self._sessions[device] = Session()
        return session
