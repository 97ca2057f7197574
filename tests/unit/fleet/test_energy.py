"""Joules, by hand."""

from __future__ import annotations

import pytest

from likewise_fleet.energy import Use, joules
from likewise_fleet.networks import Phone, Radio

RADIO = Radio("test", 2.0, 0.5, 1.0, 0.001, 0.0001, 0.1, 3.0)
"""Wakes for 1 J, has a tail of 0.3 J."""
PHONE = Phone("test", 10.0, 2.0, "")


def test_a_request_wakes_the_radio_waits_sends_and_leaves_a_tail():
    """1 J to wake, 0.2 J to wait, 1 + 0.1 J for the bytes, 0.3 J after."""
    assert joules([Use(5.0, 0.2, 1000, 1000, 0.0)], RADIO, PHONE) == (pytest.approx(2.6), 0.0)


def test_what_follows_within_the_tail_does_not_wake_it_again():
    """The second pays a part of the tail in place of waking; there is one whole tail at the end."""
    radio, _ = joules([Use(0.0, 0.0, 1000, 0, 0.0), Use(1.0, 0.0, 1000, 0, 0.0)], RADIO, PHONE)
    assert radio == pytest.approx(1 + 1 + 0.1 + 1 + 0.3)


def test_what_needs_no_network_lets_the_radio_sleep():
    """The time that the phone computes counts as idle for its radio."""
    uses = [Use(0.0, 0.0, 1000, 0, 0.0), Use(1.0, 5.0, 0, 0, 4.0), Use(1.0, 0.0, 1000, 0, 0.0)]
    radio, computed = joules(uses, RADIO, PHONE)
    assert radio == pytest.approx(2 * (1 + 1 + 0.3))
    assert computed == pytest.approx(8.0)
    assert joules([Use(1.0, 1.0, 0, 0, 1.0)], RADIO, PHONE) == (0.0, 2.0)
