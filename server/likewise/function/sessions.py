"""The devices that ask a function: what each was answered last, and whose budget it spends; within a bound.

Names are free, so an account that makes up many forgets its own devices before it makes the function forget others'.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from likewise.shares import Shares
from likewise.types import Conduct, Session

T = TypeVar("T")


class Sessions:
    """The devices of one function; the one known longest, of the account that has most, is forgotten first."""

    def __init__(self, limit: int) -> None:
        """Set up. limit: devices remembered, at least 1."""
        self._sessions: _Known[Session] = _Known(limit)
        self._conduct: _Known[Conduct] = _Known(limit)

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
            holder = address.rpartition(":")[0] or device
            session = Session(-1, account, may_insert, device, self._of(account, holder))
            self._sessions.keep(name, session)
        elif session.may_insert is not may_insert:
            session.may_insert = may_insert
        return session

    def _of(self, account: str, holder: str) -> Conduct:
        conduct = self._conduct.get((account, holder))
        if conduct is None:
            conduct = Conduct()
            self._conduct.keep((account, holder), conduct)
        return conduct


class _Known(dict[tuple[str, str], T], Generic[T]):
    """What is known of devices, by account and name; bounded."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._shares: Shares[str] = Shares()

    def keep(self, name: tuple[str, str], known: T) -> None:
        self[name] = known
        self._shares.add(*name)
        if len(self) > self._limit:
            del self[self._shares.give_up()]
