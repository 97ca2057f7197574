"""The theorem once more, through the whole policy: evidence, learning, probes in flight and restarts included."""

from __future__ import annotations

import json
import math
import random
from collections import deque

import pytest

from likewise.decision.calibrated import Calibrated
from likewise.decision.ledger import Ledger
from likewise.types import Neighbors, Sample, Session, Verdict

REQUESTS = 260
TARGET = 0.9
FLATTERY = Sample((1.0, 2.0, -2.0, 0.5, 0.0, 0.0), False, 1.0, 0.05)
NEAR = Neighbors([0.05, *[0.4] * 9], [1] * 10, list(range(10)))


def is_wrong(adversary: str, at: int, caught: list[bool], own: random.Random) -> bool:
    """Say what an adversary, who sees everything but the coin, makes of the next request."""
    if adversary == "always":
        return at >= 40
    if adversary == "flips":
        return (at // 60) % 2 == 1
    if adversary == "bursts":
        return at > 40 and at % 25 < 8
    return at > 40 and not any(caught[-12:]) and own.random() < 0.8


def play(adversary: str, seed: int, delay: int, restart_every: int, flattered: bool) -> int:
    """Return the false hits of one run; results of computed requests come `delay` requests later.

    flattered: before each request, other nodes say that such hits are always right, and the device that asks is known
    to get the same answer time and again.
    """
    coin, own = random.Random(seed), random.Random(seed + 1)
    ledger = Ledger(TARGET)
    policy = Calibrated(TARGET, coin.random, ledger)
    caught: list[bool] = []
    flying: deque[tuple[int, Verdict, int]] = deque()
    false_hits = 0
    for at in range(REQUESTS):
        if restart_every and at % restart_every == restart_every - 1:
            state = json.loads(json.dumps(policy.state()))
            ledger = Ledger(TARGET)
            policy = Calibrated(TARGET, coin.random, ledger)
            policy.restore(state)
            flying.clear()
        while flying and flying[0][0] <= at:
            _, verdict, truth = flying.popleft()
            policy.learn(verdict, truth)
            caught.append(verdict.probe and truth != verdict.label)
        if flattered:
            policy.observe([FLATTERY] * 4)
        truth = 2 if is_wrong(adversary, at, caught, own) else 1
        verdict = policy.decide(NEAR, Session(1) if flattered else None)
        if verdict.reuse:
            false_hits += truth != verdict.label
            caught.append(False)
        elif own.random() < 0.05:
            policy.abandon(verdict)
        else:
            flying.append((at + delay, verdict, truth))
        assert ledger.tokens >= 0.0
        assert ledger.tokens <= ledger.cap
    return false_hits


@pytest.mark.parametrize("adversary", ["always", "flips", "bursts", "reacts"])
@pytest.mark.parametrize(
    ("delay", "restart_every", "flattered"),
    [(0, 0, False), (6, 0, False), (3, 50, False), (3, 0, True)],
    ids=["alone", "in-flight", "restarts", "lying peers and devices"],
)
def test_the_policy_keeps_its_promise_against_adversaries(
    adversary: str, delay: int, restart_every: int, flattered: bool
) -> None:
    """Over many coins, the mean of false hits is at most ε·t + slack, up to four standard errors."""
    falses = [play(adversary, 6151 * seed, delay, restart_every, flattered) for seed in range(40)]
    mean = sum(falses) / len(falses)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in falses) / (len(falses) - 1))
    assert mean <= (1.0 - TARGET) * REQUESTS + 3.0 + 4.0 * deviation / math.sqrt(len(falses))
