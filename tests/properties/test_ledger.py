"""The ledger's theorem, against adversaries that see everything but the coin."""

from __future__ import annotations

import json
import math
import random
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.decision import Ledger

Adversary = Callable[[int, list[bool], random.Random], bool]
"""Says whether the next would-be hit is wrong, from the time, the detections so far and its own randomness."""


def always(at: int, detected: list[bool], own: random.Random) -> bool:
    """Every would-be hit is wrong."""
    return True


def flips(at: int, detected: list[bool], own: random.Random) -> bool:
    """All is well, then nothing is."""
    return at >= 80


def bursts(at: int, detected: list[bool], own: random.Random) -> bool:
    """Wrong in bursts of 20 of every 60."""
    return at % 60 < 20


def reacts(at: int, detected: list[bool], own: random.Random) -> bool:
    """Wrong until caught, then good for 15 requests."""
    return not any(detected[-15:])


def gambles(at: int, detected: list[bool], own: random.Random) -> bool:
    """Wrong more often while it was not caught lately."""
    return own.random() < (0.05 if any(detected[-40:]) else 0.6)


ADVERSARIES = [always, flips, bursts, reacts, gambles]


def play(
    adversary: Adversary,
    seed: int,
    *,
    epsilon: float = 0.05,
    requests: int = 160,
    delay: int = 0,
    restart_every: int = 0,
    slack: float = 3.0,
    cap: float = 100.0,
) -> tuple[int, float, Ledger]:
    """Return (false hits, allowance, ledger) of one run at the least probing that the ledger allows.

    delay: requests until a probe's result comes in; restart_every: requests until the process dies, losing its probes.
    """
    coin, own = random.Random(seed), random.Random(seed + 1)
    ledger = Ledger(1.0 - epsilon, slack, cap)
    detected: list[bool] = []
    flying: deque[tuple[int, float, bool]] = deque()
    false_hits = 0
    for at in range(requests):
        if restart_every and at % restart_every == restart_every - 1:
            state = json.loads(json.dumps(ledger.state()))
            ledger = Ledger(1.0 - epsilon, slack, cap)
            ledger.restore(state)
            flying.clear()
        while flying and flying[0][0] <= at:
            _, charge, was_wrong = flying.popleft()
            detected.append(was_wrong)
            (ledger.spend if was_wrong else ledger.release)(charge)
        ledger.earn()
        wrong = adversary(at, detected, own)
        probability = ledger.floor()
        ledger.expose(probability)
        if coin.random() < probability:
            flying.append((at + delay, ledger.reserve(probability), wrong))
        else:
            false_hits += wrong
            detected.append(False)
        assert ledger.tokens >= 0.0
    return false_hits, slack + epsilon * requests, ledger


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize(("delay", "restart_every"), [(0, 0), (12, 0), (5, 70)], ids=["alone", "in-flight", "restarts"])
def test_expected_false_hits_stay_within_the_budget(adversary: Adversary, delay: int, restart_every: int) -> None:
    """Over many coins, the mean of false hits is at most ε·t + slack, up to four standard errors."""
    runs = 300
    falses = [play(adversary, 7919 * seed, delay=delay, restart_every=restart_every)[0] for seed in range(runs)]
    mean = sum(falses) / runs
    deviation = math.sqrt(sum((value - mean) ** 2 for value in falses) / (runs - 1))
    allowance = 3.0 + 0.05 * 160
    assert mean <= allowance + 4.0 * deviation / math.sqrt(runs)


def test_the_bound_is_nearly_attained_by_the_worst_adversary() -> None:
    """An adversary that is always wrong gets most of the allowance: the test above could have failed."""
    runs = 300
    mean = sum(play(always, 104729 * seed)[0] for seed in range(runs)) / runs
    assert mean >= 0.7 * (3.0 + 0.05 * 160)


@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_the_certificate_holds_at_the_end_of_nearly_all_runs(adversary: Adversary) -> None:
    """False hits exceed the certified bound in at most a share of 0.05 of the runs."""
    broken = 0
    for seed in range(250):
        false_hits, _, ledger = play(adversary, 15485863 * seed, delay=4)
        broken += false_hits > ledger.bound()
    assert broken <= 0.05 * 250


@given(
    st.floats(0.5, 0.999),
    st.floats(0.0, 20.0),
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.sampled_from("hrwa")), max_size=120),
)
@settings(max_examples=150, deadline=None)
def test_tokens_never_fall_below_zero_and_charges_never_exceed_what_was_earned(
    target: float, slack: float, steps: list[tuple[float, float, str]]
) -> None:
    """On any path of probes that come back right, wrong or never, in any order."""
    ledger = Ledger(target, slack, 30.0)
    flying: list[float] = []
    for above_floor, coin, fate in steps:
        ledger.earn()
        floor = ledger.floor()
        probability = floor + above_floor * (1.0 - floor)
        ledger.expose(probability)
        if coin < probability:
            flying.append(ledger.reserve(probability))
        if fate == "r" and flying:
            ledger.release(flying.pop(0))
        elif fate in "wa" and flying:
            ledger.spend(flying.pop())
        assert ledger.tokens >= 0.0
        assert ledger.spent + sum(flying) <= slack + ledger.epsilon * ledger.requests + 1e-9
        assert ledger.tokens + ledger.reserved <= 30.0 + 1e-9


def test_a_window_never_costs_more_than_the_cap_and_its_own_income() -> None:
    """After a long clean stretch, an always wrong stream of n requests costs at most cap + ε·n in the mean."""
    runs, window, totals = 400, 200, 0
    for seed in range(runs):
        coin = random.Random(seed)
        ledger = Ledger(0.95, 3.0, 10.0)
        for _ in range(300):
            ledger.earn()
        for _ in range(window):
            ledger.earn()
            probability = ledger.floor()
            if coin.random() < probability:
                ledger.spend(ledger.reserve(probability))
            else:
                totals += 1
    assert totals / runs <= 10.0 + 0.05 * window + 1.5  # and four standard errors
