"""Who waits for probes: whoever's account spent its tokens, one of them after another, and nobody else."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from likewise.decision.budget import Budget
from likewise.function import holding as module
from likewise.function.holding import Holding, Place
from likewise.requests import Asked
from likewise.types import Session


@pytest.fixture
def bench() -> SimpleNamespace:
    """A crowded model, and accounts with 100 tokens each, unless a test says otherwise."""
    expected: list[Callable[[], bool]] = []
    runner: Any = SimpleNamespace(
        queued=3, patience_s=10.0, takes_probes=lambda account: account != "full", expect_probes=expected.append
    )
    budget = Budget(0.95)
    for account in ("a", "b", "full"):
        budget.ledger(account).tokens = 100.0
    return SimpleNamespace(runner=runner, budget=budget, holding=Holding(runner, budget), expected=expected)


def asked(account: str) -> Asked:
    return Asked("key", None, Session(account=account))  # type: ignore[arg-type]


def tie_up(bench: SimpleNamespace, account: str) -> float:
    """Let a probe hold all tokens of an account; return them."""
    ledger = bench.budget.ledger(account)
    return float(ledger.reserve(ledger.floor()))


async def called(places: list[Place]) -> list[Place]:
    """Return those who were called, once everything that is due has run."""
    for _ in range(3):
        await asyncio.sleep(0)
    return [place for place in places if place.called.done()]


def test_probes_share_the_tokens_while_the_model_is_crowded(bench: SimpleNamespace) -> None:
    """Each holds half of what is left, until that serves hardly a hit: the last one holds it all, and the next waits.

    So hits go on beside several probes under way, whose charges the ledger has in hand at all times.
    """
    ledger, limits = bench.budget.ledger("a"), []
    while (limit := bench.holding.limit("a")) > 0.0:
        limits.append(ledger.reserve(1.0 / (1.0 + min(limit, ledger.tokens))))
        assert ledger.tokens >= 0.0
    assert limits == pytest.approx([50.0, 25.0, 12.5, 6.25, 3.125, 3.125])
    ledger.release(limits[-1])
    assert bench.holding.limit("a") == math.inf


async def test_once_others_wait_one_probe_after_another_is_taken_by_all_tokens(bench: SimpleNamespace) -> None:
    """The fewest inferences for the most answers; one that holds little is not waited for, nor another account's."""
    ledger = bench.budget.ledger("a")
    both = [ledger.reserve(1.0 / (1.0 + tokens)) for tokens in (50.0, 26.0)]
    assert bench.holding.take(asked("a")) is not None
    assert bench.holding.limit("a") == 0.0
    ledger.release(both.pop())
    assert bench.holding.limit("a") == 0.0  # though half of all tokens are left
    ledger.release(both.pop())
    assert bench.holding.limit("a") == math.inf
    ledger.reserve(1.0 / (1.0 + 10.0))
    assert bench.holding.limit("a") == math.inf
    assert bench.holding.limit("b") == 50.0
    bench.runner.queued = 0
    ledger.reserve(1.0 / (1.0 + 50.0))
    assert bench.holding.limit("a") == 0.0  # even where the probe is at the model itself, and nothing is behind it


def test_with_nothing_in_front_of_the_model_a_probe_holds_all(bench: SimpleNamespace) -> None:
    """Its result is as near as any, so it need not leave anything to others; fewer probes are needed so."""
    bench.runner.queued = 0
    assert bench.holding.limit("a") == math.inf
    ledger = bench.budget.ledger("a")
    ledger.reserve(1.0 / (1.0 + 40.0))
    assert bench.holding.limit("a") == math.inf
    bench.holding.limit_of_near_certain("a")
    assert bench.holding.limit("a") == math.inf  # nobody waits, so nothing is set aside


