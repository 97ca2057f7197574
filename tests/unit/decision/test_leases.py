"""Leases: what they hold, what they cost, and what a device's word is worth."""

from __future__ import annotations

import itertools

import pytest

from likewise.decision import Budget
from likewise.decision.leases import TOGETHER, Leases, lease_statistics
from likewise.errors import InvalidValue


def rich(wealth: float = 80.0, **options: float) -> tuple[Budget, Leases]:
    """Return a budget with that many tokens, and its leases, of 3 tokens each unless the options say otherwise."""
    budget = Budget(0.95, slack=min(3.0, wealth))
    while budget.ledger().tokens < wealth:
        budget.ledger().earn()
    counter = itertools.count()
    chosen = {"tokens": 3.0, **options}
    return budget, Leases(budget, 0.05, lambda: f"lease-{next(counter)}", **chosen)  # type: ignore[arg-type]


def test_a_lease_holds_the_tokens_that_a_wrong_probe_costs() -> None:
    budget, leases = rich()
    before = budget.ledger().tokens
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    assert lease.held == 3.0
    assert lease.probability == 0.25
    assert budget.ledger().tokens == before - 3.0


def test_a_poor_ledger_gives_leases_that_answer_exact_repeats_alone() -> None:
    budget, leases = rich(0.6)
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    assert lease.probability == 1.0
    assert budget.ledger().reserved == 0.0
    while budget.ledger().tokens < 20.0:
        budget.ledger().earn()
    leases.renew(lease, 1.0)
    assert lease.probability == 0.25


def test_confirmed_goes_on_contradicted_spends_and_ends() -> None:
    budget, leases = rich()
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    before = budget.ledger().tokens
    claim = leases.claim(lease, 7)
    assert claim is not None
    assert not claim.settle(7)
    assert lease.live
    assert lease.held == 3.0
    claim = leases.claim(lease, 7)
    assert claim is not None
    assert claim.settle(8)
    assert not lease.live
    assert budget.ledger().tokens == before
    assert budget.ledger().spent == 3.0
    assert leases.claim(lease, 7) is None


@pytest.mark.parametrize("label", [-1, 8])
def test_what_is_not_known_any_more_counts_as_wrong(label: int) -> None:
    _, leases = rich()
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    claim = leases.claim(lease, label)
    assert claim is not None
    assert claim.settle(-1 if label < 0 else 7)
    assert not lease.live


def test_silence_spends_and_a_late_word_earns_it_back_for_the_device_alone() -> None:
    budget, leases = rich(seconds=10.0, grace_s=1.0)
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    before = budget.ledger().tokens
    leases.sweep(10.9)
    assert lease.live
    leases.sweep(11.1)
    assert not lease.live
    assert budget.ledger().spent == 3.0
    leases.give_back(lease)
    leases.give_back(lease)
    assert budget.ledger().tokens == before
    again = leases.grant("", "phone", 12.0, lease)
    assert again is not None
    assert again.lent == 3.0
    assert again.held == 3.0


def test_a_probe_that_is_being_computed_keeps_its_lease() -> None:
    budget, leases = rich(seconds=10.0, grace_s=0.0)
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    claim = leases.claim(lease, 1)
    leases.sweep(100.0)
    leases.give_back(lease)  # a lie: a probe is under way
    assert lease.live
    assert claim is not None
    claim.settle(2)
    assert budget.ledger().spent == 3.0


def test_a_lease_that_is_given_back_costs_nothing() -> None:
    budget, leases = rich()
    before = budget.ledger().tokens
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    leases.give_back(lease)
    assert budget.ledger().tokens == pytest.approx(before)
    assert lease_statistics(leases)["lease_tokens"] == 0.0


def test_reports_earn_once_for_that_device_and_never_for_the_ledger() -> None:
    budget, leases = rich()
    one, other = leases.grant("", "one", 0.0), leases.grant("", "other", 0.0)
    assert one is not None
    assert other is not None
    tokens = budget.ledger().tokens
    for _ in range(3):
        leases.report(one, 100)  # replayed
    leases.report(one, 50)
    assert one.purse.tokens == pytest.approx(5.0)
    leases.renew(one, 1.0)
    leases.renew(other, 1.0)
    assert one.charge == pytest.approx(8.0)
    assert other.charge == 3.0
    assert budget.ledger().tokens == tokens


def test_what_a_device_earned_takes_the_place_of_the_ledgers_tokens() -> None:
    budget, leases = rich(most=10.0)
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    leases.report(lease, 10**12)
    leases.renew(lease, 1.0)
    assert lease.charge == pytest.approx(10.0)
    assert lease.held == pytest.approx(0.0)
    assert budget.ledger().reserved == pytest.approx(0.0)


