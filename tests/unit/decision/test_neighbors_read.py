"""How many neighbors a policy is given."""

from __future__ import annotations

import random

import pytest

from likewise.decision import POLICIES, make_policy, neighbors_read
from likewise.types import Neighbors

ALL = Neighbors([0.1, 0.11, 0.12, 0.3], [3, 4, 4, 5], [7, 8, 9, 1])


@pytest.mark.parametrize("name", [name for name in POLICIES if neighbors_read(name, 4) == 1])
def test_what_is_given_one_neighbor_decides_and_learns_as_with_all(name: str) -> None:
    options = {"fixed": {"threshold": 0.2, "dropout": 0.3}, "potluck": {"warm_up": 3}}.get(name, {})
    alone, among = (make_policy(name, 0.9, random.Random(5).random, **options) for _ in range(2))
    rng = random.Random(1)
    for _ in range(300):
        shift, label = rng.random() / 5, rng.choice([3, 3, 3, 4])
        many = Neighbors([each + shift for each in ALL.distances], ALL.labels, ALL.slots)
        one = Neighbors(*(each[:1] for each in many))
        assert alone.confident(one) == among.confident(many)
        first, second = alone.decide(one), among.decide(many)
        assert (first.source, first.reason, first.slot, first.label, first.probe) == (
            second.source, second.reason, second.slot, second.label, second.probe,
        )  # fmt: skip
        if not first.reuse:
            assert alone.learn(first, label) == among.learn(second, label)
    assert alone.state() == among.state()


def test_others_are_given_what_is_wanted() -> None:
    assert {name: neighbors_read(name, 10) for name in ("calibrated+ledger", "calibrated", "hknn")} == {
        "calibrated+ledger": 10, "calibrated": 10, "hknn": 10,
    }  # fmt: skip
