"""Budgets of computation: what they measure, whom they refuse, and how they steer the price of tokens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from likewise.decision.budget import Budget
from likewise.decision.calibrated import Calibrated
from likewise.errors import Overloaded
from likewise.events import Answered
from likewise.function.allowance import BURST_S, Allowance
from likewise.function.governor import CostLimits, Governor, WorkerBudgets
from likewise.requests import Outcome


class Bench:
    """A function whose inference takes 10 ms, on a clock that stands still."""

    def __init__(self, own: CostLimits = CostLimits(), worker: CostLimits = CostLimits(), account: float = 0.0) -> None:  # noqa: B008
        self.now = 0.0
        self.runner: Any = SimpleNamespace(mean_cost_s=0.01, queued=0)
        self.budget = Budget(0.95)
        self.policy = Calibrated(0.95, lambda: 0.5, self.budget)
        self.shared = WorkerBudgets(worker, account, lambda: self.now)
        self.governor = self.shared.govern("f@1", own, self.runner, [self.policy], self.budget)

    def ask(self, per_s: float, seconds: float, outcome: Outcome = Outcome.MISS, took_s: float = 0.02,
            account: str = "") -> None:  # fmt: skip
        """Let requests come evenly."""
        assert self.governor is not None
        for _ in range(round(per_s * seconds)):
            self.now += 1.0 / per_s
            if outcome is Outcome.MISS:
                self.governor.charge(account, self.runner.mean_cost_s)
            self.governor(Answered("f@1", outcome, "", took_s, account=account))

    @property
    def governed(self) -> Governor:
        assert self.governor is not None
        return self.governor


def test_an_allowance_fills_with_time_up_to_a_reserve() -> None:
    """Half a second per second; overdrawn, one has to wait."""
    now = 0.0
    allowance = Allowance(0.5, lambda: now)
    assert allowance.balance == 0.5 * BURST_S
    allowance.use(6.0)
    assert allowance.wait_s == pytest.approx(2.0)
    now = 2.5
    assert allowance.wait_s == 0.0
    assert allowance.balance == pytest.approx(0.25)
    now = 1000.0
    assert allowance.load == pytest.approx(0.0)
    assert allowance.balance == 0.5 * BURST_S


def test_without_budgets_nothing_is_measured() -> None:
    """No sink, no test at each request."""
    assert Bench().governor is None


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"own": CostLimits(inference=0.5)}, id="function"),
        pytest.param({"worker": CostLimits(inference=0.5)}, id="worker"),
        pytest.param({"own": CostLimits(power_w=10.0, inference_w=20.0)}, id="watts"),
    ],
)
def test_more_than_its_seconds_makes_tokens_cheap_and_then_refuses(limits: dict[str, Any]) -> None:
    """Half a second of inference per second, where twice that is asked for; it is lifted once time has passed."""
    bench = Bench(**limits)
    for _ in range(1000):
        bench.budget.ledger().earn()
    bench.ask(100, 5.0)
    assert bench.policy.pressure < 0.2
    bench.governed.admit("")
    bench.ask(100, 10.0)
    with pytest.raises(Overloaded, match="budget of inference") as refused:
        bench.governed.admit("")
    assert bench.governed.refused == 1
    bench.now += refused.value.retry_after_s + 0.1
    bench.governed.admit("")
    bench.ask(10, 60.0)
    assert bench.policy.pressure > 1.0


def test_reuse_uses_up_nothing() -> None:
    """Hits are free, and variants cost what they take."""
    bench = Bench(CostLimits(inference=0.5))
    bench.ask(1000, 20.0, Outcome.HIT)
    bench.governed.admit("")
    assert bench.governed.statistics()["load"] == 0.0


def test_a_latency_that_is_not_kept_is_pressure() -> None:
    """By answers that took longer, or by a queue that will make them."""
    slow = Bench(CostLimits(latency_s=0.1))
    slow.ask(100, 5.0, took_s=0.2)
    assert slow.governed.statistics()["pressure"] == 1.0
    queue = Bench(CostLimits(latency_s=0.1))
    queue.runner.queued = 40
    queue.ask(100, 5.0)
    assert queue.governed.statistics()["pressure"] == 1.0
    quick = Bench(CostLimits(latency_s=0.1))
    quick.ask(100, 5.0)
    assert quick.governed.statistics()["pressure"] < 0.0


def test_an_account_that_uses_up_its_allowance_is_refused_alone() -> None:
    """Its tokens get cheap beyond the neighbors; the others' do not."""
    bench = Bench(account=0.1)
    for name in ("greedy", "modest"):
        for _ in range(600):
            bench.budget.ledger(name).earn()
    bench.ask(100, 5.0, account="greedy")
    bench.ask(1, 5.0, account="modest")
    with pytest.raises(Overloaded):
        bench.governed.admit("greedy")
    bench.governed.admit("modest")
    bench.governed.admit("")
    assert bench.budget.ledger("greedy").pressed < 1.0
    assert bench.budget.ledger("modest").pressed == 1.0


def test_an_emergency_target_is_for_emergencies_alone() -> None:
    """Full pressure that does not help; it ends with the pressure. Without one the target never moves."""
    bench = Bench(CostLimits(inference=0.5, emergency_target=0.8))
    bench.ask(100, 3.0)
    assert not bench.governed.emergency
    bench.ask(100, 10.0)
    assert bench.governed.emergency
    assert bench.budget.ledger().epsilon == pytest.approx(0.2)
    bench.ask(5, 30.0)
    assert not bench.governed.emergency
    assert bench.budget.ledger().epsilon == pytest.approx(0.05)
    assert bench.governed.emergency_answers > 0
    firm = Bench(CostLimits(inference=0.5))
    firm.ask(100, 30.0)
    assert firm.budget.ledger().epsilon == pytest.approx(0.05)


def test_the_function_with_the_dearest_inferences_saves_first() -> None:
    """A token saves an inference of it."""
    bench = Bench(worker=CostLimits(inference=0.5))
    cheap: Any = SimpleNamespace(mean_cost_s=0.001, queued=0)
    other = bench.shared.govern("g@1", CostLimits(), cheap, [], Budget(0.95))
    assert other is not None
    for _ in range(300):
        bench.ask(75, 1.0 / 75)
        other.charge("", 0.001)
        other(Answered("g@1", Outcome.MISS, "", 0.001))
    assert bench.governed.statistics()["pressure"] > 2 * other.statistics()["pressure"]