def test_there_are_no_more_leases_than_allowed() -> None:
    _, leases = rich(limit=5, per_account=3, per_device=2)
    assert [leases.grant("a", "x", 0.0) is not None for _ in range(3)] == [True, True, False]
    assert [leases.grant("a", name, 0.0) is not None for name in "yz"] == [True, False]
    assert [leases.grant("b", name, 0.0) is not None for name in "uvw"] == [True, True, False]
    assert len(leases) == 5


def test_leases_hold_half_of_the_cap_at_most() -> None:
    budget, leases = rich(100.0)
    for at in range(200):
        leases.grant("", f"phone {at}", 0.0)
    assert budget.ledger().reserved <= 50.0 + 1e-9
    assert budget.ledger().tokens >= 50.0 - 1e-9


def test_leases_leave_the_server_a_part_of_what_is_at_hand() -> None:
    budget, leases = rich(20.0)
    for at in range(50):
        leases.grant("", f"phone {at}", 0.0)
    assert 0.0 < leases.held <= TOGETHER * 20.1
    assert budget.ledger().tokens >= (1.0 - TOGETHER) * 20.0 - 1e-9


def test_leases_share_in_equal_parts_as_tokens_come_in() -> None:
    budget, leases = rich(4.0, tokens=10.0)
    held = [leases.grant("", f"phone {at}", 0.0) for at in range(20)]
    granted = [lease for lease in held if lease is not None]
    assert len(granted) == 20
    assert max(lease.held for lease in granted) <= TOGETHER * 4.1
    for turn in range(2000):
        budget.ledger().earn()
        leases.renew(granted[turn % 20], 1.0)
    assert leases.held == pytest.approx(50.0, abs=0.6)  # half of the cap
    assert min(lease.held for lease in granted) >= 1.5


def test_the_answer_to_a_probe_earns_for_its_device_alone() -> None:
    budget, leases = rich()
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    tokens = budget.ledger().tokens
    for verdict, earns in ((7, True), (7, False)):
        claim = leases.claim(lease, 7)
        assert claim is not None
        claim.earns = earns  # it does not where the ledger earned by it already
        claim.settle(verdict)
        claim.settle(verdict)
    assert lease.purse.tokens == pytest.approx(0.05)
    abandoned = leases.claim(lease, 7)
    assert abandoned is not None
    abandoned.abandon()
    assert lease.purse.tokens == pytest.approx(0.05)
    assert budget.ledger().tokens == tokens


def test_a_probe_earns_nothing_where_reused_answers_alone_do() -> None:
    budget = Budget(0.95, 20.0, 100.0, "reused")
    leases = Leases(budget, 0.05, lambda: "lease")
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    claim = leases.claim(lease, 7)
    assert claim is not None
    claim.settle(7)
    assert lease.purse.tokens == 0.0


def test_a_restart_ends_all_leases_and_refunds_nothing() -> None:
    budget, leases = rich()
    leases.grant("", "phone", 0.0)
    state = budget.ledger().state()
    fresh = Budget(0.95)
    fresh.ledger().restore(state)
    assert fresh.ledger().tokens == budget.ledger().tokens
    assert fresh.ledger().spent == 3.0


def test_nobody_speaks_for_a_lease_of_another_account() -> None:
    _, leases = rich()
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    assert leases.find(lease.id, "") is lease
    assert leases.find(lease.id, "stranger") is None
    assert leases.find("unknown", "") is None


@pytest.mark.parametrize("options", [{"seconds": 0.0}, {"tokens": -1.0}, {"tokens": 5.0, "most": 2.0}, {"limit": 0}])
def test_options_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match="lease"):
        rich(**options)


def test_a_lease_that_grew_leaves_no_trace_in_the_certificate_when_it_is_given_back() -> None:
    """What was reserved in parts comes back in the same parts, so the ledger's state stays one that it can restore."""
    budget, leases = rich(2.0)
    lease = leases.grant("", "phone", 0.0)
    assert lease is not None
    for turn in range(300):
        budget.ledger().earn()
        leases.renew(lease, float(turn % 50))
    assert len(lease.parts) > 1
    leases.give_back(lease)
    state = budget.ledger().state()
    assert all(abs(total) < 1e-9 for total in state["sums"])
    Budget(0.95).ledger().restore(state)


def test_leases_that_are_over_are_remembered_by_account() -> None:
    """Whoever opens and ends many forgets its own; another's device still finds what it earned."""
    _, leases = rich(limit=4)
    quiet = leases.grant("quiet", "phone", 0.0)
    assert quiet is not None
    leases.report(quiet, 100)
    leases.give_back(quiet)
    for number in range(100):
        loud = leases.grant("loud", f"phone {number}", 0.0)
        assert loud is not None
        leases.give_back(loud)
    assert len(leases._over) == 4
    assert leases.find(quiet.id, "quiet") is quiet
    again = leases.grant("quiet", "phone", 0.0, quiet)
    assert again is not None
    assert again.lent > 0.0
