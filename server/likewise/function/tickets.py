"""Tickets: what ties an insert to the lookup before it, so that probes on devices teach the server too.

The ticket of a probe holds tokens of the error budget until the device brings its result, and a device may never
bring it. So what a device may hold depends on how it kept its word: it grows by a step with each probe that it
redeems and falls to a quarter with each that it lets go (additive increase, multiplicative decrease, as in TCP). All
tickets together never hold more than a share of the budget's cap, those of devices that have not redeemed any yet a
quarter of that. A device at its limit is refused reuse, which costs the budget nothing; the next ticket that it
redeems writes off the oldest probe that it left open, and it is back.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from likewise.shares import Shares
from likewise.types import Session, Verdict

STEP = 2.0
"""Tokens more that a device may hold for each probe that it redeemed."""
AT_ONCE = 0.4
"""Part of what is left that one probe may hold, so that others may be under way at the same time."""
LEAST = 0.25
"""Fewest tokens that a device's limit falls to; what is left below half of it is nothing."""
UNPROVEN = 0.25
"""Share of what all tickets may hold that is for devices which have not redeemed a probe yet."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A verdict to compute whose result a device will bring."""

    key_type: str
    verdict: Verdict
    nearest_id: int
    """The entry that was nearest when the verdict was made, or -1."""
    expires_at: float
    """By the tickets' own clock."""
    session: Session
    proven: bool
    """Whether the device had redeemed a probe before."""
    held: float
    """Tokens that it holds; 0 where it is no probe."""


class Tickets:
    """Verdicts that wait for a device; bounded in number, in time and in the tokens that they hold."""

    def __init__(
        self,
        clock: Callable[[], float],
        abandon: Callable[[Pending], None],
        *,
        limit: int = 10_000,
        ttl_s: float = 60.0,
        share: float = 50.0,
        prefix: str = "",
    ) -> None:
        """Set up. clock: monotonic seconds; abandon: called for each ticket that is never redeemed.

        limit: tickets at once; beyond, the oldest of the account that has most of them go; ttl_s: how long one is good.
        share: tokens that all those of one account may hold together.
        prefix: what tickets begin with, so that the worker that issued one is known.
        """
        self._clock = clock
        self._abandon = abandon
        self._limit = limit
        self._ttl_s = ttl_s
        self._share = share
        self._prefix = prefix
        self._held: dict[tuple[str, bool], float] = {}  # by account, and whether the device is proven
        self._unknown = Session()  # stands for all devices that are not known
        self._pending: OrderedDict[str, Pending] = OrderedDict()
        self._shares: Shares[str] = Shares()  # the same by account

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def held(self) -> float:
        """Tokens that open tickets hold."""
        return sum(self._held.values())

    def allowance(self, session: Session | None) -> float:
        """Return how many tokens one more probe of a device may hold; 0: none, it is refused reuse."""
        session = session or self._unknown
        if not session.may_insert:
            return 0.0
        conduct = session.conduct
        account, held = session.account, self._held
        if not held:
            share = self._share if conduct.proven else UNPROVEN * self._share
            return min(AT_ONCE * conduct.limit, AT_ONCE * share)
        unproven = held.get((account, False), 0.0)
        left = self._share - unproven - held.get((account, True), 0.0)
        if not conduct.proven:
            left = min(left, UNPROVEN * self._share - unproven)
        left = AT_ONCE * min(left, conduct.limit - conduct.held)
        return left if left >= LEAST / 2 else 0.0

    def issue(self, key_type: str, verdict: Verdict, nearest_id: int, session: Session | None = None) -> str:
        """Return a new ticket for a verdict; unguessable, since it lets its bearer teach the policy."""
        self.sweep()
        session = session or self._unknown
        conduct = session.conduct
        ticket = self._prefix + secrets.token_urlsafe(12)
        held = verdict.charge
        expires_at = self._clock() + self._ttl_s
        self._shares.add(session.account, ticket)
        self._pending[ticket] = Pending(key_type, verdict, nearest_id, expires_at, session, conduct.proven, held)
        if held:
            conduct.held += held
            conduct.open.append(ticket)
            place = session.account, conduct.proven
            self._held[place] = self._held.get(place, 0.0) + held
        return ticket

    def redeem(self, ticket: str, account: str = "") -> Pending | None:
        """Return what the ticket stands for, once; None where it is unknown, used, expired or of another account.

        One who learned a ticket of somebody else, from a proxy's log for one, neither teaches nor takes it.
        """
        self.sweep()
        known = self._pending.get(ticket)
        if known is None or known.session.account != account:
            return None
        pending = self._take(ticket)
        conduct = pending.session.conduct
        if pending.held:
            self._release(ticket, pending)
            conduct.proven = True
            conduct.limit = min(self._share, conduct.limit + STEP)
        elif conduct.open and not self.allowance(pending.session):
            self._let_go(conduct.open[0])
        return pending

    def sweep(self) -> None:
        """Abandon tickets that are out of date or over the limit."""
        now = self._clock()
        while self._pending:
            ticket, pending = next(iter(self._pending.items()))
            if pending.expires_at > now:
                break
            self._let_go(ticket)
        while len(self._pending) > self._limit:  # whoever asks for many crowds out nobody else's
            self._let_go(self._shares.oldest(self._shares.greediest()))

    def _take(self, ticket: str) -> Pending:
        pending = self._pending.pop(ticket)
        self._shares.remove(pending.session.account, ticket)
        return pending

    def _let_go(self, ticket: str) -> None:
        pending = self._take(ticket)
        if pending.held:
            self._release(ticket, pending)
            conduct = pending.session.conduct
            conduct.limit = max(LEAST, conduct.limit / 4)
        self._abandon(pending)

    def _release(self, ticket: str, pending: Pending) -> None:
        conduct = pending.session.conduct
        conduct.open.remove(ticket)
        conduct.held = conduct.held - pending.held if conduct.open else 0.0
        place = pending.session.account, pending.proven
        left = self._held.pop(place, 0.0) - pending.held  # what was next to nothing is not held any more
        if left > 1e-9:
            self._held[place] = left
