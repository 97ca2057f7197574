"""The theorem over ladders: one coin and one ledger for neighbors and variants, against adversaries on every rung."""

from __future__ import annotations

import json
import math
import random
from collections import deque
from collections.abc import Callable

import pytest

from likewise.decision import Budget
from likewise.decision.calibrated import Calibrated
from likewise.decision.ladder import Ladder, Step
from likewise.decision.opinions import Opinion
from likewise.types import NO_NEIGHBORS, Neighbors, Session, Source, Verdict

EPSILON = 0.05
REQUESTS = 180
TRUE, FALSE = 1, 2
CERTAIN = (12.0, 12.0)
STEPS = [Step("head", 0.001, 0.98), Step("student", 0.02, 0.99)]

Adversary = Callable[[int, list[bool], random.Random], tuple[bool, bool, bool]]
"""Says whether the neighbors, the first and the second variant are wrong, from what was detected so far."""


def all_wrong(at: int, detected: list[bool], own: random.Random) -> tuple[bool, bool, bool]:
    """All rungs err alike, so that each confirms the other."""
    return True, True, True


def turns(at: int, detected: list[bool], own: random.Random) -> tuple[bool, bool, bool]:
    """All is well for long enough to be trusted, then one rung after another is wrong."""
    return at % 90 > 60, at % 90 > 50, at % 90 > 40


def reacts(at: int, detected: list[bool], own: random.Random) -> tuple[bool, bool, bool]:
    """Wrong until caught, then good for a while."""
    wrong = not any(detected[-15:])
    return wrong, wrong, wrong


def gambles(at: int, detected: list[bool], own: random.Random) -> tuple[bool, bool, bool]:
    """Correlated errors, the likelier the longer none was caught."""
    wrong = own.random() < (0.05 if any(detected[-40:]) else 0.6)
    return wrong, wrong or own.random() < 0.3, wrong


def play(adversary: Adversary, seed: int, *, delay: int = 0, restart_every: int = 0, overload: bool = False,
         pressure: bool = False) -> int:  # fmt: skip
    """Return the false answers of one run.

    delay: requests until a full computation's result comes in; restart_every: until the process dies with what is in
    flight; overload: every third stretch of requests finds the probes' lane full, and every fifth probe is given up.
    pressure: the price of tokens jumps between its bounds, and variants come and go.
    """
    coin, own = random.Random(seed), random.Random(seed + 1)

    def built() -> tuple[Budget, Calibrated, Ladder]:
        budget = Budget(1.0 - EPSILON)
        policy = Calibrated(1.0 - EPSILON, coin.random, budget)

        def here(_: int) -> bool:
            return not pressure or own.random() < 0.8

        return budget, policy, Ladder(1.0 - EPSILON, coin.random, policy, STEPS, present=here)

    budget, policy, ladder = built()
    detected: list[bool] = []
    flying: deque[tuple[int, Verdict]] = deque()
    session, falses = Session(), 0
    for at in range(REQUESTS):
        if restart_every and at % restart_every == restart_every - 1:
            states = json.loads(json.dumps([policy.state(), ladder.state()]))
            budget, policy, ladder = built()
            policy.restore(states[0])
            ladder.restore(states[1])
            flying.clear()
        while flying and flying[0][0] <= at:
            verdict = flying.popleft()[1]
            if verdict.probe:
                detected.append(verdict.label != TRUE)
            given_up = overload and verdict.probe and own.random() < 0.2
            owner: Ladder | Calibrated = ladder if verdict.climb is not None else policy
            owner.abandon(verdict) if given_up else owner.learn(verdict, TRUE)
        if pressure and not at % 7:
            policy.press(own.choice((0.02, 0.3, 1.0, 2.0)))
        near, *variants = (FALSE if wrong else TRUE for wrong in adversary(at, detected, own))
        neighbors = Neighbors([0.01] * 3 + [1.0], [near] * 3 + [3], [0, 1, 2, 3]) if at % 3 else NO_NEIGHBORS
        limit = math.inf
        if overload and at // 20 % 3:
            limit = 0.0 if at // 20 % 3 == 1 else budget.ledger().limit_of_one
        verdict = policy.decide(neighbors, session, None, limit)
        if not verdict.reuse and not verdict.probe:
            climb = ladder.enter(verdict)
            while (rung := ladder.next(climb, limit)) >= 0:
                offered = ladder.offer(climb, Opinion(variants[rung], *CERTAIN), limit)
                if offered is not None:
                    verdict = offered
                    break
            else:
                verdict = ladder.finish(climb)
        if verdict.reuse:
            falses += verdict.label != TRUE
            detected.append(False)
            assert limit > 0.0
        else:
            flying.append((at + delay, verdict))
        assert policy.most_tokens >= 0.0
    return falses


@pytest.mark.parametrize("adversary", [all_wrong, turns, reacts, gambles])
@pytest.mark.parametrize(
    "trouble",
    [
        {},
        {"delay": 9},
        {"delay": 4, "restart_every": 70},
        {"delay": 4, "overload": True},
        {"delay": 4, "overload": True, "pressure": True},
    ],
    ids=["alone", "in flight", "restarts", "overload", "pressure"],
)
def test_false_answers_of_all_rungs_together_stay_within_one_budget(adversary: Adversary, trouble: dict) -> None:
    """In the mean over coins: at most ε·t and the slack, up to four standard errors."""
    runs = 40
    falses = [play(adversary, 7919 * seed, **trouble) for seed in range(runs)]
    mean = sum(falses) / runs
    deviation = math.sqrt(sum((each - mean) ** 2 for each in falses) / (runs - 1))
    assert mean <= EPSILON * REQUESTS + 3.0 + 4.0 * deviation / math.sqrt(runs)


def test_an_adversary_gets_something_out_of_it() -> None:
    """Else the test above could not fail: answers are given, and some of them are false."""
    falses = [play(turns, 104729 * seed) for seed in range(20)]
    assert sum(falses) / 20 >= 1.0


def test_variants_answer_most_of_a_stream_that_they_get_right() -> None:
    """The ladder is in play: without neighbors nearly everything is answered by variants."""
    coin = random.Random(1)
    policy = Calibrated(0.95, coin.random, Budget(0.95))
    ladder = Ladder(0.95, coin.random, policy, STEPS)
    given = 0
    for _ in range(300):
        climb = ladder.enter(policy.decide(NO_NEIGHBORS))
        assert ladder.next(climb) == 0
        verdict = ladder.offer(climb, Opinion(TRUE, *CERTAIN))
        assert verdict is not None
        given += verdict.source is Source.VARIANT
        if verdict.probe:
            ladder.learn(verdict, TRUE)
    assert given > 240
    assert ladder.statistics()["head"]["answers"] == given
    assert ladder.counters.probes == 300 - given
