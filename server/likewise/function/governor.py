"""Keeps functions within budgets of computation: by the price of tokens first, then by refusing; never by accuracy.

Budgets are inference seconds per second, of a worker, of a function and of each account; a power, by the stated model
that inference takes so many watts while it runs; and a latency that 99 of 100 answers are to keep. What is used of
them, as a share, makes a function's pressure (`decision/pressure.py`), which lowers the price of tokens: neighbors and
variants answer more. Whoever has used up an allowance gets what can be reused; what would have to be computed for
certain is refused. Probes are owed, and computed.

Only where an operator states an emergency target, and full pressure does not help, requests earn tokens by that target
until it does.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from likewise.decision.budget import SHARED, Budget
from likewise.decision.calibrated import Calibrated
from likewise.decision.pressure import AIM, Pressure
from likewise.errors import InvalidFunction, Overloaded
from likewise.events import Answered
from likewise.function.allowance import Allowance
from likewise.function.spec import BudgetSpec
from likewise.ports import Runner
from likewise.types import Clock

PERIOD_S = 0.25
"""Time between two looks at the budgets."""
EMERGENCY_AFTER_S = 2.0
"""Full pressure for so long without relief is an emergency; it ends once pressure is half."""
LATE_SHARE = 0.01
"""Share of answers that may take longer than the latency stated."""
MEMORY = 0.995
"""Weight of what was before at each answer, in the share of late ones."""
MAX_ACCOUNTS = 1024


@dataclass(frozen=True, slots=True)
class CostLimits:
    """Budgets; what is 0 is not limited."""

    inference: float = 0.0
    """Inference seconds per second."""
    power_w: float = 0.0
    """Watts."""
    inference_w: float = 15.0
    """Watts that inference takes while it runs."""
    latency_s: float = 0.0
    """Seconds that 99 of 100 answers are to keep."""
    emergency_target: float = 0.0
    """Accuracy target while nothing else helps."""

    @property
    def per_s(self) -> float:
        """Inference seconds per second, by time and by power; 0: not limited."""
        allowed = [each for each in (self.inference, self.power_w / self.inference_w) if each > 0.0]
        return min(allowed, default=0.0)


def limits_of(own: BudgetSpec, common: CostLimits, target: float, origin: str) -> CostLimits:
    """Return a function's budgets; the worker's latency and emergency target where it does not say.

    target: its accuracy target. Raises InvalidFunction where that in an emergency is above it.
    """
    if own.emergency_target is not None and own.emergency_target > target:
        raise InvalidFunction(
            f"{origin}: [budget] emergency_target is {own.emergency_target}, above the accuracy target {target}; give "
            "a lower one, or leave it out"
        )
    return CostLimits(
        own.inference or 0.0,
        own.power_w or 0.0,
        common.inference_w,
        common.latency_s if own.latency_ms is None else own.latency_ms / 1000.0,
        min(own.emergency_target or common.emergency_target, target),
    )


class WorkerBudgets:
    """What all functions of a worker share: its allowance, and one for each account."""

    def __init__(self, limits: CostLimits, account_inference: float, clock: Clock) -> None:
        """Set up. account_inference: inference seconds per second of each account; 0: not limited."""
        self.limits = limits
        self._clock = clock
        self._account_inference = account_inference
        self.whole = Allowance(limits.per_s, clock) if limits.per_s else None
        self._accounts: OrderedDict[str, Allowance] = OrderedDict()
        self.costs: WeakKeyDictionary[Governor, float] = WeakKeyDictionary()
        """Seconds of an inference of each function that has a governor."""

    def account(self, name: str) -> Allowance | None:
        """Return an account's allowance; None: there is none, since accounts are not limited, or it has no key."""
        if not self._account_inference or name == SHARED:
            return None
        found = self._accounts.get(name)
        if found is None:
            found = self._accounts[name] = Allowance(self._account_inference, self._clock)
            if len(self._accounts) > MAX_ACCOUNTS:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(name)
        return found

    def govern(
        self, function: str, own: CostLimits, runner: Runner, policies: Sequence[object], budget: Budget | None
    ) -> Governor | None:
        """Return what keeps a function within its budgets; None where there are none: then nothing is measured."""
        limited = self.whole is not None or self._account_inference or own.per_s or own.latency_s
        if not limited:
            return None
        steered = [each for each in policies if isinstance(each, Calibrated)]
        return Governor(function, own, self, runner, steered, budget, self._clock)


