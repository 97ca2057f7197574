"""A crowded model: who waits for a probe that holds the tokens, and who does not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ladder_bench import ladder_bench, picture

from likewise.errors import DeadlineExceeded, Overloaded
from likewise.function import holding
from likewise.requests import NO_CONTROL, Answer, Control, Outcome
from likewise.types import Session, Tensor


class Gated:
    """The full model behind a gate."""

    dynamic_batch = True

    def __init__(self, run: Callable[[Tensor], list[Tensor]]) -> None:
        self.open = threading.Event()
        self.batches: list[int] = []
        self._run = run

    def run(self, batch: Tensor) -> list[Tensor]:
        assert self.open.wait(20)
        self.batches.append(len(batch))
        return self._run(batch)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """The bundled signs, a model behind a gate, and variants that are sure of themselves; 0.999: nothing is probed."""
    with ladder_bench(tmp_path) as made:
        made.gate = Gated(made.fn.runner._batcher._model.run)
        made.fn.runner._batcher._model = made.gate
        yield made
        made.gate.open.set()


def ask(bench: SimpleNamespace, seed: int, control: Control = NO_CONTROL, account: str = "") -> asyncio.Future[Answer]:
    session = Session(account=account)
    return asyncio.ensure_future(bench.pipeline.answer(bench.fn, "image/png", picture(seed), control, session))


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def crowd(bench: SimpleNamespace) -> list[asyncio.Future[Answer]]:
    """Have a probe computed that holds the tokens, and an input wait behind it."""
    bench.coin.next = 0.0
    probe = ask(bench, 1)
    await until(lambda: bench.coin.tossed == 1)
    bench.coin.next = 0.999
    waiting = ask(bench, 2, Control(no_store=True))
    await until(lambda: bench.fn.runner.queued == 1)
    return [probe, waiting]


async def test_a_request_waits_for_the_probe_and_is_answered_by_a_variant(bench: SimpleNamespace) -> None:
    """With the tokens that were left it would have been computed, behind all others."""
    first = await crowd(bench)
    held = ask(bench, 3)
    await until(lambda: bench.fn.holding.held == 1)
    assert bench.coin.tossed == 1
    bench.gate.open.set()
    assert [each.outcome for each in await asyncio.gather(*first)] == [Outcome.PROBE, Outcome.BYPASS]
    assert (await held).outcome is Outcome.VARIANT
    assert (bench.fn.holding.held, bench.fn.runner.computed) == (0, 2)


@pytest.mark.parametrize(("late_s", "order"), [(0.0, [3, 4, 5]), (10.0, [5, 4, 3])], ids=["short", "standing"])
async def test_those_who_wait_are_answered_in_order_the_last_first_where_that_is_late(
    bench: SimpleNamespace, late_s: float, order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more come than can be answered, some are answered soon, instead of all late."""
    now = 1000.0
    monkeypatch.setattr(holding, "perf_counter", lambda: now)
    first = await crowd(bench)
    answered: list[int] = []
    held = []
    for seed in (3, 4, 5):
        held.append(ask(bench, seed))
        held[-1].add_done_callback(lambda _, seed=seed: answered.append(seed))
        await until(lambda: bench.fn.holding.held == len(held))
    now += late_s
    bench.gate.open.set()
    assert {each.outcome for each in await asyncio.gather(*held)} == {Outcome.VARIANT}
    assert answered == order
    await asyncio.gather(*first)


