"""The ladder: which cheaper ways to an answer are asked, which of their answers are given, by one coin and one ledger.

The neighbors come first and have a policy of their own; whatever that refuses goes on to the variants of the model, in
order of cost. Each gives an opinion; it answers where its chance of being wrong is worth what going on would cost. The
coin is tossed once per request, at the rung whose answer would be given: heads, and the full model runs. Whether that
answer is wrong was fixed before, so the ledger's theorem holds over all rungs together; see docs/accuracy.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, sqrt
from typing import Any

from likewise.decision.calibrated import Calibrated
from likewise.decision.charges import ChargeCheck
from likewise.decision.checks import Evidence
from likewise.decision.counters import Coin, Counters, unusable
from likewise.decision.ledger import Ledger
from likewise.decision.opinions import Opinion, OpinionCalibration
from likewise.decision.prices import MAX_ERROR, PRUDENCE, highest_acceptable_error, variant_price_after
from likewise.errors import UNFIT, InvalidValue
from likewise.types import Lesson, Reason, Source, Verdict

REFIT_EVERY = 8
TRY_AGAIN = 32
"""One of so many times a rung that does not pay is asked all the same."""
LEARNING = 24
"""Opinions until it is known what share of them are given as answers."""
SECOND_OPINION = 1.5
"""Power of the mean cost beyond the neighbors at which they are judged: above 1, they leave more to the variants."""
CONFIDENT = 0.9
"""Of the opinions that are right, the share that is given as answers, before anything was seen."""
SPARED = 0.5
"""Share of the usual probes that the neighbors' answers need, beyond the ledger's: doubtful ones go on to variants."""
RATE = 0.03
"""Weight of the newest request in the running means of what going on costs."""


@dataclass(frozen=True, slots=True)
class Step:
    """A variant as the ladder sees it. cost: in full inferences; agreement: with the full model, in [0, 1]."""

    name: str
    cost: float
    agreement: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.cost < 1.0 or not 0.0 <= self.agreement <= 1.0:
            raise InvalidValue(
                f"Variant `{self.name}` costs {self.cost} full inferences and agrees on {self.agreement} of all "
                "inputs; give a cost in [0, 1) and an agreement in [0, 1]."
            )


@dataclass(slots=True, eq=False)
class Climb:
    """One request on its way up: what the neighbors' policy said of it, and what was asked since."""

    base: Verdict
    at: int = 0
    """The next rung that might be asked."""
    cost: float = 0.0
    """Full inferences that the opinions so far took."""
    asked: list[tuple[int, int, Evidence]] = field(default_factory=list)
    """Rung, label and evidence of each opinion."""
    label: int = -1
    """What the last rung with an answer to give would have said, and its log-odds:"""
    confidence: float = 0.0
    taken: int = -1
    """The rung whose answer is given or probed; -1: none."""


@dataclass(slots=True, eq=False)
class _Rung:
    step: Step
    calibration: OpinionCalibration
    going_on: float = 1.0
    """Running mean of what a request costs that is refused here, in full inferences; a probe of a later rung's answer
    counts for nothing, since here it would have been probed as well."""
    taken: float = 0.5
    """Running share of its opinions that are given as answers, or probed."""
    skipped: int = 0
    reached: int = 0
    answers: int = 0
    since: int = 0


