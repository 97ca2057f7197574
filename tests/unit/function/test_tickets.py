"""Tickets: good once, for a while, and never more than the limit."""

from __future__ import annotations

import pytest

from likewise.function.tickets import Tickets
from likewise.types import Verdict


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_ticket_is_good_once(clock):
    """The second insert with it teaches nothing."""
    abandoned = []
    tickets = Tickets(clock, abandoned.append)
    verdict = Verdict(False, "miss")
    ticket = tickets.issue("v", verdict, 3)
    pending = tickets.redeem(ticket)
    assert pending.verdict is verdict
    assert pending.nearest_id == 3
    assert tickets.redeem(ticket) is None
    assert abandoned == []


def test_a_ticket_that_never_comes_back_is_abandoned(clock):
    """The policy hears of it, so that its ledger stays right."""
    abandoned = []
    tickets = Tickets(clock, abandoned.append, ttl_s=60)
    verdict = Verdict(False, "probe", probe=True)
    ticket = tickets.issue("v", verdict, -1)
    clock.now = 59.9
    tickets.sweep()
    assert abandoned == []
    clock.now = 60.0
    assert tickets.redeem(ticket) is None
    assert [each.verdict for each in abandoned] == [verdict]


def test_the_oldest_go_when_there_are_too_many(clock):
    """A device that only looks up cannot fill the memory."""
    abandoned = []
    tickets = Tickets(clock, abandoned.append, limit=3)
    issued = [tickets.issue("v", Verdict(False, str(i)), -1) for i in range(5)]
    tickets.sweep()
    assert [each.verdict.reason for each in abandoned] == ["0", "1"]
    assert tickets.redeem(issued[0]) is None
    assert tickets.redeem(issued[4]) is not None
