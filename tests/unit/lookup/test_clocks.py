"""Clocks that are set: deadlines and ages go on as if nothing had happened."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.clocks import SteadyClock
from likewise.lookup.bulk import blocks
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Result


class Clocks:
    """A wall clock and a monotonic one."""

    def __init__(self) -> None:
        self.wall, self.mono = 5000.25, 17.5

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


def space(clocks: Clocks) -> Namespace:
    options = {"index_options": {"background": False}}
    return Namespace("f@1", {"a": 1}, 100, 10**6, 60.0, lambda: clocks.wall, monotonic=lambda: clocks.mono, **options)


def entry(clocks: Clocks, id: int, ttl_s: float) -> Entry:
    return Entry(id, {"a": np.zeros(1, np.float32)}, Result(b"1"), 1.0, clocks.wall, clocks.wall + ttl_s)


@pytest.mark.parametrize("step", [-600.0, 7200.0, -5e3, 0.0])
def test_setting_the_clock_neither_ends_nor_prolongs_an_entry(step: float) -> None:
    """Three seconds stay three seconds, and an age never is negative."""
    clocks = Clocks()
    made = space(clocks)
    slot = made.insert(entry(clocks, 1, 3.0), 0)
    clocks.wall += step
    clocks.wait(2.0)
    assert made.lookup("a", np.zeros(1, np.float32), 1).slots == [slot]
    assert made.age_s(slot) == pytest.approx(2.0)
    assert made.ttl_s(slot) == pytest.approx(1.0)
    assert made.use(slot)[2:4] == pytest.approx((2.0, 1.0))
    later = made.insert(entry(clocks, 2, 3.0), 0)
    assert made.age_s(later) == pytest.approx(0.0)
    assert made.ttl_s(later) == pytest.approx(3.0)
    clocks.wait(1.0)
    assert made.lookup("a", np.zeros(1, np.float32), 2).slots == [later]


@pytest.mark.parametrize("step", [-600.0, 7200.0])
def test_what_leaves_is_stamped_by_the_clock_as_it_is_now(step: float) -> None:
    """A restart, or a peer whose clock is right, gives an entry the time that it has left."""
    clocks = Clocks()
    made = space(clocks)
    slot = made.insert(entry(clocks, 1, 30.0), 0)
    clocks.wall += step
    clocks.wait(10.0)
    (block,) = blocks(made)
    for one in (made.entry(slot), made.page().entries[0]):
        assert one.expires_at - clocks.wall == pytest.approx(20.0)
        assert clocks.wall - one.created_at == pytest.approx(10.0)
    assert float(block.facts["expires_at"][0]) - clocks.wall == pytest.approx(20.0)


def test_stamps_stay_as_they_are_while_nobody_sets_the_clock() -> None:
    """To the last bit, also where the clocks drift a little."""
    clocks = Clocks()
    made = space(clocks)
    given = entry(clocks, 1, 30.0)
    slot = made.insert(given, 0)
    clocks.wait(0.1)
    clocks.wall += 0.2
    assert (made.entry(slot).created_at, made.entry(slot).expires_at) == (given.created_at, given.expires_at)


def test_one_clock_alone_is_taken_as_it_is() -> None:
    """As tests inject it."""
    clock = SteadyClock(lambda: 7.0)
    assert (clock.now(), clock.shift()) == (7.0, 0.0)
