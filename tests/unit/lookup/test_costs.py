"""Costs that devices say: none makes an entry stay for good."""

from __future__ import annotations

import math

import numpy as np
import pytest

from likewise.lookup.costs import MAX_COST_S, PLAUSIBLE, Costs
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Result


@pytest.mark.parametrize(
    ("said", "kept"), [(0.5, 0.5), (86_400.0, MAX_COST_S), (-1.0, 0.0), (math.nan, 0.0), (math.inf, MAX_COST_S)]
)
def test_a_cost_is_a_number_within_bounds(said: float, kept: float) -> None:
    """One by one and in blocks."""
    assert Costs().note(said) == kept
    assert Costs().note_many(np.array([said])).tolist() == [kept]


@pytest.mark.parametrize("at_once", [1, 50])
def test_the_limit_follows_the_median(at_once: int) -> None:
    """A third of the costs may be anything."""
    costs, rng = Costs(), np.random.default_rng(0)
    for _ in range(6000 // at_once):
        said = np.where(rng.random(at_once) < 0.33, 86_400.0, 0.1)
        if at_once == 1:
            costs.note(float(said[0]))
        else:
            costs.note_many(said)
    assert costs.limit_s == pytest.approx(PLAUSIBLE * 0.1, rel=0.5)


@pytest.mark.parametrize("said", [1e300, -1e300, math.nan])
def test_no_cost_is_too_large_to_be_kept(said: float) -> None:
    """Whatever number it is, the entry comes in."""
    made = Namespace("f@1", {"a": 1}, 200, 10**6, 60.0, lambda: 0.0, index_options={"background": False})
    slot = made.insert(Entry(1, {"a": np.zeros(1, np.float32)}, Result(b"1"), said, 0.0, 1e9), 0)
    assert 0 <= made.entry(slot).cost_s <= MAX_COST_S


def test_entries_that_cost_too_much_leave_as_others_do() -> None:
    """Four times the capacity of them, then honest ones: soon the cache is theirs again."""
    made = Namespace("f@1", {"a": 1}, 200, 10**6, 60.0, lambda: 0.0, index_options={"background": False})

    def insert(id: int, cost_s: float) -> None:
        made.insert(Entry(id, {"a": np.array([id], np.float32)}, Result(b"1"), cost_s, 0.0, 1e9), 0)

    for id in range(100):
        insert(id, 0.1)
    for id in range(1000, 1800):
        insert(id, 86_400.0)
    for id in range(2000, 5000):
        insert(id, 0.1)
    assert sum(1000 <= each.id < 1800 for each in made.page(200).entries) < 20