class Ladder:
    """Decides about the variants of one function.

    steps: in order of cost; policy: the neighbors', with a budget; present: whether a step can be asked now.
    """

    def __init__(self, accuracy_target: float, coin: Coin, policy: Calibrated, steps: Sequence[Step],
                 probing: float = 0.02, present: Callable[[int], bool] = lambda _: True) -> None:  # fmt: skip
        self._epsilon = 1.0 - accuracy_target
        self._coin = coin
        self._policy = policy
        self._probing = probing
        self._present = present
        self._rungs = [_Rung(step, OpinionCalibration(step.agreement)) for step in steps]
        going_on = 1.0
        for rung in reversed(self._rungs):
            rung.going_on = going_on
            going_on = rung.step.cost + (1.0 - CONFIDENT * rung.step.agreement) * going_on
        self._charge_check = ChargeCheck()
        self._counters = Counters()
        self._typical = 0.1
        self._clock = 0  # requests that came this far
        self._entering = going_on  # running mean of what a request costs that the neighbors' policy refuses
        policy.going_on = going_on**SECOND_OPINION
        policy.spare(SPARED)

    # ── climbing ───────────────────────────────────────────────────────────────────────────────────────────

    def enter(self, base: Verdict) -> Climb:
        """Begin with what the neighbors' policy refused."""
        self._clock += 1
        self._counters.requests += 1
        return Climb(base, label=base.label, confidence=base.confidence if base.label >= 0 else 0.0)

    def next(self, climb: Climb, limit: float = math.inf) -> int:
        """Return the rung to ask now, or -1 where none is worth it: then the full model runs, for certain.

        limit: tokens that a probe may reserve; 0: nothing may be given that would have to be probed.
        """
        ledger = climb.base.ledger
        if ledger is None or ledger.tokens <= 0.0 or limit <= 0.0:
            return -1
        while climb.at < len(self._rungs):
            rung = self._rungs[climb.at]
            rung.reached += 1
            if not self._present(climb.at):
                climb.at += 1
                continue
            if rung.calibration.asked < LEARNING or rung.step.cost <= rung.taken * rung.going_on:
                return climb.at
            rung.skipped += 1
            if rung.skipped % TRY_AGAIN == 0:
                return climb.at
            climb.at += 1
        return -1

    def offer(self, climb: Climb, said: Opinion, limit: float = math.inf) -> Verdict | None:
        """Return the verdict on a rung's opinion: to answer with it, or to probe; None: it is refused, go on.

        limit: tokens that a probe may reserve; 0: nothing may be given that would have to be probed.
        """
        at = climb.at
        climb.at += 1
        rung, base = self._rungs[at], climb.base
        ledger: Ledger = base.ledger
        climb.cost += rung.step.cost
        session = base.session
        before = self._policy.repeats(session, said.label)
        agreement = climb.confidence if said.label == climb.label else -climb.confidence
        evidence, z = rung.calibration.weigh(said, agreement if climb.label >= 0 else 0.0, self._policy.clock, before)
        climb.asked.append((at, said.label, evidence))
        climb.label, climb.confidence = said.label, z
        verdict = self._judge(rung, ledger, said.label, z, limit, base)
        rung.taken += max(RATE, 1.0 / rung.calibration.asked) * ((verdict is not None) - rung.taken)
        if verdict is not None:
            climb.taken = at
            verdict.climb = climb
            if not verdict.probe:
                self._end(climb, 0.0)
                rung.answers += 1
        return verdict

    def _judge(self, rung: _Rung, ledger: Ledger, label: int, z: float, limit: float, base: Verdict) -> Verdict | None:
        foreseen = rung.calibration.ratio / (1.0 + exp(min(z, 30.0)))
        error = self._charge_check.factor * foreseen
        price = ledger.pressed * self._price(rung)
        if error > min(MAX_ERROR, highest_acceptable_error(self._epsilon, ledger.tokens, price)):
            return None
        least = (1.0 + PRUDENCE * sqrt(error / self._epsilon)) / (1.0 + min(ledger.tokens, limit))
        if least >= 1.0:
            return None
        doubt = exp(-0.5 * min(z, 12.0))
        self._typical += 0.01 * (doubt - self._typical)
        probability = max(least, min(max(self._probing * doubt / self._typical, 0.005), 0.5))
        counters = self._counters
        counters.would_be_hits += 1
        if probability < ledger.rarest:
            ledger.expose(probability)
        self._charge_check.expected += (1.0 - probability) * foreseen
        verdict = Verdict(Source.VARIANT, Reason.CONFIDENT, base.neighbors, base.slot, label, False, probability, z,
                          session=base.session, ledger=ledger)  # fmt: skip
        if self._coin() < probability:
            counters.probes += 1
            verdict.source, verdict.reason, verdict.probe = Source.NONE, Reason.PROBE, True
            verdict.charge = ledger.reserve(probability)
            return verdict
        ledger.earn()
        self._policy.passed(base, label)
        verdict.ledger = base.ledger = None
        return verdict

    def _price(self, rung: _Rung) -> float:
        return self._policy.pressure * variant_price_after(self._policy.clock) / max(rung.going_on, 0.05)

    def skip(self, climb: Climb) -> None:
        """Go past the rung that `next` named: it has no opinion, since it failed."""
        climb.at += 1

    def finish(self, climb: Climb) -> Verdict:
        """Return the verdict where no rung's answer is given: compute for certain."""
        climb.base.climb = climb
        return climb.base

    # ── learning ───────────────────────────────────────────────────────────────────────────────────────────

    def learn(self, verdict: Verdict, label: int) -> Lesson:
        """Take in the full model's label for a request that came this far."""
        climb: Climb = verdict.climb
        base = climb.base
        verdict.climb = None
        ledger: Ledger | None = verdict.ledger
        counted = True
        if verdict is not base:  # a probe of a variant's answer
            counted = ledger is None or ledger.counts(self._policy.fair_share, True)
            verdict.ledger = base.ledger = None
            base.probability = verdict.probability
            if ledger is not None:
                if not ledger.earns_by_hits:
                    ledger.earn()
                if verdict.label != label:
                    self._counters.detected(verdict.probability)
                    ledger.spend(verdict.charge)
                    self._charge_check.charge(verdict.charge)
                else:
                    ledger.release(verdict.charge)
                verdict.charge = 0.0
        self._end(climb, float(climb.taken < 0))
        for at, said, evidence in climb.asked if counted else ():
            rung = self._rungs[at]
            rung.calibration.check(evidence, said != label, base.probability, self._policy.clock)
            rung.since += 1
            surprised = at == climb.taken and said != label
            if rung.since >= min(REFIT_EVERY, 1 + rung.calibration.samples // 8) or surprised:
                rung.since = 0
                self._refit(rung)
        if not counted:
            base.evidence = ()
        return self._policy.learn(base, label)

    def abandon(self, verdict: Verdict) -> None:
        """Say that no answer will come: what was reserved is spent."""
        if verdict.charge and verdict.ledger is not None:
            verdict.ledger.spend(verdict.charge)
        verdict.charge, verdict.ledger, verdict.climb = 0.0, None, None

    def _refit(self, rung: _Rung) -> None:
        self._charge_check.compare(self._clock)
        price = self._price(rung)
        most = highest_acceptable_error(self._epsilon, self._policy.most_tokens, price)
        rung.calibration.refit(self._policy.clock, most / self._charge_check.factor)

    def _end(self, climb: Climb, rest: float) -> None:
        """Account for what a request cost beyond each point where it was refused. rest: the full model's share."""
        total = climb.cost + rest
        self._entering += RATE * (total - self._entering)
        self._policy.going_on = self._entering**SECOND_OPINION
        spent = 0.0
        for at, _, _ in climb.asked:
            rung = self._rungs[at]
            spent += rung.step.cost
            if at != climb.taken:
                rung.going_on += RATE * (total - spent - rung.going_on)

    # ── being looked at, and kept ──────────────────────────────────────────────────────────────────────────

    @property
    def counters(self) -> Counters:
        """Answers that would have been given by variants, probes of them, and what those found."""
        return self._counters

    def reached(self, at: int) -> int:
        """Return how often a rung was asked, or would have been, were it present and worth it."""
        return self._rungs[at].reached

    def saving(self, at: int) -> float:
        """Return the full inferences that a rung saves each time that it is reached, in the mean."""
        rung = self._rungs[at]
        return rung.taken * max(0.0, rung.going_on - rung.step.cost)

    def statistics(self) -> Mapping[str, dict[str, float]]:
        """Return by variant: opinions, answers given, cost in full inferences, agreement with the full model so far."""
        return {
            rung.step.name: {
                "asked": rung.calibration.asked,
                "answers": rung.answers,
                "cost": rung.step.cost,
                "agreement": rung.calibration.agreement,
            }
            for rung in self._rungs
        }

    def state(self) -> Mapping[str, Any]:
        """Return everything learned, JSON-able; the ledger's state is the neighbors' policy's."""
        return {
            "policy": "ladder",
            "counters": self._counters.state(),
            "charge_check": self._charge_check.state(),
            "clock": self._clock,
            "entering": self._entering,
            "typical": self._typical,
            "rungs": {
                rung.step.name: {
                    "calibration": rung.calibration.state(),
                    "going_on": rung.going_on,
                    "taken": rung.taken,
                    "answers": rung.answers,
                }
                for rung in self._rungs
            },
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned; variants that it does not know begin anew. Raises InvalidValue."""
        counters, check = Counters(), ChargeCheck()
        restored: list[_Rung] = []
        try:
            if state["policy"] != "ladder":
                raise ValueError(state["policy"])
            counters.restore(state["counters"])
            clock, entering, typical = int(state["clock"]), float(state["entering"]), float(state["typical"])
            check.restore(state["charge_check"], clock)
            if not (clock >= 0 and 0.0 <= entering < 100.0 and 0.0 < typical < math.inf):
                raise ValueError(f"clock {clock}, entering {entering}, typical {typical}")
            for rung in self._rungs:
                new = _Rung(rung.step, OpinionCalibration(rung.step.agreement))
                restored.append(new)
                if (kept := state["rungs"].get(rung.step.name)) is not None:
                    new.calibration.restore(kept["calibration"])
                    new.going_on, new.taken = float(kept["going_on"]), float(kept["taken"])
                    new.answers = int(kept["answers"])
                    if not (0.0 <= new.going_on < 100.0 and 0.0 <= new.taken <= 1.0 and new.answers >= 0):
                        raise ValueError(f"variant {rung.step.name}: going_on {new.going_on}, taken {new.taken}")
        except UNFIT as error:
            raise unusable("ladder", error) from error
        self._counters, self._charge_check, self._rungs = counters, check, restored
        self._clock, self._entering, self._typical = clock, entering, typical
        self._policy.going_on = entering**SECOND_OPINION
