"""What the calibrated policy has learned so far: kept, restored, refitted, and looked at by the rungs beyond it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from likewise.decision.budget import Budget
from likewise.decision.calibration import CAUTION, Calibration
from likewise.decision.charges import ChargeCheck
from likewise.decision.checks import Evidence
from likewise.decision.counters import Coin, Counters, unusable
from likewise.decision.ledger import Ledger
from likewise.decision.prices import FIRST_PRICE, PRUDENCE, highest_acceptable_error, price_after
from likewise.decision.repeats import RepeatPrior
from likewise.errors import UNFIT, InvalidValue
from likewise.types import PolicyStatistics, Session, Verdict

FAIR = 2.0
"""How many times its equal share of the evidence an account may give."""


class Experience:
    """The state of a `Calibrated` policy; its arguments are that one's."""

    def __init__(
        self,
        accuracy_target: float,
        coin: Coin,
        budget: Budget | None = None,
        strictness: str | None = None,
        probing: float = 0.02,
    ) -> None:
        if not 0.0 < accuracy_target < 1.0:
            raise InvalidValue(f"The accuracy target is {accuracy_target}; give one between 0 and 1, such as 0.95.")
        strictness = strictness or ("bold" if budget is not None else "normal")
        if strictness not in CAUTION:
            raise InvalidValue(f"strictness is `{strictness}`; give one of {', '.join(CAUTION)}.")
        if not 0.0 < probing <= 1.0:
            raise InvalidValue(f"probing is {probing}; give a share above 0 and at most 1.")
        self._name = "calibrated+ledger" if budget is not None else "calibrated"
        self._target = accuracy_target
        self._epsilon = 1.0 - accuracy_target
        self._coin = coin
        self._budget = budget
        self._shared = budget.ledger() if budget is not None else None
        self._probing = probing
        self._prudence = PRUDENCE
        self._counters = Counters()
        self._calibration = Calibration(self._epsilon, CAUTION[strictness])
        self._scale = 0.0
        self._typical = 0.1  # q: running mean of exp(-confidence / 2) over would-be hits
        self._repeat_prior = RepeatPrior()
        self._burst = 0
        self._since = 0
        self._charge_check = ChargeCheck()
        self._price = FIRST_PRICE
        self._share = 1.0  # of the evidence that one account may give
        self.pressure = 1.0
        """Price of a token as a multiple of the usual one."""
        self.going_on = 1.0
        """What a request costs that is refused here, in full inferences: less than 1 where variants answer some."""

    def _count(self, evidence: Evidence, ledger: Ledger | None, checked: bool) -> bool:
        """Take a request that got its answer into the mix; of an account that had more than its share, only a few."""
        calibration = self._calibration
        if ledger is not None and not ledger.counts(self._share * calibration.clock, checked):
            return False
        calibration.clock += 1
        calibration.fresh_mix.append(evidence)
        return True

    # ── the rungs beyond ───────────────────────────────────────────────────────────────────────────────────

    def passed(self, verdict: Verdict, label: int) -> None:
        """Take note that a request refused here was answered by another rung, with `label`."""
        if verdict.session is not None:
            self._repeat_prior.note(verdict.session, label)
        if verdict.evidence:
            bias, margin, nearness, share, early, before = verdict.evidence
            self._count((bias, margin, nearness, share, early, before), verdict.ledger, False)

    def spare(self, share: float) -> None:
        """Probe so many times what it does as a rule from now on, in (0, 1]; never less than a ledger asks for.

        So it is, too, with what is added for the chance of being wrong.
        """
        self._probing *= share
        self._prudence *= share

    def press(self, price: float) -> None:
        """Let tokens cost so many times what they do as a rule, above 0, from now on."""
        if abs(math.log(price / self.pressure)) > 0.05 or (price == 1.0 != self.pressure):
            self.pressure = price
            if self._budget is not None:
                self._refit()

    def repeats(self, session: Session | None, label: int) -> float:
        """Return what the device's last answer says of this one, as a log-likelihood ratio; 0: nothing."""
        if session is None or session.last < 0:
            return 0.0
        return self._repeat_prior.same if session.last == label else self._repeat_prior.new

    @property
    def clock(self) -> int:
        """Requests that it learned from so far."""
        return self._calibration.clock

    @property
    def fair_share(self) -> float:
        """Requests that one account may have given of them."""
        return self._share * self._calibration.clock

    @property
    def most_tokens(self) -> float:
        """The tokens of the account that has most; 0 without a ledger."""
        return self._budget.most_tokens if self._budget is not None else 0.0

    # ── being fitted, looked at, and kept ──────────────────────────────────────────────────────────────────

    def _refit(self) -> None:
        self._repeat_prior.absorb()
        calibration = self._calibration
        if self._budget is None:
            calibration.refit()
            return
        # the bar lets through what the richest account may afford; each one's own price is asked after it
        self._price = self.pressure * price_after(calibration.clock) / max(self.going_on, 0.05)
        accounts = len(self._budget)
        self._share = min(1.0, FAIR / accounts)
        self._charge_check.compare(calibration.clock)
        calibration.refit(
            highest_acceptable_error(self._epsilon, self._budget.most_tokens, self._price) / self._charge_check.factor
        )

    def statistics(self) -> PolicyStatistics:
        """Return a snapshot of the counters; the bar is in log-odds. With a ledger: its tokens and certificate."""
        budget = self._budget
        bound, tokens = (budget.bound(), budget.mean_tokens) if budget is not None else (math.nan, math.nan)
        return self._counters.statistics(self._name, self._target, self._calibration.bar, bound, tokens)

    def state(self) -> Mapping[str, Any]:
        """Return everything learned, JSON-able (about 40 kB when full)."""
        return {
            "policy": self._name,
            "counters": self._counters.state(),
            "calibration": self._calibration.state(),
            "repeats": self._repeat_prior.state(),
            "scale": self._scale,
            "typical": self._typical,
            "since": self._since,
            "charge_check": self._charge_check.state(),
            "target": self._target,
            "budget": self._budget.state() if self._budget is not None else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned; a shared budget keeps the newest of its sharers'. Raises InvalidValue."""
        calibration, counters = Calibration(self._epsilon, 0.0), Counters()
        prior, check = RepeatPrior(), ChargeCheck()
        try:
            if state["policy"] != self._name:
                raise ValueError(state["policy"])
            scale, typical = float(state["scale"]), float(state["typical"])
            since = int(state["since"])
            if not (0.0 <= scale < math.inf and 0.0 < typical < math.inf):
                raise ValueError(f"scale {scale}, typical {typical}")
            counters.restore(state["counters"])
            calibration.restore(state["calibration"])
            prior.restore(state["repeats"])
            check.restore(state["charge_check"], calibration.clock)
        except UNFIT as error:
            raise unusable(self._name, error) from error
        if self._budget is not None:
            self._budget.restore(state.get("budget") or {})
        self._counters, self._repeat_prior, self._charge_check = counters, prior, check
        self._calibration.restore(state["calibration"])
        self._scale, self._typical = scale, typical
        self._since, self._burst = since, 0
        if state.get("target") != self._target:
            self._refit()  # the bar was set for another target
