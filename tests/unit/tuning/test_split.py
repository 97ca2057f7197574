"""What keys are fitted on is not what they are played on, and no order gives the results away."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from likewise.tuning.split import BLOCK, FEW, rounds, sorted_by_result, split


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


@pytest.mark.parametrize("count", [2, 3, 10, 45, 1000, FEW + 1])
def test_each_request_is_played_as_often_by_what_was_fitted_to_others(count: int) -> None:
    """However few there are, and with several devices; few are split once more, at other places."""
    for devices in ([0] * count, [at % 3 for at in range(count)]):
        parts = rounds(devices, list(range(count)))
        often = Counter(at for part in parts for at in part.played.tolist())
        assert often == dict.fromkeys(range(count), 2 if 24 <= count <= FEW else 1)
        assert len({tuple(part.played) for part in parts}) == len(parts)
        for part in parts:
            assert len(part.fitted)
            assert part.played.tolist() == sorted(part.played)
            assert sorted([*part.fitted, *part.played]) == list(range(count))


def test_sorted_inputs_are_played_in_a_random_order_and_fitted_on_some_of_each_kind() -> None:
    """Short blocks of each thirty that belong together are in both parts of every round."""
    labels = [at // 30 for at in range(300)]
    for part, again in zip(rounds([0] * 300, labels), rounds([0] * 300, labels), strict=True):
        assert sorted([*part.fitted, *part.played]) == list(range(300))
        assert part.played.tolist() != sorted(part.played)
        assert {at // 30 for at in part.fitted.tolist()} == {at // 30 for at in part.played.tolist()} == set(range(10))
        assert np.array_equal(part.played, again.played)
