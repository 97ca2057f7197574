"""Requests that are not decided yet, since the tokens that their answers would be given by are tied up in probes.

A probe holds tokens until its result is there: while others wait for the model, half of what its account has left, and
all where that is little. Where hardly any are left, hardly anything is answered but by the full model; a request is
answered sooner then, and computes less, if it waits for the probe, which goes first. So it is who spends an account's
tokens that waits for them: other accounts have their own, and those who wait have shares of the room by account, too.

Once some wait, one probe after another is taken, each by all tokens that there are: few inferences for many answers.
Several at once would each be taken by a part of them, so one of four answers would be a probe, say, instead of one of
twenty; and what has to be computed in full has to wait for all of these.

In a flood of one account some requests may leave hardly a doubt: those of devices that go on asking for what was seen
often. For them such probes leave a part of the tokens, so they rarely wait, and go ahead of the others where they do.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter

from likewise.decision.budget import Budget
from likewise.decision.ledger import AT_HAND, AT_ONCE, Ledger
from likewise.ports import Runner
from likewise.requests import Asked
from likewise.shares import Shares
from likewise.throughput import STANDING_S, TIMELY, Throughput

MOST = 256
"""Requests that wait so at once; others are computed for certain."""

AWAITED = 0.25
"""A probe that holds more than such a part of what is left is worth waiting for, where others wait already."""

ENOUGH = 0.5
"""Part of what is not set aside for those with hardly a doubt that has to be left for one more probe of the others."""

SET_ASIDE = 0.4
"""Part of an account's tokens that is set aside where the first with hardly a doubt comes while others wait."""

MOST_SET_ASIDE = 0.75
"""Part of them that is set aside at most."""

TOGETHER = 8
"""Those with hardly a doubt that are called at once: hardly any of them is probed."""

LATELY_S = 1.0
"""Seconds after the last one with hardly a doubt for which they stay set aside."""


@dataclass(slots=True, eq=False)
class Reserve:
    """What is set aside of an account's tokens for those of its requests whose neighbors leave hardly a doubt."""

    tokens: float
    until: float = 0.0
    """When it ends, by perf_counter, unless one comes before while others wait."""