def test_those_with_hardly_a_doubt_have_tokens_that_the_others_do_not_touch(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first that comes while others wait on, until a second after the last; each adds what it earns.

    Probes of the others leave them as well where nothing is in front of the model for a moment; one that proves wrong
    spends a quarter of the rest at most. And one of theirs holds half of what is at hand, so that the next is answered
    at once, too.
    """
    now = 1000.0
    monkeypatch.setattr(module, "perf_counter", lambda: now)
    ledger, holding = bench.budget.ledger("a"), bench.holding
    assert holding.limit_of_near_certain("a") == 50.0
    for left in (40.0, 30.0, 22.5):
        ledger.spend(ledger.reserve(1.0 / (1.0 + holding.limit("a"))))
        assert ledger.tokens == pytest.approx(left)
    assert holding.limit_of_near_certain("a") == pytest.approx(11.25)
    ledger.tokens = 100.0
    assert holding.limit("a") == pytest.approx(100.0 - 22.5 - 0.05)
    bench.runner.queued = 0
    assert holding.limit("a") == pytest.approx(100.0 - 22.5 - 0.05)
    now += 0.9
    assert holding.limit_of_near_certain("a") == 50.0  # beside nobody: this one keeps nothing set aside
    now += 0.2
    assert holding.limit("a") == math.inf
    bench.runner.queued = 1
    assert holding.limit("a") == 50.0  # as where nobody else asks


async def test_those_with_hardly_a_doubt_go_ahead_of_others_that_wait(bench: SimpleNamespace) -> None:
    """As soon as a few tokens are at hand, though the others wait for the rest of them."""
    ledger = bench.budget.ledger("a")
    charge, rest = ledger.reserve(1.0 / (1.0 + 90.0)), ledger.reserve(1.0 / (1.0 + 8.0))
    assert bench.holding.limit_of_near_certain("a") == 0.0
    other, certain = bench.holding.take(asked("a")), bench.holding.take(asked("a"), near_certain=True)
    assert not any(map(bench.holding.lets_go, (other, certain)))
    ledger.release(rest)
    bench.holding.settled()
    await asyncio.sleep(0)
    assert (other.called.done(), certain.called.done()) == (False, True)
    assert (bench.holding.lets_go(other), bench.holding.lets_go(certain)) == (False, True)
    bench.holding.leave(certain)
    ledger.release(charge)
    await asyncio.sleep(0)
    assert other.called.done()
    assert bench.holding.lets_go(other)


async def test_they_wait_where_hardly_any_tokens_are_at_hand(bench: SimpleNamespace) -> None:
    """A probe that is taken by few of them would come too often, and so it is where the lane of probes is full."""
    tie_up(bench, "a")
    assert bench.holding.limit_of_near_certain("a") == 0.0
    assert bench.holding.limit_of_near_certain("full") == 0.0
    assert bench.holding.limit_of_near_certain("b") == 50.0


def test_nobody_waits_for_the_probes_of_another_account(bench: SimpleNamespace) -> None:
    """Neither for those that hold its tokens, nor for those that fill the lane."""
    tie_up(bench, "a")
    assert [bench.holding.limit(account) for account in ("a", "full", "b")] == [0.0, 0.0, 50.0]


@pytest.mark.parametrize(
    ("waited_s", "expected"), [(0.0, [0, 2, 1, 3]), (0.2, [1, 3, 0, 2])], ids=["in order", "the last first"]
)
async def test_one_after_another_is_called_and_accounts_take_turns(
    bench: SimpleNamespace, waited_s: float, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each decides before the next one is called, since it may take the tokens itself; the last first, once late."""
    charges = {account: tie_up(bench, account) for account in ("a", "b")}
    now = 1000.0
    monkeypatch.setattr(module, "perf_counter", lambda: now)
    places = [bench.holding.take(asked(account)) for account in "aabb"]
    now += waited_s
    bench.holding.settled()
    assert await called(places) == []
    for account, charge in charges.items():
        bench.budget.ledger(account).release(charge)
    bench.holding.settled()
    order: list[int] = []
    while new := [place for place in await called(places) if places.index(place) not in order]:
        assert len(new) == 1
        order.append(places.index(new[0]))
        bench.holding.leave(new[0])
    assert order == expected
    assert bench.holding.held == 0


async def test_how_long_one_more_would_wait_follows_from_how_many_do_and_how_fast_they_go(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounts take turns, so each of one takes as long as one of all of them; who has tokens does not wait."""
    now = 1000.0
    monkeypatch.setattr(module, "perf_counter", lambda: now)
    for account in ("a", "b"):
        tie_up(bench, account)
    places = [bench.holding.take(asked(account)) for account in "aaaaaabb"]
    assert bench.holding.wait_s("a") == 0.0  # nothing is known yet
    for place in (*places[:2], *places[6:]):
        now += 0.25
        bench.holding._call(place)
    assert bench.holding.wait_s("a") == pytest.approx(1.0)
    assert bench.holding.wait_s("b") == 0.0
    bench.holding.take(asked("b"))
    assert bench.holding.wait_s("a") == pytest.approx(2.0)
    assert bench.holding.wait_s("b") == pytest.approx(0.5)
    assert bench.holding.wait_s("c") == 0.0


async def test_who_leaves_without_a_decision_lets_the_next_one_be_called(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its client goes away in the moment in which it was called."""
    monkeypatch.setattr(module, "perf_counter", lambda: 1000.0)
    charge = tie_up(bench, "a")
    places = [bench.holding.take(asked("a")) for _ in range(3)]
    bench.budget.ledger("a").release(charge)
    bench.holding.settled()
    assert await called(places) == [places[0]]
    bench.holding.leave(places[1])
    bench.holding.leave(places[0])
    assert set(await called(places)) == {places[0], places[2]}


async def test_the_model_is_told_to_expect_probes_while_somebody_waits(bench: SimpleNamespace) -> None:
    """Who is called is decided by the tokens of the last probe, and may be the next one."""
    (expected,) = bench.expected
    assert not expected()
    tie_up(bench, "a")
    place = bench.holding.take(asked("a"))
    assert expected()
    bench.holding.leave(place)
    assert not expected()


async def test_one_that_finds_the_tokens_taken_is_called_again(bench: SimpleNamespace) -> None:
    """A request that came just then may have begun a probe."""
    charge = tie_up(bench, "a")
    place = bench.holding.take(asked("a"))
    bench.budget.ledger("a").release(charge)
    bench.holding.settled()
    assert await called([place])
    again = tie_up(bench, "a")
    bench.holding.wait(place)
    bench.holding.settled()
    assert not await called([place])
    bench.budget.ledger("a").release(again)
    bench.holding.settled()
    assert await called([place])


async def test_places_are_shared_by_account(bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has most makes room, by what came first, which would be called last; nobody does for its own account."""
    monkeypatch.setattr(module, "MOST", 3)
    first, *rest = (bench.holding.take(asked("a")) for _ in range(3))
    assert bench.holding.take(asked("a")) is None
    other = bench.holding.take(asked("b"))
    assert first.leaves
    assert first.called.done()
    assert not any(place.leaves for place in (*rest, other))
    assert bench.holding.held == 3
    assert bench.holding.take(asked("b")) is None  # it would have as much as the other
