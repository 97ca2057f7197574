"""The sessions of devices, within their bound."""

from __future__ import annotations

from likewise.function.sessions import Sessions


def test_a_device_finds_its_trail_again() -> None:
    devices = Sessions(10)
    devices.session("a").last = 7
    assert devices.session("b").last == -1
    assert devices.session("a").last == 7
    assert len(devices) == 2


def test_beyond_the_limit_the_one_known_longest_is_forgotten() -> None:
    """However many names come, no more are kept; the others keep their sessions."""
    devices = Sessions(3)
    for number in range(1000):
        devices.session(str(number)).last = number
        assert len(devices) <= 3
    assert [devices.session(str(number)).last for number in (997, 998, 999)] == [997, 998, 999]
    assert devices.session("0").last == -1
