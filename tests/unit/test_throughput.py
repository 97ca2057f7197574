"""How fast a queue is worked off."""

from __future__ import annotations

import pytest

from likewise.throughput import Throughput


def test_it_is_the_mean_time_of_each_of_late() -> None:
    """Nothing is known at first; bursts and pauses even out, and what was long ago is forgotten."""
    made = Throughput()
    assert made.pace_s(5.0) == 0.0
    made.begin(10.0)
    now = 10.0
    for _ in range(100):  # eight at once, every 80 ms
        now += 0.08
        made.served(now, 8)
    assert made.pace_s(now) == pytest.approx(0.01, rel=0.02)
    for _ in range(100):
        now += 0.02
        made.served(now)
    assert made.pace_s(now) == pytest.approx(0.02, rel=0.05)


def test_idle_time_does_not_count_and_time_without_progress_does() -> None:
    """A queue that was empty is not slow; one that stands still gets slower with every moment."""
    made = Throughput()
    made.begin(0.0)
    made.served(0.1)
    made.begin(50.0)
    assert made.pace_s(50.0) == pytest.approx(0.1)
    assert made.pace_s(53.0) == pytest.approx(3.1)
