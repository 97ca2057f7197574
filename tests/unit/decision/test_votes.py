"""The vote of the neighbors."""

from __future__ import annotations

import random

import pytest

from likewise.decision.votes import adds_something, homogeneity, take_vote, vote_for
from likewise.types import Neighbors


def test_unanimous_neighbors_win_with_the_farthest_as_rival() -> None:
    """Without another label, the margin is to the end of what is known."""
    vote = take_vote(Neighbors([0.1, 0.2, 0.4], [3, 3, 3], [9, 8, 7]))
    assert vote == (3, 9, 1.0, 0.1, 0.4)


def test_the_nearest_wins_against_many_that_are_farther() -> None:
    """The calibrated vote is steep."""
    neighbors = Neighbors([0.1, *[0.16] * 9], [1, *[2] * 9], list(range(10)))
    label, slot, share, distance, rival = take_vote(neighbors)
    assert (label, slot, distance, rival) == (1, 0, 0.1, 0.16)
    assert 0.5 < share < 1.0


def test_distant_neighbors_have_no_vote() -> None:
    """However many they are."""
    neighbors = Neighbors([0.1, *[0.2] * 9], [1, *[2] * 9], list(range(10)))
    assert take_vote(neighbors) == (1, 0, 1.0, 0.1, 0.2)


def test_the_nearest_loses_against_many_that_are_as_near() -> None:
    """Several neighbors at almost the same distance outvote it."""
    label, slot, _, _, rival = take_vote(Neighbors([0.100, 0.101, 0.102], [1, 2, 2], [0, 1, 2]))
    assert (label, slot, rival) == (2, 1, 0.100)


def test_the_vote_for_the_winner_is_the_vote() -> None:
    """Up to what distant neighbors add, which the vote leaves out."""
    own = random.Random(4)
    for _ in range(300):
        distances = sorted(own.uniform(0.1, 0.4) for _ in range(10))
        neighbors = Neighbors(distances, [own.randrange(3) for _ in range(10)], list(range(10)))
        if len(set(neighbors.labels)) > 1:
            taken = take_vote(neighbors)
            assert vote_for(neighbors, taken[0]) == pytest.approx(taken, abs=0.08)


def test_the_vote_for_another_label_has_the_nearest_as_rival() -> None:
    label, slot, share, distance, rival = vote_for(Neighbors([0.1, 0.12, 0.3], [1, 2, 2], [7, 8, 9]), 2)
    assert (label, slot, distance, rival) == (2, 8, 0.12, 0.1)
    assert 0.1 < share < 0.5


def test_the_homogeneity_factor_is_the_winners_share_by_inverse_square() -> None:
    """Two at 0.1 against one at 0.2: 8 to 1."""
    label, slot, share = homogeneity(Neighbors([0.1, 0.1, 0.2], [5, 5, 6], [4, 3, 2]))
    assert (label, slot) == (5, 4)
    assert share == pytest.approx(8 / 9, abs=2e-3)


@pytest.mark.parametrize(
    ("labels", "distances", "expected"),
    [
        pytest.param([1, 1], [0.1, 0.2], True, id="few"),
        pytest.param([1, 1, 2], [0.1, 0.2, 0.3], True, id="mixed"),
        pytest.param([1, 1, 1, 2], [0.1, 0.1, 0.1, 0.12], True, id="rival-near"),
        pytest.param([1, 1, 1, 2], [0.1, 0.1, 0.1, 0.15], True, id="rival-at-half-as-far-again"),
        pytest.param([1, 1, 1, 2], [0.1, 0.1, 0.1, 0.2], False, id="covered"),
        pytest.param([1, 1, 1, 1], [0.1, 0.1, 0.1, 0.1], True, id="border-unknown"),
    ],
)
def test_a_result_is_kept_unless_its_place_is_covered(
    labels: list[int], distances: list[float], expected: bool
) -> None:
    """Three nearest of the same label and a distant rival: nothing to add."""
    assert adds_something(Neighbors(distances, labels, list(range(len(labels)))), 1) is expected