@pytest.mark.parametrize("control", [Control(timeout_s=1.0), NO_CONTROL], ids=["504", "503"])
async def test_what_would_wait_too_long_for_a_probe_is_refused_before_it_is_read(
    bench: SimpleNamespace, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By how many wait, and how fast they are called; but for the bytes that came before, and those of others.

    Where the model has room, it is computed for certain instead.
    """
    first = await crowd(bench)
    held = [ask(bench, seed) for seed in (3, 4, 5)]
    await until(lambda: bench.fn.holding.held == 3)
    read = []
    read_now = bench.fn.reader.read_now
    monkeypatch.setattr(bench.fn.reader, "read_now", lambda *given: read.append(1) or read_now(*given))
    pace_s = 0.2 if control.timeout_s == 1.0 else 2.0
    pace = SimpleNamespace(pace_s=lambda _now: pace_s, served=lambda _now: None)
    monkeypatch.setattr(bench.fn.holding, "_throughput", pace)
    soon = ask(bench, 6, control)  # three are before it, which takes less than three quarters of its time
    await until(lambda: bench.fn.holding.held == 4)
    certain = ask(bench, 7, control)  # the model can have it sooner
    await until(lambda: bench.fn.runner.queued == 2)
    bench.fn.runner._batcher.mean_cost_s, bench.fn.runner._batcher.inferences = 5.0, 1
    with pytest.raises(DeadlineExceeded if control.timeout_s == 1.0 else Overloaded, match="about"):
        await ask(bench, 8, control)
    assert len(read) == 2
    again = ask(bench, 3, Control(timeout_s=100.0))
    assert (await ask(bench, 9, control, account="other")).outcome is Outcome.VARIANT
    bench.gate.open.set()
    await asyncio.gather(*first, *held, soon, again)
    assert (await certain).outcome is Outcome.MISS


@pytest.mark.parametrize("control", [Control(no_store=True, timeout_s=1.0), Control(no_cache=True, timeout_s=1.0)])
async def test_what_could_not_be_computed_in_time_is_refused_before_it_is_read(
    bench: SimpleNamespace, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no hit that it could be."""
    first = await crowd(bench)
    batcher = bench.fn.runner._batcher
    batcher.mean_cost_s, batcher.inferences = 5.0, 1
    monkeypatch.setattr(bench.fn.reader, "read_now", lambda *_: pytest.fail("it was read"))
    with pytest.raises(DeadlineExceeded, match="about"):
        await ask(bench, 9, control)
    bench.gate.open.set()
    await asyncio.gather(*first)


async def test_hits_go_on_beside_a_probe_where_tokens_are_many(bench: SimpleNamespace) -> None:
    """While others wait for the model, a probe leaves half of the tokens to them; they are answered by those, at once.

    The first one began before anybody waited, and has all that there were.
    """
    ledger = bench.fn.neighbors._budget.ledger()
    first = await crowd(bench)
    ledger.tokens = 40.0
    bench.coin.next = 0.0
    probe = ask(bench, 3)
    await until(lambda: bench.fn.runner.queued == 2)
    assert 15.0 < ledger.tokens < 25.0
    bench.coin.next = 0.999
    assert (await ask(bench, 4)).outcome is Outcome.VARIANT
    assert bench.fn.holding.held == 0
    bench.gate.open.set()
    await asyncio.gather(*first, probe)


async def test_other_accounts_do_not_wait(bench: SimpleNamespace) -> None:
    """They have tokens of their own."""
    first = await crowd(bench)
    held = ask(bench, 3)
    await until(lambda: bench.fn.holding.held == 1)
    assert (await ask(bench, 4, account="other")).outcome is Outcome.VARIANT
    bench.gate.open.set()
    await asyncio.gather(*first, held)


async def test_what_is_computed_in_any_case_does_not_wait(bench: SimpleNamespace) -> None:
    """`no-cache` asks for the model itself."""
    first = await crowd(bench)
    fresh = ask(bench, 3, Control(no_cache=True))
    await until(lambda: bench.fn.runner.queued == 2)
    assert bench.fn.holding.held == 0
    bench.gate.open.set()
    assert (await fresh).outcome is Outcome.MISS
    await asyncio.gather(*first)


async def test_a_model_with_nothing_behind_it_computes_at_once(bench: SimpleNamespace) -> None:
    """To wait for the probe would take as long."""
    bench.coin.next = 0.0
    probe = ask(bench, 1)
    await until(lambda: bench.coin.tossed == 1 and bench.fn.runner.queued == 0)
    asked = ask(bench, 3)
    await until(lambda: bench.fn.runner.queued == 1)
    assert bench.fn.holding.held == 0
    bench.gate.open.set()
    await asyncio.gather(probe, asked)


async def test_who_finds_no_room_to_wait_is_computed_for_certain(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No coin is tossed: a probe by few tokens costs an inference and lets hardly a hit through."""
    monkeypatch.setattr(holding, "MOST", 0)
    first = await crowd(bench)
    asked = ask(bench, 3)
    await until(lambda: bench.fn.runner.queued == 2)
    bench.gate.open.set()
    await asyncio.gather(*first)
    assert (await asked).outcome is Outcome.MISS
    assert bench.coin.tossed == 1


async def test_who_waits_is_let_go_when_the_probe_is_given_up_or_its_time_is_over(bench: SimpleNamespace) -> None:
    """Nobody waits for a result that never comes, nor longer than an answer is of use."""
    first = await crowd(bench)
    held, late = ask(bench, 3), ask(bench, 4, Control(timeout_s=0.05))
    with pytest.raises(DeadlineExceeded):
        await late
    bench.gate._run = lambda batch: (_ for _ in ()).throw(RuntimeError("the model fell over"))
    bench.gate.open.set()
    outcomes = await asyncio.gather(*first, return_exceptions=True)
    assert all(isinstance(each, Exception) for each in outcomes)
    await asyncio.gather(held, return_exceptions=True)
    assert bench.fn.holding.held == 0
    assert bench.fn.neighbors._budget.ledger().reserved == 0.0


async def test_an_exact_repeat_waits_for_nothing(bench: SimpleNamespace) -> None:
    """It takes no tokens."""
    bench.gate.open.set()
    await ask(bench, 5, Control(no_cache=True))
    bench.gate.open.clear()
    first = await crowd(bench)
    assert (await ask(bench, 5)).outcome is Outcome.EXACT
    bench.gate.open.set()
    await asyncio.gather(*first)
