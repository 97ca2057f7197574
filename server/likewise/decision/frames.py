"""Decides whether a frame that was computed from the one before is good enough; the budget is the function's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from likewise.decision.budget import Budget
from likewise.decision.ledger import Ledger
from likewise.decision.prices import PRICE, PRUDENCE
from likewise.types import Reason, Session, Source, Verdict

PROBING = 0.02
"""Share of frames that are checked at least: a stream's thresholds follow what that finds."""


ROOM = 1.001
"""In ε: the most that may be risked, so that what nothing is known of may."""


class FramePolicy:
    """One coin for each frame, tossed at the function's ledger; see `ledger` for the promise.

    Where a stream's answer goes wrong with probability p, it is taken while p is at most ε and worth its price, and
    checked with probability (1 + 0.5·√(p/ε)) / (1 + tokens) or more: never less than the floor on which the promise
    stands. Errors of a stream come in rows until a check ends them; who also took what is known to go wrong more often
    than ε would spend all that the ledger has in one row.
    """

    def __init__(self, budget: Budget, accuracy_target: float, coin: Callable[[], float]) -> None:
        """Set up. coin: uniform numbers in [0, 1), private to this server."""
        self._budget = budget
        self._epsilon = 1.0 - accuracy_target
        self._coin = coin
        self.offers = 0
        self.taken = 0
        self.probes = 0
        self.wrong = 0
        """Probes whose result contradicted the offer."""

    def decide(
        self, label: int, risk: float, origin: Any, session: Session | None = None, limit: float = math.inf
    ) -> Verdict:
        """Return the verdict on an offer, and account for the request.

        label: of the result offered. risk: probability that it is wrong. origin: the stream, given back with the
        verdict. limit: tokens that a probe may reserve; 0: none may be begun now.
        """
        self.offers += 1
        ledger = self._budget.ledger("" if session is None else session.account)
        worth = self._epsilon * (1.0 + ledger.tokens)
        tokens = min(ledger.tokens, limit)
        probability = max(PROBING, (1.0 + PRUDENCE * math.sqrt(risk / self._epsilon)) / (1.0 + tokens))
        verdict = Verdict(
            Source.NONE, Reason.BUDGET, label=label, confidence=math.log((1.0 - risk) / risk), session=session,
            ledger=ledger, origin=origin,
        )  # fmt: skip
        if risk > self._epsilon * ROOM or risk * (worth + PRICE) > worth or probability >= 1.0:
            return verdict
        verdict.probability = probability
        if probability < ledger.rarest:
            ledger.expose(probability)
        if self._coin() < probability:
            self.probes += 1
            verdict.reason, verdict.probe = Reason.PROBE, True
            verdict.charge = ledger.reserve(probability)
            return verdict
        ledger.earn()
        self.taken += 1
        verdict.source, verdict.reason, verdict.ledger = Source.STREAM, Reason.CONFIDENT, None
        if session is not None:
            session.last = label
        return verdict

    def learn(self, verdict: Verdict, label: int, wrong: bool) -> None:
        """Take in the computed label of a frame that was not answered by its offer, and whether the two differ.

        wrong: as the results are by themselves, which is what was promised. Two in one group of labels may differ, and
        two that are alike may lie on both sides of a group's border.
        """
        ledger: Ledger | None = verdict.ledger
        verdict.ledger = None  # settled
        if ledger is None:
            return
        if not ledger.earns_by_hits:
            ledger.earn() if verdict.probe else ledger.earn_computed()
        if verdict.probe:
            self.wrong += wrong
            (ledger.spend if wrong else ledger.release)(verdict.charge)
            verdict.charge = 0.0
        if verdict.session is not None:
            verdict.session.last = label

    def abandon(self, verdict: Verdict) -> None:
        """Say that no answer will come: what was reserved is spent."""
        if verdict.charge and verdict.ledger is not None:
            verdict.ledger.spend(verdict.charge)
        verdict.charge, verdict.ledger = 0.0, None
