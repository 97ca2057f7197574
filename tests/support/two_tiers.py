"""Both tiers in memory: the server's ledger and leases as they are, and devices that play fair, lie, or vanish.

An honest device runs the SDK's own side of a lease. What would be answered, and whether that is wrong, is an
adversary's to say, who sees everything but the coins.
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass, field

from likewise.decision import Budget
from likewise.decision.leases import Lease as Granted
from likewise.decision.leases import Leases
from likewise_client._device.lease import Lease, Terms

EPSILON = 0.1
SLACK = 3.0
TTL_S = 20.0
RIGHT, WRONG = 1, 2


@dataclass
class Device:
    """An honest device: it tosses its coin, holds back while a probe is under way, and reports what it did."""

    name: str
    lease: Lease = field(default_factory=Lease)
    sent: int = 0
    answered: int = 0
    """Would-be hits that it answered by itself, under all its leases."""
    false: int = 0
    """False hits that its user got, from both tiers."""
    background: bool = True
    """Whether it answers first and checks afterwards, where it may."""
    checks: list[Probe] = field(default_factory=list)
    """On their way; one at most."""


@dataclass(frozen=True)
class Probe:
    """A would-be hit that goes to the server, as its headers say it."""

    lease: str
    number: int
    sent_at: float
    answered: int
    wrong: bool
    fate: str


class TwoTiers:
    """One account: a server, honest devices, and others that do what they like."""

    def __init__(self, coins: random.Random, devices: int = 3, *, reckless: bool = False, soon: float = 0.5) -> None:
        """Set up. coins: all coins of the run. reckless: devices toss no coin (broken ones).

        soon: how likely a check is settled before its device's next request.
        """
        self.soon = soon
        self.coins = coins
        self.reckless = reckless
        self.now = 0.0
        self.served = 0
        """Answers of the server to this account, which earn."""
        self.caught: list[bool] = []
        self.devices = [Device(f"honest {at}", background=at % 3 != 1) for at in range(devices)]
        self.liars: list[str] = []
        self.journal: str = ""
        self._ids = itertools.count()
        self._start()

    def _start(self) -> None:
        self.budget = Budget(1.0 - EPSILON, SLACK, 40.0)
        if self.journal:
            self.budget.ledger().restore(json.loads(self.journal))
        self.leases = Leases(
            self.budget, EPSILON, lambda: f"lease-{next(self._ids)}", seconds=TTL_S, grace_s=2.0, tokens=5.0, most=9.0
        )
        self._note()

    def _note(self) -> None:
        self.journal = json.dumps(self.budget.ledger().state())

    def restart(self) -> None:
        """Die at any moment, and come back with what was journaled."""
        self._start()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.leases.sweep(self.now)

    @property
    def bound(self) -> float:
        """What false hits of honest devices may come to in the mean: of their answers, and those of the account."""
        return SLACK + EPSILON * (self.served + sum(device.answered for device in self.devices))

    @property
    def false(self) -> int:
        """False hits of honest devices."""
        return sum(device.false for device in self.devices)

    # ── honest devices ─────────────────────────────────────────────────────────────────────────────────────

    def ask(self, at: int, wrong: bool, *, near: bool = True, fate: str = "answered") -> None:
        """Let an honest device ask for something that a near entry would answer, rightly or not.

        near: whether its own tier has the entry. fate: `answered`, or `lost`, where a request that is sent is never
        seen by the server, or `unheard`, where the answer never comes back.
        """
        device = self.devices[at % len(self.devices)]
        if self.coins.random() < self.soon:
            self._settle(device)
        lease, toss = device.lease, "ask"
        if near and lease.live(self.now):
            toss = lease.toss((lambda: 1.0) if self.reckless else self.coins.random, background=device.background)
        if toss == "answer":
            device.answered += 1
        if toss in ("answer", "check"):
            device.false += wrong
        if toss != "answer":
            device.sent += 1
        probe = Probe(lease.id, device.sent, self.now, lease.answered, wrong, fate)
        if toss == "check":
            device.checks.append(probe)
        elif toss == "probe":
            self._probe(device, probe)
        elif toss == "ask" and fate != "lost":
            idle = not lease.probing
            terms, false = self._serve(device, probe, probing=False, lost=lease.lost, idle=idle)
            if fate != "unheard":
                device.false += false
                lease.take(terms, self.now, device.sent)

    def _settle(self, device: Device) -> None:
        """Let the check that is on its way reach the server."""
        while device.checks:
            self._probe(device, device.checks.pop())

    def _probe(self, device: Device, probe: Probe) -> None:
        lease = device.lease
        terms = None
        if probe.fate != "lost":
            terms, _ = self._serve(device, probe, probing=True, lost=False, idle=False)
        if terms is None or probe.fate == "unheard":
            if lease.id == probe.lease:
                lease.end(lost=True)
            return
        if lease.id == probe.lease:
            if terms.verdict == "contradicted":
                lease.end()
            elif terms.verdict == "confirmed":
                lease.settle()
            else:
                lease.end(lost=True)
        lease.take(terms, probe.sent_at, probe.number)

    def _serve(self, device: Device, asked: Probe, *, probing: bool, lost: bool, idle: bool) -> tuple[Terms, bool]:
        """Answer a request as the server does; return what it says of the lease, and whether its answer is false."""
        id, wrong = asked.lease, asked.wrong
        last = self.leases.find(id, "") if id else None
        if last is not None:
            self.leases.report(last, asked.answered)
            if lost:
                self._spend(last)
        lease = self._open(device.name, last, idle)
        verdict, false = "", False
        if probing and lease is not None and lease.id == id:
            claim = self.leases.claim(lease, RIGHT)
            assert claim is not None
            if self.coins.random() < 0.1:  # the server's policy would have probed it as well
                claim.earns = False
                self.budget.ledger().earn()
            claim.settle(WRONG if wrong else RIGHT)
            verdict = claim.verdict
            self.served += 1  # its answer earned, for this device's leases or for all
            self.caught.append(wrong)
        elif not probing:
            false = self.reuse(wrong)
        if lease is None or not lease.live:
            return Terms(verdict=verdict, origin="0"), false
        return Terms(lease.id, lease.probability, TTL_S, "0", verdict=verdict), false

    def _open(self, name: str, last: Granted | None, idle: bool) -> Granted | None:
        self.leases.sweep(self.now)
        if last is not None and last.live:
            grew = self.leases.renew(last, self.now)
            lease: Granted | None = last
        else:
            if last is not None and idle:
                self.leases.give_back(last)
            lease = self.leases.grant("", name, self.now, last)
            grew = lease is not None and lease.held > 0.0
        if grew:
            self._note()
        return lease

    def _spend(self, lease: Granted) -> None:
        self.leases.spend(lease, "lost")

    def reuse(self, wrong: bool) -> bool:
        """Let the server decide on a would-be hit of its own; return whether a false answer was served."""
        ledger = self.budget.ledger()
        pi = max(0.02, ledger.floor())
        if pi >= 1.0:
            ledger.earn_computed()
            self.served += 1
            return False
        if self.coins.random() < pi:
            charge = ledger.reserve(pi)
            (ledger.spend if wrong else ledger.release)(charge)
            self.caught.append(wrong)
            ledger.earn()
            self.served += 1
            if wrong:
                self._note()
            return False
        ledger.earn()
        self.served += 1
        return wrong

    def close(self, at: int) -> None:
        """Let an honest device give its lease back."""
        device = self.devices[at % len(self.devices)]
        if self.coins.random() < 0.5:  # the others go while it is on its way
            self._settle(device)
        granted = self.leases.find(device.lease.id, "") if device.lease.id else None
        if granted is not None and not (device.lease.probing or device.lease.lost):
            self.leases.report(granted, device.lease.answered)
            self.leases.give_back(granted)
        device.lease.end()

    # ── others ─────────────────────────────────────────────────────────────────────────────────────────────

    def lie(self, at: int, claimed: int) -> None:
        """Let a liar take a lease, invent answers, replay its report, and get the most out of it."""
        name = f"liar {at % 2}"
        last = next((self.leases.find(id, "") for id in reversed(self.liars[-4:])), None)
        lease = self._open(name, last, True)
        if lease is None:
            return
        self.liars.append(lease.id)
        for _ in range(3):
            self.leases.report(lease, claimed)
        self.leases.renew(lease, self.now)
        if at % 3 == 0:
            self.leases.give_back(lease)
        elif at % 3 == 1:
            claim = self.leases.claim(lease, RIGHT)
            if claim is not None:
                claim.settle(RIGHT)  # it probes what it knows to be right, and nothing else

    def vanish(self, at: int) -> None:
        """Let a device take a lease and never be heard of again."""
        self._open(f"gone {at}", None, True)

    def cheat(self, at: int) -> None:
        """Let a device probe something wrong on purpose, so that its lease is contradicted."""
        lease = self._open(f"cheat {at % 2}", None, True)
        claim = None if lease is None else self.leases.claim(lease, RIGHT)
        if claim is not None:
            claim.settle(WRONG)
