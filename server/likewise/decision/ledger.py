"""The ledger: how much may be spent on false hits, with a theorem that holds on any stream.

Every request earns ε = 1 - accuracy target tokens. A would-be hit is computed anyway, as a probe, with a probability
π of at least 1 / (1 + tokens); a probe that finds the would-be hit wrong costs (1 - π) / π tokens. Whether it is wrong
is fixed before the coin is tossed, so a served false hit, with probability 1 - π, and a charge of (1 - π) / π, with
probability π, have the same expectation: false hits minus charges is a martingale. Tokens never fall below zero,
so charges never exceed ε·t + slack. Hence, for every t and every stream, E[false hits up to t] <= ε·t + slack, and
in any window of n requests at most cap + ε·n. docs/accuracy.md has the proof in full.

Requests in flight: a probe reserves its charge when it starts; the reservation comes back when the would-be hit proves
right, and is spent when it proves wrong or no answer ever comes. So probes in flight can never overspend together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from likewise.errors import InvalidValue

RISK = 0.05
"""The certificate may be wrong with this probability, over all times together."""

_STAKES = (1 / 2, 1 / 4, 1 / 8, *(2.0 ** (-step / 2) for step in range(8, 17)))
"""Stakes of the certificate: a few large ones for young ledgers, half steps where charges may grow large."""


class Ledger:
    """Tokens of one function; its key types' policies may share it.

    accuracy_target: in (0, 1).
    slack: tokens at the start (b0), at least 0: false hits allowed beyond ε·t.
    cap: most tokens ever held, at least `slack`: bounds what a burst can spend.
    Raises InvalidValue.
    """

    __slots__ = ("_largest", "_reserved", "_stakes", "_sums", "accuracy_target", "cap", "epsilon", "rarest",
                 "requests", "slack", "spent", "tokens")  # fmt: skip

    def __init__(self, accuracy_target: float, slack: float = 3.0, cap: float = 100.0) -> None:
        if not 0.0 < accuracy_target < 1.0:
            raise InvalidValue(f"The accuracy target is {accuracy_target}; give one between 0 and 1, such as 0.95.")
        if not (math.isfinite(slack) and math.isfinite(cap) and 0.0 <= slack <= cap and cap > 0.0):
            raise InvalidValue(f"The ledger's slack is {slack} and its cap {cap}; give 0 <= slack <= cap.")
        self.accuracy_target = accuracy_target
        self.epsilon = 1.0 - accuracy_target
        self.slack = slack
        self.cap = cap
        self.tokens = slack
        self.requests = 0
        self.spent = 0.0
        self._reserved = 0.0
        self.rarest = 1.0
        """Smallest probability that `expose` was told of; what is not below it need not be told."""
        self._largest = 0.0  # largest charge that any would-be hit was ever exposed to, probed or not
        self._stakes = _STAKES
        self._sums = [0.0] * len(_STAKES)  # for each stake x: Σ ln(1 - x·charge) over detected or unsettled probes

    def earn(self) -> float:
        """Account for one request, before it is decided; return the tokens at hand.

        Reservations count towards the cap, so that what comes back later never lifts a window above cap + ε·n.
        """
        self.requests += 1
        tokens = self.tokens + self.epsilon
        room = self.cap - self._reserved
        self.tokens = tokens = tokens if tokens < room else max(room, self.tokens)
        return tokens

    def floor(self) -> float:
        """Return the least probability with which a would-be hit may be probed now: 1 / (1 + tokens)."""
        return 1.0 / (1.0 + self.tokens)

    def expose(self, probability: float) -> None:
        """Note that a would-be hit is probed with `probability`, before the coin (what the certificate needs)."""
        charge = (1.0 - probability) / probability
        if charge > self._largest:
            self._largest = charge
            self.rarest = probability

    def reserve(self, probability: float) -> float:
        """Set tokens aside for a probe that starts, and return how many: (1 - π) / π.

        Raises InvalidValue for a probability below `floor()`.
        """
        charge = (1.0 - probability) / probability
        if charge > self.tokens:
            if charge > self.tokens * (1.0 + 1e-9) + 1e-12:
                raise InvalidValue(f"A probe at probability {probability} costs more than {self.tokens} tokens.")
            charge = self.tokens  # rounding alone
        self.tokens -= charge
        self._reserved += charge
        self._book(charge, 1.0)
        return charge

    def release(self, charge: float) -> None:
        """Give a reservation back: the probe found the would-be hit right."""
        self._reserved = max(0.0, self._reserved - charge)
        self.tokens = min(self.tokens + charge, self.cap)
        self._book(charge, -1.0)

    def spend(self, charge: float) -> None:
        """Keep a reservation: the probe found the would-be hit wrong, or no answer will ever come."""
        self._reserved = max(0.0, self._reserved - charge)
        self.spent += charge

    def _book(self, charge: float, sign: float) -> None:
        for position, stake in enumerate(self._stakes):
            product = stake * charge
            if product < 1.0:
                self._sums[position] += sign * math.log1p(-product)

    def bound(self, risk: float = RISK) -> float:
        """Return a number that false hits so far do not exceed, at all times at once with probability 1 - `risk`.

        For a stake x with x·charge < 1 at every coin so far, the product of 1 + x for a served false hit and
        1 - x·charge for a detected one is a nonnegative martingale that starts at 1; so is the mean over a fixed grid
        of stakes, where a stake that grew too bold counts as zero. By Ville's inequality it ever exceeds 1 / `risk`
        with probability at most `risk`; the answer is the largest number of false hits for which it does not.
        Probes without an answer count as detected. A product equal to 1 is allowed only if no such charge was met.
        """
        alive = [
            (math.log1p(stake), total)
            for stake, total in zip(self._stakes, self._sums, strict=True)
            if stake * self._largest < 1.0
        ]
        if self._largest == 0.0:
            return 0.0
        if not alive:
            return math.inf
        budget = math.log(len(self._stakes) / risk)
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

    def state(self) -> dict[str, float | list[float]]:
        """Return the ledger, JSON-able. Probes in flight count as spent: after a restart no answer will come."""
        return {
            "tokens": self.tokens,
            "requests": self.requests,
            "spent": self.spent + self._reserved,
            "largest": self._largest,
            "sums": list(self._sums),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state; one that saw fewer requests than this ledger is ignored (a sharer restored a newer one).

        Raises InvalidValue if it is not a ledger's state.
        """
        try:
            requests, tokens = int(state["requests"]), float(state["tokens"])
            spent, largest = float(state["spent"]), float(state["largest"])
            sums = [float(total) for total in state["sums"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidValue(f"The ledger's state is unusable ({error!r}); start without it.") from error
        if not (
            requests >= 0
            and 0.0 <= tokens < math.inf
            and 0.0 <= spent < math.inf
            and 0.0 <= largest < math.inf
            and len(sums) == len(self._sums)
            and all(math.isfinite(total) and total <= 1e-9 for total in sums)
        ):
            raise InvalidValue("The ledger's state has numbers out of range; start without it.")
        if requests < self.requests:
            return
        self.requests, self.spent, self._largest, self._sums = requests, spent, largest, sums
        self.rarest = 1.0 / (1.0 + largest)
        self.tokens = min(tokens, self.cap)
        self._reserved = 0.0
