"""The sessions of devices, within their bound."""

from __future__ import annotations

from likewise.function.sessions import Sessions


def test_a_device_finds_its_session_again() -> None:
    devices = Sessions(10)
    devices.get("a").last = 7
    assert devices.get("b").last == -1
    assert devices.get("a").last == 7
    assert len(devices) == 2


def test_beyond_the_limit_the_one_known_longest_is_forgotten() -> None:
    """However many names come, no more are kept; the others keep their sessions."""
    devices = Sessions(3)
    for number in range(1000):
        devices.get(str(number)).last = number
        assert len(devices) <= 3
    assert [devices.get(str(number)).last for number in (997, 998, 999)] == [997, 998, 999]
    assert devices.get("0").last == -1


def test_an_account_that_makes_up_names_forgets_its_own_devices() -> None:
    """Neither what others' devices were answered last nor how they kept their word."""
    devices = Sessions(10)
    honest = [devices.get(str(number), "honest") for number in range(3)]
    honest[0].conduct.proven = True
    for number in range(1000):
        devices.get(str(number), "loud")
    assert [devices.get(str(number), "honest") for number in range(3)] == honest
    assert devices.get("0", "honest").conduct.proven
    assert len(devices) == len(devices._conduct) == 10
