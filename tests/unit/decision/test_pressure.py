"""What a token is worth, by how much is used of what may be."""

from __future__ import annotations

import random

import pytest

from likewise.decision.budget import Budget
from likewise.decision.ledger import Ledger
from likewise.decision.pressure import FASTEST, PLENTY, SAVING, Pressure


def test_overload_makes_tokens_cheap_and_idleness_makes_them_dear() -> None:
    """Within seconds, and never beyond the bounds."""
    pressure = Pressure()
    for _ in range(40):
        pressure.follow(3.0, 0.25)
    assert pressure.level == 1.0
    assert pressure.price(PLENTY) == pytest.approx(FASTEST)
    for _ in range(40):
        pressure.follow(0.0, 1.0)
    assert pressure.level == -1.0
    assert pressure.price(PLENTY) == SAVING


def test_an_empty_ledger_is_spent_at_the_usual_price() -> None:
    """An emptied one probes nearly every request."""
    pressure = Pressure()
    pressure.level = 1.0
    assert pressure.price(0.0) == 1.0
    prices = [pressure.price(tokens) for tokens in range(0, 100, 5)]
    assert prices == sorted(prices, reverse=True)


@pytest.mark.parametrize("seed", range(20))
def test_false_answers_stay_within_what_requests_earned_whatever_the_target_was(seed: int) -> None:
    """The charges, which the false answers equal in the mean, never exceed slack and what each request earned."""
    draw = random.Random(seed)
    budget = Budget(0.95, slack=3.0)
    ledger, earned = budget.ledger(), 3.0
    for _ in range(2000):
        if draw.random() < 0.01:
            budget.relax(draw.choice([None, 0.8, 0.9]))
        earned += ledger.epsilon
        ledger.earn()
        probability = max(ledger.floor(), draw.random())
        if probability < 1.0 and draw.random() < probability:
            charge = ledger.reserve(probability)
            (ledger.spend if draw.random() < 0.5 else ledger.release)(charge)
        assert ledger.tokens >= 0.0
        assert ledger.spent + ledger.tokens <= earned + 1e-6


def test_what_an_emergency_earned_is_not_carried_over() -> None:
    """Tokens count in proportion, for accounts of then and of later."""
    budget = Budget(0.95, slack=3.0)
    shared = budget.ledger()
    budget.relax(0.8)
    for _ in range(100):
        shared.earn()
    assert shared.tokens == pytest.approx(23.0)
    other = budget.ledger("key")
    assert other.epsilon == pytest.approx(0.2)
    budget.relax(None)
    assert shared.tokens == pytest.approx(23.0 / 4)
    assert (shared.epsilon, other.epsilon) == (pytest.approx(0.05), pytest.approx(0.05))
    kept = Ledger(0.95)
    kept.restore(shared.state())
    assert kept.tokens == pytest.approx(shared.tokens)
