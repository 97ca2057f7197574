"""The trails of devices, within their bound."""

from __future__ import annotations

from likewise.function.sessions import Devices


def test_a_device_finds_its_trail_again() -> None:
    devices = Devices(10)
    devices.trail("a").last = 7
    assert devices.trail("b").last == -1
    assert devices.trail("a").last == 7
    assert len(devices) == 2


def test_beyond_the_limit_the_one_known_longest_is_forgotten() -> None:
    """However many names come, no more are kept; the others keep their trails."""
    devices = Devices(3)
    for number in range(1000):
        devices.trail(str(number)).last = number
        assert len(devices) <= 3
    assert [devices.trail(str(number)).last for number in (997, 998, 999)] == [997, 998, 999]
    assert devices.trail("0").last == -1
