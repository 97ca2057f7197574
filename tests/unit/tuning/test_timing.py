"""Times are compared in turns: what disturbs both says nothing, and what is above a limit is told from noise."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from likewise.tuning import timing
from likewise.tuning.timing import MOST, STRETCH, compared, measured

Work = Callable[[float, float], Callable[[int], None]]


class Machine:
    """A processor whose clock goes on as work is done, slower when others want it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.load = 1.0
        self.calls = 0
        self._noise = random.Random(7)

    def work(self, seconds: float, spread: float) -> Callable[[int], None]:
        def call(_: int) -> None:
            self.calls += 1
            if self.calls % 500 == 0:
                self.load = self._noise.choice([1.0, 1.2, 3.0])
            self.now += seconds * self.load * (1.0 + spread * self._noise.random())

        return call


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(timing, "thread_time", lambda: found.now)
    monkeypatch.setattr(timing, "monotonic", lambda: 0.0)  # never too late
    return found


@pytest.mark.parametrize(("seconds", "above"), [(0.9, False), (1.0, False), (1.06, True), (2.0, True)])
def test_what_takes_more_is_told_from_what_does_not(machine: Machine, seconds: float, above: bool) -> None:
    """Also while the machine is up to three times as slow now and then."""
    times, (ratio,) = compared([machine.work(seconds, 0.1), machine.work(1.0, 0.1)], range(20), 1.03)
    assert (ratio.low > 1.03, ratio.value > 1.03) == (above, above)
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.value == pytest.approx(seconds, rel=0.02)
    assert times[0] / times[1] == pytest.approx(seconds, rel=0.1)


def test_what_is_at_the_limit_is_measured_until_it_is_known_well(machine: Machine) -> None:
    """It takes more rounds than what is far from it."""
    sample = range(20)
    compared([machine.work(1.5, 0.3), machine.work(1.0, 0.3)], sample, 1.03)
    few, machine.calls = machine.calls, 0
    _, (ratio,) = compared([machine.work(1.03, 0.3), machine.work(1.0, 0.3)], sample, 1.03)
    assert machine.calls > 2 * few
    assert ratio.high - ratio.low < 0.03
    assert machine.calls <= MOST * 2 * (STRETCH + 1)


def test_time_that_is_up_ends_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is known then."""
    passed = iter(range(0, 10_000, 5))
    monkeypatch.setattr(timing, "monotonic", lambda: float(next(passed)))
    _, (ratio,) = compared([machine.work(1.03, 0.5), machine.work(1.0, 0.5)], range(20), 1.03, most_s=4.0)
    assert machine.calls == 3 + timing.LEAST * 2 * (timing.SLOW_STRETCH + 1)
    assert ratio.low < ratio.value < ratio.high


@pytest.mark.parametrize(("seconds", "stretch"), [(0.005, STRETCH), (0.5, timing.SLOW_STRETCH)])
def test_what_is_slow_is_called_less_often_in_a_row(machine: Machine, seconds: float, stretch: int) -> None:
    """So that a large model does not take minutes."""
    compared([machine.work(2 * seconds, 0.0), machine.work(seconds, 0.0)], range(20), 1.03)
    assert machine.calls == 3 + timing.FEWEST * 2 * (stretch + 1)


def test_measured_is_in_seconds_of_one_input(machine: Machine) -> None:
    """Of each, whatever the order."""
    assert measured([machine.work(0.5, 0.0), machine.work(2.0, 0.0)], range(40)) == pytest.approx([0.5, 2.0])
