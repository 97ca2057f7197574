"""Few of the places where a model may be cut are measured: those that hand over little, from all depths."""

from __future__ import annotations

from likewise.tuning.graph import Cut
from likewise.tuning.layers import MOST_PLACES, worth_a_look


def test_of_neighbors_the_one_with_the_smallest_tensor_is_taken() -> None:
    """The later one of two that are alike: it says more."""
    cuts = [Cut(str(at), at / 100) for at in range(4 * MOST_PLACES)]
    shapes = {cut.tensor: (8, 4, 4) if at % 4 in (1, 2) else (8, 8, 8) for at, cut in enumerate(cuts)}
    assert worth_a_look(cuts, shapes) == cuts[2::4]


def test_few_are_all_taken() -> None:
    """And of none, none."""
    cuts = [Cut("a", 0.1), Cut("b", 0.2)]
    assert worth_a_look(cuts, {"a": (4, 8, 8), "b": (64,)}) == cuts
    assert worth_a_look([], {}) == []