@dataclass(slots=True, eq=False)
class Place:
    """That of a request that waits."""

    account: str
    since: float
    """When it came, by perf_counter."""
    near_certain: bool = False
    """Whether its neighbors leave hardly a doubt: it waits for tokens at hand, whoever waits for probes."""
    called: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done when it is its turn."""
    leaves: bool = False
    """True: it had to make room, and is to be computed for certain."""


class Holding:
    """Says who has to wait for probes to be settled, and lets them go one after another. Belongs to one event loop."""

    def __init__(self, runner: Runner, budget: Budget) -> None:
        """Set up. runner: computes the probes; budget: whose tokens they hold."""
        self._runner = runner
        self._budget = budget
        self._places: Shares[Place] = Shares()
        self._throughput = Throughput()
        self._is_looking = False
        self._reserves: dict[str, Reserve] = {}
        runner.expect_probes(lambda: len(self._places) > 0)

    @property
    def held(self) -> int:
        """Requests that wait now."""
        return len(self._places)

    def limit(self, account: str) -> float:
        """Return the tokens that one more probe of an account may hold; infinite: all, 0: its requests had better wait.

        Where nothing waits for the model, nor for probes of this account, the result of a probe is as near as any.
        Where it is finite others wait, or did a moment ago; `limit_of_near_certain` has more for who is near certain.
        """
        waiting, queued = self._places.of(account) > 0, self._runner.queued > 0
        ledger = self._budget.ledger(account)
        if (waiting or queued) and not self._runner.takes_probes(account):
            return 0.0
        if self._reserves and (set_aside := self._set_aside(account, ledger)):
            left = ledger.tokens - set_aside
            return left if left > ENOUGH * (left + ledger.held) else 0.0
        if waiting:
            return 0.0 if ledger.held > AWAITED * ledger.tokens else math.inf
        return ledger.limit_of_one if queued else math.inf

    def limit_of_near_certain(self, account: str) -> float:
        """Return what `limit` does for a request whose neighbors leave hardly a doubt, and account for it."""
        ledger = self._budget.ledger(account)
        if self._places.of(account) or self._runner.queued:
            now, reserve = perf_counter(), self._reserves.get(account)
            if reserve is None or reserve.until < now:
                reserve = self._reserves[account] = Reserve(SET_ASIDE * (ledger.tokens + ledger.held))
            else:
                reserve.tokens += ledger.epsilon
            reserve.until = now + LATELY_S
        return max(AT_HAND, AT_ONCE * ledger.tokens) if self._has_at_hand(account) else 0.0

    def _has_at_hand(self, account: str) -> bool:
        return self._budget.ledger(account).tokens >= AT_HAND and self._runner.takes_probes(account)

    def _set_aside(self, account: str, ledger: Ledger) -> float:
        """Return the tokens that are set aside now; 0: none, or so few that they are of no use."""
        reserve = self._reserves.get(account)
        if reserve is None:
            return 0.0
        if reserve.until < perf_counter():
            del self._reserves[account]
            return 0.0
        reserve.tokens = min(reserve.tokens, MOST_SET_ASIDE * (ledger.tokens + ledger.held))
        return reserve.tokens if reserve.tokens >= AT_HAND else 0.0

    def wait_s(self, account: str) -> float:
        """Return the seconds for which one more request of an account would wait here, by the pace of late."""
        if self.limit(account):
            return 0.0
        pace_s = self._throughput.pace_s(perf_counter())
        return self._places.of(account) * self._places.parties * pace_s

    def take(self, asked: Asked, near_certain: bool = False) -> Place | None:
        """Return a place to wait at. near_certain: the request's neighbors leave hardly a doubt.

        None where there is none, since no account has more of them than this one, or where it would wait for too long.
        """
        places, account = self._places, asked.account
        if self.wait_s(account) > TIMELY * min(asked.left_s, self._runner.patience_s):
            return None
        if len(places) >= MOST:
            if not places or places.of(most := places.greediest()) <= places.of(account) + 1:
                return None
            leaving = places.oldest(most)  # the last to be called where so many wait
            leaving.leaves = True
            self._call(leaving)
        now = perf_counter()
        place = Place(account, now, near_certain)
        if not places:
            self._throughput.begin(now)
        places.add(account, place)
        return place

    def wait(self, place: Place) -> None:
        """Be called again, where somebody else took the tokens first."""
        if place.called.done():
            place.called = asyncio.get_running_loop().create_future()
            self._places.add(place.account, place)

    def lets_go(self, place: Place) -> bool:
        """Say whether one that waits may be decided now."""
        if place.near_certain and self._has_at_hand(place.account):
            return True
        return place.leaves or self.limit(place.account) > 0.0

    def leave(self, place: Place) -> None:
        """Go, decided or not; the next one may be called."""
        self._places.remove(place.account, place)
        self.settled()

    def settled(self) -> None:
        """Look soon who may go: a result will have been learned from then, or is known never to come."""
        if self._places and not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Call some of those with hardly a doubt, where their account has tokens at hand, or else one of the others.

        Accounts take turns. Of an account whoever came first goes first, until that takes `STANDING_S`: then more come
        than can be answered, and the last goes first, so that some are answered soon, and not all late.
        """
        self._is_looking = False
        ahead = [
            place
            for account in self._places.accounts()
            if self._has_at_hand(account)
            for place in islice((each for each in self._places.those_of(account) if each.near_certain), TOGETHER)
        ]
        for place in ahead:
            self._call(place)
        if ahead:
            return None
        now = perf_counter()
        for account in self._places.accounts():
            if self.limit(account):
                oldest = self._places.oldest(account)
                stands = now - oldest.since > STANDING_S
                return self._call(self._places.newest(account) if stands else oldest)
        return None

    def _call(self, place: Place) -> None:
        self._places.take(place.account, place)
        self._throughput.served(perf_counter())
        if not place.called.done():
            place.called.set_result(None)
