"""The default policy: a calibrated confidence says where reuse is safe, a ledger says how much may be spent.

Evidence from neighbors becomes a log-odds that reuse is correct; a bar on it is set from checked requests; a few
would-be hits are probed. With a ledger the accuracy target is a theorem on any stream; without one, an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from math import exp, log, sqrt

from likewise.decision.calibration import RECENT, plausible
from likewise.decision.checks import Evidence
from likewise.decision.experience import Experience
from likewise.decision.ledger import Ledger
from likewise.decision.prices import MAX_ERROR, highest_acceptable_error
from likewise.decision.votes import adds_something, take_vote, vote_for
from likewise.errors import InvalidValue
from likewise.types import Lesson, Neighbors, Reason, Sample, Session, Source, Verdict

REFIT_EVERY = 8
"""Checked requests between two fits; fewer at the start, when each one tells more."""
BURST = 24
"""Requests that are probed more often after a confident hit would have been wrong (without a ledger)."""
FRESH = 1024
"""Requests that wait for a fit, at most, when a probe is taken."""
SCALE_SAMPLES = 200
CONTRADICTED = 0.85
"""Confidence from which a nearest entry that proves wrong is evicted."""

_NONE, _NEIGHBOR = Source.NONE, Source.NEIGHBOR
_BELOW_BAR, _BUDGET, _PROBE, _CONFIDENT = Reason.BELOW_BAR, Reason.BUDGET, Reason.PROBE, Reason.CONFIDENT


class Calibrated(Experience):
    """Reuses the winner of the vote where its calibrated confidence passes the bar.

    accuracy_target: in (0, 1): of all answers, at least this share shall be right.
    coin: draws uniformly from [0, 1), privately: the ledger's theorem rests on nothing else.
    budget: makes the target a theorem, for each of its accounts; None: no promise.
    strictness: "bold", "normal" or "strict"; default "bold" with a ledger, else "normal".
    probing: share of would-be hits computed to check, in (0, 1]; the ledger raises it where it must.
    Reasons: no neighbors, below bar, budget, probe, confident.
    """

    evidence_schema = "margin, nearness, share, few, before / 1"
    """Names the evidence of its samples; raise the number when it is taken otherwise."""

    def _judge(self, neighbors: Neighbors, last: int) -> tuple[int, int, Evidence, float]:
        """Return what `Calibration.weigh` does; last: what the device was answered last, or -1."""
        vote, weigh = take_vote(neighbors), self._calibration.weigh
        scale = self._scale or neighbors.distances[0] + 1e-6
        if last < 0:
            return weigh(vote, scale, 0.0)
        prior = self._repeat_prior
        if last == vote[0]:
            return weigh(vote, scale, prior.same)
        judged = weigh(vote, scale, prior.new)
        if prior.same > 0.5 and last in neighbors.labels:
            other = weigh(vote_for(neighbors, last), scale, prior.same)
            return other if other[3] > judged[3] else judged
        return judged

    def decide(
        self,
        neighbors: Neighbors,
        session: Session | None = None,
        ledger: Ledger | None = None,
        limit: float = math.inf,
        deferred: bool = False,
    ) -> Verdict:
        """Return the verdict for one request and account for it."""
        counters, calibration = self._counters, self._calibration
        counters.requests += 1
        if ledger is None or self._shared is None:
            ledger = self._shared
        tokens = 0.0 if ledger is None else ledger.tokens
        if not neighbors.labels:
            return Verdict(_NONE, Reason.NO_NEIGHBORS, neighbors, session=session, ledger=ledger)
        if not self._scale:
            self._scale = neighbors.distances[0] + 1e-6
        last = -1 if session is None else session.last
        label, slot, evidence, z = self._judge(neighbors, last)
        if z < calibration.bar:
            return Verdict(_NONE, _BELOW_BAR, neighbors, slot, label, False, 1.0, z, evidence, 0.0, session, ledger)
        doubt = exp(-0.5 * z) if z < 12.0 else 0.0025
        if ledger is not None:
            odds = doubt * doubt
            foreseen = calibration.ratio * odds / (1.0 + odds)
            error = self._charge_check.factor * foreseen
            worth = self._epsilon * (1.0 + tokens)
            if (
                error > MAX_ERROR or error * (worth + self._price) > worth
            ):  # `highest_acceptable_error`, without the call
                return Verdict(_NONE, _BUDGET, neighbors, slot, label, False, 1.0, z, evidence, 0.0, session, ledger)
            least = (1.0 + self._prudence * sqrt(error / self._epsilon)) / (1.0 + tokens)
            if limit < math.inf and least < (floor := 1.0 / (1.0 + limit)):
                least = floor
            if deferred and least < (floor := ledger.deferred_floor()):
                least = floor
        else:
            least = foreseen = 0.0
        typical = self._typical
        self._typical = typical = typical + 0.01 * (doubt - typical)
        probability = self._probing * doubt / typical
        probability = 0.5 if probability > 0.5 else 0.005 if probability < 0.005 else probability
        if least > probability:
            if least >= 1.0:
                return Verdict(_NONE, _BUDGET, neighbors, slot, label, False, 1.0, z, evidence, 0.0, session, ledger)
            probability = least
        counters.would_be_hits += 1
        if ledger is not None:
            if probability < ledger.rarest:
                ledger.expose(probability)
            self._charge_check.expected += (1.0 - probability) * foreseen
        elif self._burst > 0:
            self._burst -= 1
            probability = probability if probability > 0.33 else 0.33
        if self._coin() < probability:
            counters.probes += 1
            if len(calibration.fresh_mix) >= FRESH:  # also where no result ever comes
                calibration.absorb()
                self._repeat_prior.absorb()
            charge = ledger.reserve(probability, deferred) if ledger is not None else 0.0
            return Verdict(
                _NONE,
                _PROBE,
                neighbors,
                slot,
                label,
                True,
                probability,
                z,
                evidence,
                charge,
                session,
                ledger,
                deferred,
            )
        if ledger is not None:
            ledger.earn()
        if session is not None:
            self._repeat_prior.note(session, label)
        if ledger is not None and self._share == 1.0:  # as `_count` does, without the call
            ledger.counted += 1
            calibration.clock += 1
            calibration.fresh_mix.append(evidence)
        else:
            self._count(evidence, ledger, False)
        return Verdict(_NEIGHBOR, _CONFIDENT, neighbors, slot, label, False, probability, z, evidence, 0.0, session)

    def confident(self, neighbors: Neighbors, ledger: Ledger | None = None) -> bool:
        """Say whether such neighbors pass the bar, without accounting for anything."""
        calibration = self._calibration
        if not neighbors.labels or calibration.bar == math.inf:
            return False
        _, _, _, z = self._judge(neighbors, -1)
        if z < calibration.bar:
            return False
        if ledger is None or self._shared is None:
            ledger = self._shared
        if ledger is None:
            return True
        tokens = ledger.tokens
        error = self._error_at(z)
        least = (1.0 + self._prudence * sqrt(error / self._epsilon)) / (1.0 + tokens)
        return error <= highest_acceptable_error(self._epsilon, tokens, self._price) and least < 1.0

    def foreseen_error(self, neighbors: Neighbors, session: Session | None = None) -> float:
        """Return the probability that reuse is wrong, by the odds; 1 below the bar."""
        calibration = self._calibration
        if not neighbors.labels or calibration.bar == math.inf:
            return 1.0
        _, _, _, z = self._judge(neighbors, -1 if session is None else session.last)
        if z < calibration.bar:
            return 1.0
        return min(1.0, self._error_at(z))

    def _error_at(self, z: float) -> float:
        """Return how likely reuse is wrong at a log-odds above the bar, by what was checked and charged so far."""
        return self._charge_check.factor * self._calibration.ratio / (1.0 + exp(min(z, 12.0)))

    def learn(self, verdict: Verdict, label: int) -> Lesson:
        """Take in the computed label of a request that was not reused."""
        neighbors, evidence = verdict.neighbors, verdict.evidence
        if verdict.session is not None:
            self._repeat_prior.note(verdict.session, label)
        ledger: Ledger | None = verdict.ledger
        verdict.ledger = None  # settled; a verdict that comes back twice changes nothing there
        if ledger is not None and not ledger.earns_by_hits:
            ledger.earn() if verdict.probe else ledger.earn_computed()
        if not evidence:
            return Lesson(True, -1, False)
        wrong = verdict.label != label
        calibration = self._calibration
        if verdict.probe:
            if wrong:
                self._counters.detected(verdict.probability)
            if ledger is not None and verdict.charge:
                if wrong:
                    ledger.spend(verdict.charge, verdict.deferred)
                    self._charge_check.charge(verdict.charge)
                else:
                    ledger.release(verdict.charge, verdict.deferred)
                verdict.charge = 0.0
        bias, margin, nearness, share, early, before = evidence
        if self._count((bias, margin, nearness, share, early, before), ledger, True):
            calibration.check((bias, margin, nearness, share, early, before), wrong, verdict.probability)
        if wrong and verdict.probe and self._budget is None:
            z = verdict.confidence
            if calibration.ratio / (1.0 + exp(z if z < 15.0 else 15.0)) < 0.15:
                self._burst = BURST
        if calibration.samples <= SCALE_SAMPLES:
            self._scale = 0.95 * self._scale + 0.05 * (neighbors.distances[0] + 1e-6)
        contradicted = neighbors.labels[0] != label and verdict.confidence >= CONTRADICTED
        self._since += 1
        if self._since >= min(REFIT_EVERY, 1 + calibration.samples // 8) or (wrong and verdict.probe):
            self._since = 0
            self._refit()
        return Lesson(adds_something(neighbors, label), neighbors.slots[0] if contradicted else -1, wrong)

    def sample(self, verdict: Verdict, wrong: bool) -> Sample | None:
        """Return what others may learn from a verdict of this policy, now that it was computed; None: nothing."""
        if not verdict.evidence:
            return None
        return Sample(verdict.evidence, wrong, verdict.probability, self._scale)

    def observe(self, samples: Iterable[Sample]) -> None:
        """Take in what another node computed: it moves weights and bar, never the counters, never the ledger.

        The ledger's theorem does not mind: bar and weights may depend on all that came before this node's own coin.
        Raises InvalidValue at a sample that no policy of this kind can have made; those before it are taken in.
        """
        calibration = self._calibration
        for sample in samples:
            evidence, wrong, probability, scale = sample
            if not plausible(sample):
                raise InvalidValue(f"A sample with evidence {evidence!r}, {probability=} and {scale=} is none.")
            self._scale = self._scale or scale
            bias, margin, nearness, share, early, before = evidence
            here = (bias, margin, max(-2.0, nearness + log(scale / self._scale)), share, early, before)
            calibration.check(here, wrong, probability)
            if self._budget is not None and calibration.mixed < RECENT:
                # Where the bar may stand, until there are enough requests of this node's own. Without a ledger the bar
                # holds for a mix of requests, and the computed ones alone would be a wrong mix.
                calibration.fresh_mix.append(here)
            self._since += 1
        if self._since >= min(REFIT_EVERY, 1 + calibration.samples // 8):
            self._since = 0
            self._refit()

    def abandon(self, verdict: Verdict) -> None:
        """Say that no answer will come: a reservation of the ledger is spent, or failing on purpose would be free."""
        if verdict.charge and verdict.ledger is not None:
            verdict.ledger.spend(verdict.charge, verdict.deferred)
        verdict.charge, verdict.ledger = 0.0, None
