"""What keys are fitted on is not what they are played on, and no order gives the results away."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.tuning.split import BLOCK, sorted_by_result, split, split_sorted


def test_fitting_and_playing_share_no_block() -> None:
    """Of each device some blocks in a row are played, about a third, the rest is fitted on."""
    devices = [at % 3 for at in range(9 * BLOCK)]
    parts = split(devices)
    assert sorted([*parts.fitted, *parts.played]) == list(range(9 * BLOCK))
    assert 0.2 < len(parts.played) / len(devices) < 0.45
    short = split([0] * 9)
    assert len(short.fitted) > 0
    assert len(short.played) > 0


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0] * 30 + [1] * 30 + [2] * 30, True),
        ([0] * 30 + [1] + [0] * 5 + [2] * 60 + [1] * 30, True),  # the model is not of one mind with who named the files
        ([0, 1, 2] * 30, False),
        (([0] * 10 + [1] * 10) * 5, False),
        ([0] * 90, False),
        (list(range(90)), False),
    ],
)
def test_inputs_in_the_order_of_their_results_are_told(labels: list[int], expected: bool) -> None:
    """But not results that come back, nor those that are all alike or all different."""
    assert sorted_by_result(labels) is expected


def test_sorted_inputs_are_played_in_a_random_order_and_fitted_on_some_of_each_kind() -> None:
    """Short blocks of each thirty that belong together are in both parts; no request is in both, or in none."""
    parts = split_sorted([0] * 300)
    assert sorted([*parts.fitted, *parts.played]) == list(range(300))
    assert parts.played.tolist() != sorted(parts.played)
    assert {at // 30 for at in parts.fitted.tolist()} == {at // 30 for at in parts.played.tolist()} == set(range(10))
    assert np.array_equal(parts.played, split_sorted([0] * 300).played)
