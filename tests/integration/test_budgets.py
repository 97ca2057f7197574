"""A function that has used up its budget: what is still answered, and what is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ladder_bench import ask, ladder_bench, picture

from likewise.errors import InvalidFunction, Overloaded
from likewise.function.governor import CostLimits
from likewise.requests import Control, Outcome
from likewise.types import Session


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """The bundled signs with a budget, a coin of the test's own, and variants that are sure of themselves."""
    with ladder_bench(tmp_path, costs=CostLimits(inference=0.5)) as made:
        assert made.fn.governor is not None
        yield made


def test_an_exhausted_budget_refuses_what_must_be_computed_and_nothing_else(bench: SimpleNamespace) -> None:
    """Repeats and variants go on, and so do probes, which are owed."""
    fresh = Control(no_cache=True)
    assert ask(bench, picture(1), fresh).outcome is Outcome.MISS
    bench.assembler._budgets.whole.use(1000.0)
    with pytest.raises(Overloaded, match="budget of inference"):
        ask(bench, picture(2), fresh)
    with pytest.raises(Overloaded):
        ask(bench, picture(2), Control(no_store=True))
    assert ask(bench, picture(1)).outcome is Outcome.EXACT
    assert ask(bench, picture(3)).outcome is Outcome.VARIANT
    bench.coin.next = 0.0
    assert ask(bench, picture(4)).outcome is Outcome.PROBE
    assert bench.fn.statistics()["budget"]["refused"] == 2
    assert bench.fn.policies["cnn"]._budget.ledger().reserved == 0.0


def test_an_emergency_target_above_the_target_stops_the_start(bench: SimpleNamespace) -> None:
    """It names the field."""
    path = bench.folder / "function.toml"
    path.write_text(path.read_text() + "\n[budget]\nemergency_target = 0.99\n")
    with pytest.raises(InvalidFunction, match="emergency_target"):
        bench.assembler.build(bench.folder)


def test_a_function_has_budgets_of_its_own(bench: SimpleNamespace) -> None:
    """From its spec."""
    path = bench.folder / "function.toml"
    path.write_text(path.read_text() + "\n[budget]\ninference = 0.2\npower_w = 1.5\nlatency_ms = 50\n")
    limits = bench.assembler.build(bench.folder).governor._limits
    assert (limits.per_s, limits.latency_s) == (pytest.approx(0.1), pytest.approx(0.05))


def test_opinions_count_though_nothing_is_answered(bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is refused after variants were asked has used what they took; in the end they are asked no more."""
    bench.assembler._budgets._account_inference = 0.5
    for rung in bench.fn.variants.ladder._rungs:
        rung.calibration.weights = (-6.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # what they say is refused
    greedy, modest = (bench.assembler._budgets.account(name) for name in ("greedy", "modest"))
    greedy.use(greedy.reserve + 1.0)
    used: list[float] = []
    charge = bench.fn.governor.charge
    monkeypatch.setattr(bench.fn.governor, "charge", lambda _, seconds: used.append(seconds))
    with pytest.raises(Overloaded):
        ask(bench, picture(1), account="greedy")
    asked = sum(each.asked for each in bench.fn.variants)
    assert asked > 0
    assert sum(used) == pytest.approx(sum(each.mean_cost_s for each in bench.fn.variants if each.asked))
    monkeypatch.setattr(bench.fn.governor, "charge", charge)
    greedy.use(greedy.reserve)
    for seed in range(2, 10):
        with pytest.raises(Overloaded):
            ask(bench, picture(seed), account="greedy")
    assert sum(each.asked for each in bench.fn.variants) == asked
    assert ask(bench, picture(10), account="modest").outcome is Outcome.MISS
    assert sum(each.asked for each in bench.fn.variants) > asked
    assert modest.balance < modest.reserve


async def test_whoever_goes_away_has_used_what_is_computed_for_it(bench: SimpleNamespace) -> None:
    """Once a worker has its input; what still waits then is dropped, and costs nobody anything."""
    bench.assembler._budgets._account_inference = 0.5
    greedy = bench.assembler._budgets.account("greedy")
    gate = threading.Event()
    bench.assembler._workers.executor.submit(gate.wait, 240)  # the worker's thread is busy
    runner = bench.fn.runner
    control, session = Control(no_store=True), Session(account="greedy")
    tasks = [
        asyncio.create_task(bench.pipeline.answer(bench.fn, "image/png", picture(seed), control, session))
        for seed in range(3)
    ]
    while runner.queued < 2:  # one is handed to the worker
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    gate.set()
    assert greedy.reserve - greedy.balance == pytest.approx(runner.mean_cost_s, rel=0.5)
