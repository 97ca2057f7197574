"""Tickets: good once, for a while, never more than the limit, and never holding more than a device may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.function.tickets import AT_ONCE, LEAST, STEP, UNPROVEN, Tickets
from likewise.types import Reason, Session, Source, Verdict


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def probe(charge: float) -> Verdict:
    return Verdict(Source.NONE, Reason.PROBE, probe=True, charge=charge)


def miss() -> Verdict:
    return Verdict(Source.NONE, Reason.BELOW_BAR)


def proven(tickets: Tickets, times: int = 1) -> Session:
    """Return a device that redeemed its probes."""
    session = Session()
    for _ in range(times):
        tickets.redeem(tickets.issue("v", probe(tickets.allowance(session)), 0, session))
    return session


def test_a_ticket_is_good_for_the_account_that_got_it_alone(clock):
    """Another one learns nothing by it, and takes it from nobody."""
    tickets = Tickets(clock, lambda pending: None)
    ticket = tickets.issue("v", miss(), 3, Session(account="a"))
    assert tickets.redeem(ticket, "b") is None
    assert tickets.redeem(ticket) is None
    assert tickets.redeem(ticket, "a") is not None


def test_a_ticket_is_good_once(clock):
    """The second insert with it teaches nothing."""
    abandoned = []
    tickets = Tickets(clock, abandoned.append)
    verdict = miss()
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
    verdict = probe(2.0)
    ticket = tickets.issue("v", verdict, -1)
    clock.now = 59.9
    tickets.sweep()
    assert abandoned == []
    assert tickets.held == 2.0
    clock.now = 60.0
    assert tickets.redeem(ticket) is None
    assert [each.verdict for each in abandoned] == [verdict]
    assert tickets.held == 0.0


def test_the_oldest_go_when_there_are_too_many(clock):
    """A device that only looks up cannot fill the memory."""
    abandoned = []
    tickets = Tickets(clock, abandoned.append, limit=3)
    issued = [tickets.issue("v", Verdict(Source.NONE, Reason.BELOW_BAR, label=i), -1) for i in range(5)]
    tickets.sweep()
    assert [each.verdict.label for each in abandoned] == [0, 1]
    assert tickets.redeem(issued[0]) is None
    assert tickets.redeem(issued[4]) is not None


def test_what_a_device_may_hold_grows_with_each_probe_that_it_redeems(clock):
    """By a step, up to the share of all."""
    tickets = Tickets(clock, lambda _: None, share=20.0)
    session = Session()
    first = tickets.allowance(session)
    tickets.redeem(tickets.issue("v", probe(first), 0, session))
    assert tickets.allowance(session) == pytest.approx(first + AT_ONCE * STEP)
    for _ in range(20):
        tickets.redeem(tickets.issue("v", probe(1.0), 0, session))
    assert tickets.allowance(session) == pytest.approx(AT_ONCE * 20.0)


def test_a_device_that_redeems_nothing_is_refused_and_costs_no_more(clock):
    """However often it asks, its probes hold what it was trusted with."""
    abandoned = []
    tickets = Tickets(clock, abandoned.append, share=50.0)
    session = Session()
    while (allowance := tickets.allowance(session)) > 0.0:
        tickets.issue("v", probe(allowance / 2), 0, session)
    assert tickets.held <= 4.0
    for _ in range(100):
        tickets.issue("v", miss(), 0, session)
        assert tickets.allowance(session) == 0.0
    assert abandoned == []


def test_a_device_that_comes_back_is_trusted_again_at_a_price(clock):
    """What it left open is lost, and its limit falls to a quarter."""
    abandoned = []
    tickets = Tickets(clock, abandoned.append, share=50.0)
    session = proven(tickets, 14)
    before = session.conduct.limit
    lost = []
    while allowance := tickets.allowance(session):
        lost.append(probe(allowance))
        tickets.issue("v", lost[-1], 0, session)
    while not tickets.allowance(session):
        assert tickets.redeem(tickets.issue("v", miss(), 0, session)) is not None
    assert [each.verdict for each in abandoned] == lost[: len(abandoned)]
    assert abandoned
    assert session.conduct.limit == max(LEAST, before / 4 ** len(abandoned))


def test_strangers_leave_room_for_devices_that_redeem(clock):
    """All that never redeemed one hold a quarter of the share together, whatever names they take."""
    tickets = Tickets(clock, lambda _: None, share=40.0)
    known = proven(tickets)
    for _ in range(100):
        stranger = Session()
        if allowance := tickets.allowance(stranger):
            tickets.issue("v", probe(allowance), 0, stranger)
    assert tickets.held <= UNPROVEN * 40.0 + 1e-9
    assert tickets.allowance(known) == pytest.approx(AT_ONCE * (4.0 + STEP))


def test_a_device_that_may_not_insert_cannot_probe(clock):
    """It could never redeem the ticket."""
    tickets = Tickets(clock, lambda _: None)
    assert tickets.allowance(Session(may_insert=False)) == 0.0


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["probe", "miss", "redeem", "later"]),
            st.integers(0, 1000),
            st.floats(1e-12, 1.0),
        ),
        max_size=120,
    )
)
def test_whatever_devices_do_the_tokens_held_are_those_of_open_tickets(steps):
    """Never more than the share; each probe ends once, redeemed or abandoned; who redeems recovers in time."""
    clock, abandoned = Clock(), []
    tickets = Tickets(clock, abandoned.append, limit=20, ttl_s=10, share=30.0)
    sessions = [Session() for _ in range(4)]
    issued: list[tuple[str, float]] = []
    redeemed = 0.0
    for who, what, which, part in steps:
        session = sessions[who]
        if what == "probe":
            if allowance := tickets.allowance(session):
                charge = part * allowance
                issued.append((tickets.issue("v", probe(charge), 0, session), charge))
        elif what == "miss":
            issued.append((tickets.issue("v", miss(), 0, session), 0.0))
        elif what == "redeem" and issued:
            ticket, charge = issued[which % len(issued)]
            if tickets.redeem(ticket) is not None:
                redeemed += charge
        elif what == "later":
            clock.now += 10 * part
            tickets.sweep()
        assert tickets.held <= 30.0 + 1e-6
        assert all(LEAST <= each.conduct.limit <= 30.0 for each in sessions)
        spent = sum(each.held for each in abandoned)
        assert tickets.held == pytest.approx(sum(charge for _, charge in issued) - redeemed - spent, abs=1e-5)
    clock.now += 10.0  # what was left open is over
    for session in sessions * 60:
        allowance = tickets.allowance(session)
        tickets.redeem(tickets.issue("v", probe(allowance) if allowance else miss(), 0, session))
    assert all(tickets.allowance(each) > AT_ONCE * 4.0 for each in sessions)


def test_next_to_nothing_is_held_until_it_is_redeemed(clock):
    """Charges of any size, in any order."""
    tickets = Tickets(clock, lambda _: None)
    session = Session()
    issued = [tickets.issue("v", probe(charge), 0, session) for charge in (1.0, 1e-12, 0.1, 1e-12)]
    for ticket in issued:
        assert tickets.redeem(ticket) is not None
    assert tickets.held == 0


def test_an_account_with_many_tickets_crowds_out_its_own_alone(clock):
    """Lookups that cost nothing would else spend what the probes of others hold."""
    abandoned = []
    tickets = Tickets(clock, abandoned.append, limit=10)
    quiet, loud = Session(account="quiet"), Session(account="loud")
    kept = tickets.issue("v", probe(tickets.allowance(quiet)), 0, quiet)
    given = [tickets.issue("v", miss(), -1, loud) for _ in range(100)]
    tickets.sweep()
    assert len(tickets) == 10
    assert {pending.session.account for pending in abandoned} == {"loud"}
    assert tickets.redeem(kept, "quiet") is not None
    assert [tickets.redeem(each, "loud") is not None for each in given] == [False] * 91 + [True] * 9
    assert len(tickets._shares) == 0
