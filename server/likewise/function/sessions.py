"""The devices that ask a function: what each was answered last, and whose budget it spends; within a bound."""

from __future__ import annotations

from collections import OrderedDict

from likewise.types import Conduct, Session


class Sessions:
    """The sessions of one function's devices; the one that was heard of first is forgotten first."""

    def __init__(self, limit: int) -> None:
        """Set up. limit: devices remembered, at least 1."""
        self._limit = limit
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._conduct: OrderedDict[tuple[str, str], Conduct] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, device: str, account: str = "", may_insert: bool = True, address: str = "") -> Session:
        """Return the session of a device, a new one at its first request.

        device: any name that tells it from others of its account; nothing depends on its being true but what its
        answers are worth to itself. account, may_insert: as its access key has it. address: host and port where it
        calls from, if it did not name itself: how it redeems tickets is then remembered under the host, since its next
        connection is another device.
        """
        name = account, device
        session = self._sessions.get(name)
        if session is None:
            if len(self._sessions) >= self._limit:
                self._sessions.popitem(last=False)
            holder = address.rpartition(":")[0] or device
            session = self._sessions[name] = Session(-1, account, may_insert, device, self._of(account, holder))
        elif session.may_insert is not may_insert:
            session.may_insert = may_insert
        return session

    def _of(self, account: str, holder: str) -> Conduct:
        conduct = self._conduct.get((account, holder))
        if conduct is None:
            if len(self._conduct) >= self._limit:
                self._conduct.popitem(last=False)
            conduct = self._conduct[account, holder] = Conduct()
        return conduct
