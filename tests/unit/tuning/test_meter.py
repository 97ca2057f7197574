"""A cut is taken where key and rest take little more than the model, which noise may hide."""

from __future__ import annotations

import pytest

from likewise.tuning.meter import Cost, Form
from likewise.tuning.timing import Ratio


@pytest.mark.parametrize(
    ("ratio", "little_enough", "too_much"),
    [
        (Ratio(0.99, 0.98, 1.00), True, False),
        (Ratio(1.02, 1.01, 1.03), True, False),
        (Ratio(1.022, 1.011, 1.032), True, False),
        (Ratio(1.028, 1.020, 1.036), False, False),
        (Ratio(1.02, 0.98, 1.06), False, False),
        (Ratio(1.05, 1.04, 1.06), False, True),
    ],
)
def test_what_is_open_is_left_out_unless_it_is_likely_enough(ratio: Ratio, little_enough: bool, too_much: bool) -> None:
    """Beyond noise it is taken, or given up early; in between, half of the interval's upper part decides."""
    cost = Cost(0.001, 0.005, ratio, Form())
    assert (cost.little_enough, cost.too_much) == (little_enough, too_much)
