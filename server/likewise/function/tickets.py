"""Tickets: what ties an insert to the lookup before it, so that probes on devices teach the server too."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from likewise.types import Clock, Verdict


@dataclass(frozen=True, slots=True)
class Pending:
    """A verdict to compute whose result a device will bring."""

    key_type: str
    verdict: Verdict
    nearest_id: int
    """The entry that was nearest when the verdict was made, or -1."""
    expires_at: float


class Tickets:
    """Verdicts that wait for a device; bounded in number and in time, the oldest go first."""

    def __init__(
        self, clock: Clock, abandon: Callable[[Pending], None], limit: int = 10_000, ttl_s: float = 60.0
    ) -> None:
        """Set up. abandon: called for each ticket that is never redeemed."""
        self._clock = clock
        self._abandon = abandon
        self._limit = limit
        self._ttl_s = ttl_s
        self._pending: OrderedDict[str, Pending] = OrderedDict()

    def issue(self, key_type: str, verdict: Verdict, nearest_id: int) -> str:
        """Return a new ticket for a verdict; unguessable, since it lets its bearer teach the policy."""
        self.sweep()
        ticket = secrets.token_urlsafe(12)
        self._pending[ticket] = Pending(key_type, verdict, nearest_id, self._clock() + self._ttl_s)
        return ticket

    def redeem(self, ticket: str) -> Pending | None:
        """Return what the ticket stands for, once; None where it is unknown, used or expired."""
        self.sweep()
        return self._pending.pop(ticket, None)

    def sweep(self) -> None:
        """Abandon tickets that are out of date or over the limit."""
        now = self._clock()
        while self._pending:
            ticket, pending = next(iter(self._pending.items()))
            if pending.expires_at > now and len(self._pending) <= self._limit:
                return
            del self._pending[ticket]
            self._abandon(pending)