class Governor:
    """One function's. A sink of its events; belongs to one event loop."""

    def __init__(
        self,
        function: str,
        own: CostLimits,
        worker: WorkerBudgets,
        runner: Runner,
        policies: Sequence[Calibrated],
        budget: Budget | None,
        clock: Clock,
    ) -> None:
        """Set up. policies, budget: whose price of tokens follows the pressure; clock: monotonic."""
        self._function = function
        self._limits = own
        self._worker = worker
        self._runner = runner
        self._policies = policies
        self._budget = budget
        self._clock = clock
        self._own = Allowance(own.per_s, clock) if own.per_s else None
        self._pressure = Pressure()
        self._pressures: dict[str, Pressure] = {}
        self._late = 0.0
        self._looked = clock()
        self._strained_s = 0.0
        self._load = 0.0
        self.emergency = False
        """Whether requests earn tokens by the emergency target now."""
        self.refused = self.emergency_answers = 0

    def __call__(self, event: Answered) -> None:
        """Account for how a request ended."""
        outcome = event.outcome
        if outcome is None:
            return
        if self._limits.latency_s and event.total_s >= 0.0:
            self._late = MEMORY * self._late + (1.0 - MEMORY) * (event.total_s > self._limits.latency_s)
        self.emergency_answers += self.emergency
        now = self._clock()
        if now - self._looked >= PERIOD_S:
            self._look(now, event.account)

    def charge(self, account: str, seconds: float) -> None:
        """Account for what was computed."""
        for allowance in self._allowances(account):
            allowance.use(seconds)

    def exhausted(self, account: str) -> bool:
        """Say whether an account overdrew its own allowance by the whole reserve: then not even variants are asked.

        Whoever has none left is still answered by variants, and what they say has its price: so it has an end.
        """
        own = self._worker.account(account)
        return own is not None and own.balance < -own.reserve

    def wait_s(self, account: str) -> float:
        """Return the seconds until something may be computed for certain; 0: it may now."""
        return max((each.wait_s for each in self._allowances(account)), default=0.0)

    def admit(self, account: str) -> None:
        """Raise Overloaded, with the time to wait, where nothing may be computed for certain now."""
        if (wait_s := self.wait_s(account)) > 0.0:
            self.refused += 1
            raise Overloaded(
                f"`{self._function}` has used up its budget of inference; come back in about {max(1.0, wait_s):.0f} s, "
                "or raise the budget",
                wait_s,
            )

    def _allowances(self, account: str) -> list[Allowance]:
        found = (self._own, self._worker.whole, self._worker.account(account))
        return [each for each in found if each is not None]

    def _look(self, now: float, account: str) -> None:
        """Let pressure follow what is used, and the price of tokens follow the pressure."""
        elapsed, self._looked = now - self._looked, now
        self._load = load = self._used()
        self._pressure.follow(load, elapsed)
        self._account_pressure(account, elapsed)
        if self._limits.emergency_target:
            strained = self._pressure.level >= 1.0 and load > 1.0
            self._strained_s = self._strained_s + min(elapsed, 1.0) if strained else 0.0
            if self._strained_s >= EMERGENCY_AFTER_S:
                self._declare(True)
            elif self._pressure.level < 0.5:
                self._declare(False)
        tokens = 0.0 if self._budget is None else self._budget.mean_tokens
        for policy in self._policies:
            policy.press(self._pressure.price(tokens))

    def _account_pressure(self, account: str, elapsed: float) -> None:
        allowance = self._worker.account(account)
        if allowance is None or self._budget is None:
            return
        pressure = self._pressures.setdefault(account, Pressure())
        pressure.follow(allowance.load, elapsed)
        pressure.level = max(pressure.level, 0.0)
        ledger = self._budget.ledger(account)
        ledger.pressed = pressure.price(ledger.tokens)
        if len(self._pressures) > MAX_ACCOUNTS:
            self._pressures.pop(next(iter(self._pressures)))

    def _used(self) -> float:
        """Return what is used of the budget that is used most; 1: all of it."""
        cost_s = self._runner.mean_cost_s
        loads = [0.0 if self._own is None else self._own.load]
        if self._worker.whole is not None:
            self._worker.costs[self] = cost_s
            load = self._worker.whole.load
            # what is saved by a false answer is an inference, so the function with the dearest ones saves first
            loads.append(AIM + (load - AIM) * cost_s / max(self._worker.costs.values()) if load > AIM else load)
        if self._limits.latency_s:
            loads += [self._late / LATE_SHARE, (self._runner.queued + 1) * cost_s / self._limits.latency_s]
        return max(loads)

    def _declare(self, emergency: bool) -> None:
        if emergency != self.emergency and self._budget is not None:
            self.emergency = emergency
            self._budget.relax(self._limits.emergency_target if emergency else None)

    def statistics(self) -> Mapping[str, float | bool]:
        """Return the numbers of /v1/stats."""
        return {
            "load": self._load if math.isfinite(self._load) else 0.0,
            "pressure": self._pressure.level,
            "refused": self.refused,
            "emergency": self.emergency,
            "emergency_answers": self.emergency_answers,
        }
