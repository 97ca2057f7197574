"""The ledger: how much may be spent on false hits, with a theorem that holds on any stream.

Every request earns ε = 1 - accuracy target tokens. A would-be hit is computed anyway, as a probe, with a probability
π of at least 1 / (1 + tokens); a probe that finds the would-be hit wrong costs (1 - π) / π tokens. Whether it is wrong
is fixed before the coin is tossed, so a served false hit, with probability 1 - π, and a charge of (1 - π) / π, with
probability π, have the same expectation: false hits minus charges is a martingale. Tokens never fall below zero,
so charges never exceed ε·t + slack. Hence, for every t and every stream, E[false hits up to t] <= ε·t + slack, and
in any window of n requests at most cap + ε·n. docs/accuracy.md has the proof in full.

Requests in flight: a probe reserves its charge when it starts; the reservation comes back when the would-be hit proves
right, and is spent when it proves wrong or no answer ever comes. So probes in flight can never overspend together.
Tokens and reservations together never exceed the cap. A full ledger goes on earning: what it earns then writes off
reservations, as if they were spent, so that those that are never settled cannot stop it for good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from likewise.errors import UNFIT, InvalidValue

AccuracyOf = Literal["answers", "reused"]
"""What the accuracy target is a share of: all answers given, or those that were reused."""

RISK = 0.05
"""The certificate may be wrong with this probability, over all times together."""

DEFERRED_SHARE = 0.5
"""Share of the cap that probes may hold whose result somebody else has to bring, and may never bring."""

FREE = 200
"""Answers computed for certain that earn before any was reused."""

ENOUGH = 3.0
"""Tokens up to which they always earn."""

FIRST = 32
"""Requests of an account that are learned from, however many others make."""

THINNED = 8
"""Beyond its share one of so many checked ones is: so it is where the others are silent, but they outweigh it."""

AT_HAND = 3.0
"""Tokens with which most would-be hits are served: three of four."""

AT_ONCE = 0.5
"""Part of what is left that one probe holds where probes have to wait, so that hits are served meanwhile."""

_STAKES = (1 / 2, 1 / 4, 1 / 8, *(2.0 ** (-step / 2) for step in range(8, 17)))
"""Stakes of the certificate: a few large ones for young ledgers, half steps where charges may grow large."""


class Ledger:
    """Tokens of those who share one promise; see `budget` for a ledger for each access key.

    accuracy_target: in (0, 1).
    slack: tokens at the start (b0), at least 0: false hits allowed beyond ε·t.
    cap: most tokens ever held, reservations included, at least `slack`: bounds what a burst can spend.
    accuracy_of: what earns tokens: "answers", every request; would-be hits alone.
    Raises InvalidValue.
    """

    __slots__ = ("_deferred", "_largest", "_reserved", "_sums", "_written_off", "accuracy_of", "accuracy_target",
                 "cap", "computed", "counted", "earns_by_hits", "epsilon", "passed_over", "pressed", "rarest",
                 "requests", "slack", "spent", "tokens")  # fmt: skip

    def __init__(
        self, accuracy_target: float, slack: float = 3.0, cap: float = 100.0, accuracy_of: AccuracyOf = "answers"
    ) -> None:
        if not 0.0 < accuracy_target < 1.0:
            raise InvalidValue(f"The accuracy target is {accuracy_target}; give one between 0 and 1, such as 0.95.")
        if not (math.isfinite(slack) and math.isfinite(cap) and 0.0 <= slack <= cap and cap > 0.0):
            raise InvalidValue(f"The ledger's slack is {slack} and its cap {cap}; give 0 <= slack <= cap.")
        if accuracy_of not in get_args(AccuracyOf):
            raise InvalidValue(f"accuracy_of is `{accuracy_of}`; give `answers` or `reused`.")
        self.accuracy_target = accuracy_target
        self.accuracy_of = accuracy_of
        self.earns_by_hits = accuracy_of == "reused"
        """True: the policy calls `earn` for reused answers alone; False: for every answer."""
        self.epsilon = 1.0 - accuracy_target
        self.slack = slack
        self.cap = cap
        self.tokens = slack
        self.requests = 0
        """Answers that earned."""
        self.computed = 0
        """Those of them that were computed for certain."""
        self.counted = self.passed_over = 0
        """Requests that the policy took its evidence from, and did not lately; its own business."""
        self.pressed = 1.0
        """Price of its tokens as a multiple of the others', where there are rungs beyond the neighbors."""
        self.spent = 0.0
        self._reserved = 0.0  # what probes in flight hold of the tokens
        self._written_off = 0.0  # what they held until a full ledger earned on
        self._deferred = 0.0  # charges of those whose result somebody else has to bring
        self.rarest = 1.0
        """Smallest probability that `expose` was told of; what is not below it need not be told."""
        self._largest = 0.0  # largest charge that any would-be hit was ever exposed to, probed or not
        self._sums = [0.0] * len(_STAKES)  # for each stake x: Σ ln(1 - x·charge) over detected or unsettled probes

    def earn(self) -> float:
        """Account for an answer that was reused, or computed by a probe; return the tokens at hand."""
        self.requests += 1
        self.tokens = tokens = self.tokens + self.epsilon
        if tokens + self._reserved > self.cap:
            written_off = min(tokens + self._reserved - self.cap, self._reserved)
            self._reserved -= written_off
            self._written_off += written_off
            self.tokens = tokens = min(tokens, self.cap)
        return tokens

    def relax(self, epsilon: float) -> None:
        """Let requests earn so many tokens from now on; what was earned at a larger rate counts for less then.

        False answers stay within what all requests earned, plus `slack`, whatever each of them did.
        """
        if epsilon < self.epsilon:
            self.tokens *= epsilon / self.epsilon
        self.epsilon = epsilon

    def earn_computed(self) -> float:
        """Account for an answer that was computed for certain; return the tokens at hand.

        Such answers risk nothing. So that nobody buys tokens with them at will, they earn at most as much as the others
        did, after `FREE` of them; beyond, only up to `ENOUGH` tokens, so that reuse always begins again.
        """
        if 2 * self.computed > FREE + self.requests and self.tokens >= ENOUGH:
            return self.tokens
        self.computed += 1
        return self.earn()

    def counts(self, share: float, checked: bool) -> bool:
        """Say whether one more request of this account is to be learned from, and count it.

        share: requests that it may have given so far, besides the `FIRST`; beyond, one of `THINNED` counts.
        checked: whether it was computed; beyond the share, no others count.
        """
        if self.counted > share + FIRST:
            self.passed_over += checked
            if not checked or self.passed_over < THINNED:
                return False
            self.passed_over = 0
        self.counted += 1
        return True

    @property
    def reserved(self) -> float:
        """Tokens that probes in flight hold."""
        return self._reserved

    @property
    def held(self) -> float:
        """Tokens that probes hold which are computed here."""
        return self._reserved - self._deferred

    @property
    def limit_of_one(self) -> float:
        """The tokens that one more probe should hold where it has to wait to be computed here: a part of them.

        Infinite: all that are left, since a part would serve hardly a hit; 0: none, since probes that are computed
        here hold most of them, and few are left.
        """
        tokens = self.tokens
        if AT_ONCE * tokens >= AT_HAND:
            return AT_ONCE * tokens
        return 0.0 if tokens < AT_HAND and self.held > tokens else math.inf

    def floor(self) -> float:
        """Return the least probability with which a would-be hit may be probed now: 1 / (1 + tokens)."""
        return 1.0 / (1.0 + self.tokens)

    def deferred_floor(self) -> float:
        """Return the least probability of a probe that somebody else computes, 1: no such probe may be taken now.

        Such probes together hold at most `DEFERRED_SHARE` of the cap.
        """
        return 1.0 / (1.0 + max(0.0, min(self.tokens, DEFERRED_SHARE * self.cap - self._deferred)))

    def expose(self, probability: float) -> None:
        """Note that a would-be hit is probed with `probability`, before the coin (what the certificate needs)."""
        charge = (1.0 - probability) / probability
        if charge > self._largest:
            self._largest = charge
            self.rarest = probability

    def reserve(self, probability: float, deferred: bool = False) -> float:
        """Set tokens aside for a probe that starts, and return how many: (1 - π) / π.

        deferred: somebody else has to bring the result; say so again when it is settled.
        Raises InvalidValue for a probability below `floor()`, or `deferred_floor()`.
        """
        charge = (1.0 - probability) / probability
        room = min(self.tokens, DEFERRED_SHARE * self.cap - self._deferred) if deferred else self.tokens
        if charge > room:
            if charge > room * (1.0 + 1e-9) + 1e-12:
                raise InvalidValue(f"A probe at probability {probability} costs more than {room} tokens.")
            charge = max(0.0, room)  # rounding alone
        self.tokens -= charge
        self._reserved += charge
        if deferred:
            self._deferred += charge
        self._book(charge, 1.0)
        return charge

    def release(self, charge: float, deferred: bool = False) -> None:
        """Give a reservation back, but for what was written off: the probe found the would-be hit right."""
        written_off = min(charge, self._written_off)
        self._written_off -= written_off
        back = min(charge - written_off, self._reserved)
        self._reserved -= back
        self.tokens += back
        self.spent += written_off
        self._settle(charge, deferred)
        self._book(charge, -1.0)

    def spend(self, charge: float, deferred: bool = False) -> None:
        """Keep a reservation: the probe found the would-be hit wrong, or no answer will ever come."""
        held = min(charge, self._reserved)
        self._reserved -= held
        self._written_off = max(0.0, self._written_off - (charge - held))
        self.spent += charge
        self._settle(charge, deferred)

    def _settle(self, charge: float, deferred: bool) -> None:
        if deferred:
            self._deferred = max(0.0, self._deferred - charge)

    def _book(self, charge: float, sign: float) -> None:
        for position, stake in enumerate(_STAKES):
            product = stake * charge
            if product < 1.0:
                self._sums[position] += sign * math.log1p(-product)

    def absorb(self, other: Ledger) -> None:
        """Add what another ledger spent or holds to what this one did, for the certificate; its tokens are lost."""
        self.spent += other.spent + other._reserved + other._written_off
        self.requests += other.requests
        self.computed += other.computed
        self._largest = max(self._largest, other._largest)
        self._sums = [mine + theirs for mine, theirs in zip(self._sums, other._sums, strict=True)]

    def bound(self, risk: float = RISK) -> float:
        """Return a number that false hits so far do not exceed, at all times at once with probability 1 - `risk`."""
        return bound((self,), risk)

    def state(self) -> dict[str, Any]:
        """Return the ledger, JSON-able. Probes in flight count as spent: after a restart no answer will come."""
        return {
            "tokens": self.tokens,
            "requests": self.requests,
            "computed": self.computed,
            "spent": self.spent + self._reserved + self._written_off,
            "largest": self._largest,
            "sums": list(self._sums),
            "epsilon": self.epsilon,
            "accuracy_of": self.accuracy_of,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state; one that saw fewer requests than this ledger is ignored (a sharer restored a newer one).

        Tokens that were earned at a larger ε count for less, in proportion; those that were earned by something else
        than here, or by who knows what, for no more than a start.
        Raises InvalidValue if it is not a ledger's state.
        """
        try:
            requests, tokens = int(state["requests"]), float(state["tokens"])
            computed = int(state.get("computed", requests // 2))
            spent, largest = float(state["spent"]), float(state["largest"])
            sums = [float(total) for total in state["sums"]]
            epsilon = float(state.get("epsilon", 0.0))
        except UNFIT as error:
            raise InvalidValue(f"The ledger's state is unusable ({error!r}); start without it.") from error
        if not (
            0 <= computed <= requests
            and 0.0 <= tokens < math.inf
            and 0.0 <= spent < math.inf
            and 0.0 <= largest < math.inf
            and 0.0 <= epsilon < 1.0
            and len(sums) == len(self._sums)
            and all(math.isfinite(total) and total <= 1e-9 for total in sums)
        ):
            raise InvalidValue("The ledger's state has numbers out of range; start without it.")
        if requests < self.requests:
            return
        if not epsilon or state.get("accuracy_of") != self.accuracy_of:
            tokens = min(tokens, self.slack)
        elif epsilon > self.epsilon:
            tokens *= self.epsilon / epsilon
        self.computed = computed
        self.requests, self.spent, self._largest, self._sums = requests, spent, largest, sums
        self.rarest = 1.0 / (1.0 + largest)
        self.tokens = min(tokens, self.cap)
        self._reserved = self._written_off = self._deferred = 0.0


def bound(ledgers: Sequence[Ledger], risk: float = RISK) -> float:
    """Return a number that the false hits under all these ledgers together do not exceed.

    It holds at all times at once with probability 1 - `risk`.
    For a stake x with x·charge < 1 at every coin so far, the product of 1 + x for a served false hit and
    1 - x·charge for a detected one is a nonnegative martingale that starts at 1; so is the mean over a fixed grid
    of stakes, where a stake that grew too bold counts as zero. By Ville's inequality it ever exceeds 1 / `risk`
    with probability at most `risk`; the answer is the largest number of false hits for which it does not.
    Probes without an answer count as detected. A product equal to 1 is allowed only if no such charge was met.
    """
    largest: float = max((ledger._largest for ledger in ledgers), default=0.0)
    if largest == 0.0:
        return 0.0
    totals: list[float] = [sum(sums) for sums in zip(*(ledger._sums for ledger in ledgers), strict=True)]
    alive = [(math.log1p(stake), total) for stake, total in zip(_STAKES, totals, strict=True) if stake * largest < 1.0]
    if not alive:
        return math.inf
    budget = math.log(len(_STAKES) / risk)
    low, high = 0.0, min((budget - total) / gain for gain, total in alive)
    for _ in range(60):
        middle = 0.5 * (low + high)
        powers = [middle * gain + total for gain, total in alive]
        top = max(powers)
        if top + math.log(sum(math.exp(power - top) for power in powers)) <= budget:
            low = middle
        else:
            high = middle
    return high
