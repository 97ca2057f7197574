"""Leases: tokens of the ledger that are set aside for a device, so that it may answer from its own tier by itself.

A lease holds c tokens and names the probability π = 1 / (1 + c). On each would-be hit of its own tier the device
tosses a private coin: with probability π it sends the input here, as a probe, and answers with what comes back; else it
answers by itself. While a probe is under way it takes no hits of its own. A probe that is confirmed costs nothing and
the lease goes on; a probe that is contradicted, or a lease that ends in silence, spends all c tokens. So a served false
hit, with probability 1 - π, and a charge of (1 - π) / π = c, with probability π, have the same expectation, and charges
never exceed what was set aside: the ledger's martingale holds over both tiers, for devices that toss honestly.

What a device reports earns ε for each local answer into a purse of its own, from which its own leases alone are paid:
whoever invents reports loosens the promise to nobody else. So does each answer that one of its probes was given.
docs/accuracy.md has the proof.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from likewise.decision.budget import SHARED, Budget
from likewise.decision.ledger import Ledger
from likewise.errors import InvalidValue
from likewise.shares import Shares

TOGETHER = 0.8
"""Share of the tokens at hand, those that they hold included, that all leases of an account may hold together, in equal
parts: a lease of c tokens keeps c of 1 + c would-be hits from the network, so many small ones keep more than a few
large ones. The server's own would-be hits need the rest."""
LEAST = 0.5
"""Fewest tokens that are worth a lease: below, two of three would-be hits were probes."""
GROWTH = 0.5
"""Tokens by which a lease has to be able to grow before it does."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Purse:
    """What one device earned by its reports, for its own leases alone."""

    tokens: float = 0.0
    lease: Lease | None = None
    """The newest that is paid from it."""


@dataclass(slots=True, eq=False)
class Lease:
    """One device's leave to answer by itself, until it expires."""

    id: str
    """Unguessable: whoever names it speaks for the device."""
    account: str
    device: str
    ledger: Ledger
    purse: Purse
    expires_at: float = 0.0
    parts: list[float] = field(default_factory=list)
    """Tokens of the account's ledger that it holds, each as it was reserved: what comes back has to be the same."""
    lent: float = 0.0
    """Tokens of the device's own that it holds."""
    answered: int = 0
    """Would-be hits that the device says it answered by itself."""
    repeats: int = 0
    """Exact repeats that it says it answered."""
    probes: int = 0
    """Its probes that are being computed."""
    live: bool = True
    told: bool = False
    """Whether its device may know of it; until then nothing is risked by it."""

    @property
    def held(self) -> float:
        """Tokens of the account's ledger that it holds."""
        return sum(self.parts)

    @property
    def charge(self) -> float:
        """Tokens that a contradicted probe costs."""
        return self.held + self.lent

    @property
    def probability(self) -> float:
        """The least probability with which the device has to probe; 1: it answers nothing but exact repeats."""
        return 1.0 / (1.0 + self.charge)


@dataclass(slots=True)
class Claim:
    """A probe of a device that is being computed: what the device would have answered. To be settled once."""

    lease: Lease
    label: int
    """Label id of the entry that the device would have answered from, or -1: not known here any more."""
    leases: Leases = field(repr=False)
    verdict: str = ""
    """`confirmed` or `contradicted`, once that is known; `abandoned` where it never will be."""
    taken: bool = False
    """Whether somebody is bound to settle or abandon it."""
    earns: bool = True
    """Whether its answer earns for the leases of its device; not where it earns for the ledger already."""

    def settle(self, label: int) -> bool:
        """Compare with the computed label; return whether the device would have been wrong."""
        wrong = label != self.label or self.label < 0
        self._close(wrong, "contradicted" if wrong else "confirmed")
        return wrong

    def abandon(self) -> None:
        """Say that no result will come: the lease is over and its tokens are spent."""
        self._close(True, "abandoned")

    def _close(self, wrong: bool, verdict: str) -> None:
        if self.verdict:
            return
        self.verdict = verdict
        self.lease.probes -= 1
        if self.earns and verdict != "abandoned":
            self.leases.reward(self.lease)
        if wrong:
            self.leases.spend(self.lease, verdict)


