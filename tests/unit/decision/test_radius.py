"""How far an entry reaches: the margin that the policy asks decides."""

from __future__ import annotations

import math

import pytest

from likewise.decision.radius import lean, safe_radius
from likewise.types import Neighbors


def asks(margin: float):
    """A policy that asks for a margin, and for nothing else."""

    def confident(neighbors: Neighbors) -> bool:
        winner = neighbors.labels[0]
        rival = next(
            (d for d, label in zip(neighbors.distances, neighbors.labels, strict=True) if label != winner),
            neighbors.distances[-1],
        )
        return winner == 1 and math.log((rival + 1e-9) / (neighbors.distances[0] + 1e-9)) >= margin

    return confident


@pytest.mark.parametrize("margin", [0.1, 0.7, 1.5])
def test_the_radius_is_that_of_the_formula(margin: float) -> None:
    """r = d ÷ (1 + e^m)."""
    around = Neighbors([0.3, 0.8, 1.0], [1, 2, 1], [0, 1, 2])
    assert safe_radius(around, 1, asks(margin)) == pytest.approx(0.8 / (1.0 + math.exp(margin)), rel=1e-3)


def test_any_key_within_it_is_one_that_the_policy_takes() -> None:
    """The nearest rival is as near as the worst direction brings it."""
    radius = safe_radius(Neighbors([1.0], [2], [0]), 1, asks(1.0))
    for step in range(11):
        near = radius * step / 10
        assert asks(1.0)(Neighbors([near, 1.0 - near], [1, 2], [0, 1]))


def test_without_a_rival_the_farthest_neighbor_stands_for_one() -> None:
    around = Neighbors([0.2, 0.5], [1, 1], [0, 1])
    assert 0.0 < safe_radius(around, 1, asks(0.5)) <= 0.25


def test_in_many_dimensions_a_key_hardly_lies_off_towards_a_rival() -> None:
    """So an entry reaches farther than in the worst direction, the only one that a single number has."""
    around = Neighbors([1.0], [2], [0])
    assert lean(1) == 1.0
    assert lean(100) == pytest.approx(0.1)
    worst, likely = safe_radius(around, 1, asks(1.0)), safe_radius(around, 1, asks(1.0), lean(100))
    assert worst < likely < 0.5
    for step in range(1, 11):
        near = likely * step / 10
        rival = math.sqrt(1.0 + near * near - 2 * 0.1 * near)
        assert asks(0.99)(Neighbors([near, rival], [1, 2], [0, 1]))


@pytest.mark.parametrize(
    "around",
    [Neighbors([], [], []), Neighbors([0.0, 1.0], [2, 1], [0, 1])],
    ids=["nothing is known", "a rival at the very place"],
)
def test_where_nothing_is_safe_nothing_is_stated(around: Neighbors) -> None:
    assert safe_radius(around, 1, asks(0.5)) == 0.0


def test_a_policy_that_trusts_nothing_states_nothing() -> None:
    assert safe_radius(Neighbors([1.0], [2], [0]), 1, lambda _: False) == 0.0