class Leases:
    """The leases of one function, bounded in number, in time and in tokens.

    budget: pays for them, each from its account's ledger, at most half of whose cap all leases and open tickets hold.
    new_id: makes ids that nobody can guess.
    seconds: how long a lease goes on without a word of its device.
    grace_s: how much longer it holds its tokens here, for what is under way.
    tokens: of the account's ledger in one lease, at most. most: tokens in one lease with what its device earned.
    limit, per_account, per_device: leases at once, in all, of an account, and of a device that names itself alike.
    Raises InvalidValue.
    """

    def __init__(
        self,
        budget: Budget,
        epsilon: float,
        new_id: Callable[[], str],
        *,
        seconds: float = 60.0,
        grace_s: float = 5.0,
        tokens: float = 10.0,
        most: float = 19.0,
        limit: int = 1024,
        per_account: int = 256,
        per_device: int = 4,
    ) -> None:
        if not (0.0 < seconds < math.inf and 0.0 <= tokens <= most < math.inf and min(limit, per_account) >= 1):
            raise InvalidValue(
                f"A lease of {seconds} s with {tokens} of at most {most} tokens cannot be; see the settings of leases."
            )
        self._budget = budget
        self._epsilon = epsilon
        self._new_id = new_id
        self.seconds = seconds
        self._grace_s = grace_s
        self._tokens = tokens
        self._most = most
        self._limit, self._per_account, self._per_device = limit, per_account, per_device
        self._live: OrderedDict[str, Lease] = OrderedDict()  # the one that expires next first
        self._over: dict[str, tuple[Lease, float]] = {}  # with what their silence cost
        self._over_of: Shares[str] = Shares()
        self._of: Counter[tuple[str, str | None]] = Counter()
        self.ended: Counter[str] = Counter()
        """Leases that are over, by how they ended."""
        self.granted = self.answered = self.repeats = self.probed = 0

    def __len__(self) -> int:
        return len(self._live)

    @property
    def held(self) -> float:
        """Tokens of ledgers that leases hold."""
        return sum(lease.held for lease in self._live.values())

    def find(self, id: str, account: str) -> Lease | None:
        """Return the lease of that id, live or lately over, where it is the account's."""
        lease = self._live.get(id) or self._over.get(id, (None, 0.0))[0]
        return lease if lease is not None and lease.account == account else None

    def grant(self, account: str, device: str, now: float, before: Lease | None = None) -> Lease | None:
        """Return a new lease; None where there are as many as there may be.

        before: the device's last one, which is over: what it earned goes on. now: monotonic seconds.
        """
        self.sweep(now)
        if before is not None and before.purse.lease is not None and before.purse.lease.live:
            self.renew(before.purse.lease, now)  # requests of a device that are under way together get one lease
            return before.purse.lease
        of = self._of
        if (
            len(self._live) >= self._limit
            or of[account, None] >= self._per_account
            or of[account, device] >= self._per_device
        ):
            return None
        purse = Purse() if before is None else before.purse
        lease = Lease(self._new_id(), account, device, self._budget.ledger(account or SHARED), purse)
        purse.lease = self._live[lease.id] = lease
        of[account, None] += 1
        of[account, device] += 1
        self.granted += 1
        self.renew(lease, now)
        return lease

    def renew(self, lease: Lease, now: float) -> bool:
        """Let a live lease go on, with more tokens where there are; return whether it took some of the ledger.

        It never holds fewer than before, so whatever π the device was told before is still paid for.
        """
        lease.expires_at = now + self.seconds + self._grace_s
        self._live.move_to_end(lease.id)
        purse, before = lease.purse, lease.charge
        moved = min(purse.tokens, self._most - lease.lent)
        if moved > 0.0 and before + moved >= LEAST:
            purse.tokens -= moved
            lease.lent += moved
        while lease.parts and lease.charge - lease.parts[-1] >= max(before, self._most) - 1e-9:
            lease.ledger.release(lease.parts.pop(), deferred=True)  # its own tokens take the place of the ledger's
        return self._borrow(lease)

    def _borrow(self, lease: Lease) -> bool:
        ledger = lease.ledger
        sharers = [each.held for each in self._live.values() if each.ledger is ledger]
        held = sum(sharers)
        lendable = TOGETHER * (ledger.tokens + held)
        room = min(1.0 / ledger.deferred_floor() - 1.0, lendable - held, lendable / len(sharers) - lease.held)
        more = min(self._tokens - lease.held, room, self._most - lease.charge)
        if more < GROWTH or lease.charge + more < LEAST:
            return False
        lease.parts.append(ledger.reserve(1.0 / (1.0 + more), deferred=True))
        return True

    def report(self, lease: Lease, answered: int, repeats: int = 0) -> None:
        """Take a device's word for how many would-be hits it has answered under a lease, in all so far.

        Each earns ε for the device's own leases; saying the same again earns nothing, nor does an exact repeat.
        """
        new = max(0, answered - lease.answered)
        lease.answered += new
        self.answered += new
        self.repeats += max(0, repeats - lease.repeats)
        lease.repeats = max(lease.repeats, repeats)
        self._earn(lease.purse, self._epsilon * new)

    def reward(self, lease: Lease) -> None:
        """Account for the answer to a probe: it earns for its device's own leases, unless only reused answers earn."""
        if not lease.ledger.earns_by_hits:
            self._earn(lease.purse, self._epsilon)

    def claim(self, lease: Lease, label: int) -> Claim | None:
        """Return the claim that a device's probe makes; None where its lease is over, and was paid for already."""
        if not lease.live:
            return None
        lease.probes += 1
        self.probed += 1
        return Claim(lease, label, self)

    def spend(self, lease: Lease, how: str) -> None:
        """End a lease; its tokens are spent. One that is over stays so."""
        if lease.live:
            self._spend(lease)
            self._end(lease, how, 0.0)

    def give_back(self, lease: Lease) -> None:
        """End a lease of which the device says that none of its probes is under way or was lost.

        Where it had ended in silence, the tokens that this cost go to the device's own purse.
        """
        if not lease.live:
            _, cost = self._over.get(lease.id, (lease, 0.0))
            if cost:
                self._over[lease.id] = (lease, 0.0)
                self._earn(lease.purse, cost)
            return
        if lease.probes:
            return  # it is not true
        for part in lease.parts:
            lease.ledger.release(part, deferred=True)
        self._earn(lease.purse, lease.lent)
        self._end(lease, "returned", 0.0)

    def withdraw(self, lease: Lease) -> None:
        """End a lease of which its device was not told, such as with an answer that failed: it costs nothing."""
        if lease.live and not lease.told:
            self.give_back(lease)

    def sweep(self, now: float) -> None:
        """End the leases that nobody spoke for in time."""
        for lease in list(self._live.values()):
            if lease.expires_at > now:
                return
            if lease.probes == 0:
                self._spend(lease)
                self._end(lease, "silent", lease.charge)

    @staticmethod
    def _spend(lease: Lease) -> None:
        for part in lease.parts:
            lease.ledger.spend(part, deferred=True)

    def _earn(self, purse: Purse, tokens: float) -> None:
        purse.tokens = min(purse.tokens + tokens, self._most)

    def _end(self, lease: Lease, how: str, cost: float) -> None:
        lease.live = False
        lease.parts, lease.lent = [], 0.0
        self.ended[how] += 1
        del self._live[lease.id]
        for name in ((lease.account, None), (lease.account, lease.device)):
            self._of[name] -= 1
            if not self._of[name]:
                del self._of[name]
        self._over[lease.id] = (lease, cost)
        self._over_of.add(lease.account, lease.id)
        if len(self._over) > self._limit:
            del self._over[self._over_of.give_up()[1]]


def lease_statistics(leases: Leases | None) -> dict[str, float]:
    """Return the counters of a function's leases; None: it gives none."""
    if leases is None:
        return dict.fromkeys(_STATISTICS, 0.0)
    values = (
        len(leases),
        leases.held,
        leases.granted,
        leases.ended["contradicted"],
        leases.ended["silent"],
        leases.probed,
        leases.answered,
        leases.repeats,
    )
    return dict(zip(_STATISTICS, values, strict=True))


_STATISTICS = (
    "leases",
    "lease_tokens",
    "leases_granted",
    "leases_contradicted",
    "leases_silent",
    "lease_probes",
    "device_hits",
    "device_repeats",
)
