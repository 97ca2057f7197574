"""Whatever becomes of requests and probes, a lease holds what was reserved; one that nobody heard of costs nothing."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.decision import Budget
from likewise.decision.leases import Claim, Lease, Leases

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 3), st.sampled_from(["told", "refused", "pending"])),
        st.tuples(st.just("probe"), st.integers(0, 9), st.sampled_from(["right", "wrong", "lost", "pending"])),
        st.tuples(st.just("report"), st.integers(0, 9), st.sampled_from(["0", "7", str(1 << 40)])),
        st.tuples(st.just("settle"), st.integers(0, 9), st.sampled_from(["right", "wrong", "lost"])),
        st.tuples(st.just("back"), st.integers(0, 9), st.just("")),
        st.tuples(st.just("late"), st.integers(0, 9), st.just("")),
        st.tuples(st.just("wait"), st.integers(0, 90), st.just("")),
    ),
    max_size=60,
)


def settle(claim: Claim, how: str) -> None:
    if how == "lost":
        claim.abandon()
    else:
        claim.settle(1 if how == "right" else 2)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, wealth=st.floats(0.0, 90.0))
def test_leases_hold_what_is_reserved_for_them_and_nothing_else(
    steps: list[tuple[str, int, str]], wealth: float
) -> None:
    budget, now, ids = Budget(0.95), 0.0, itertools.count()
    ledger = budget.ledger()
    while ledger.tokens < wealth:
        ledger.earn()
    leases = Leases(budget, 0.05, lambda: f"lease-{next(ids)}", limit=12, per_account=8)
    known: list[Lease] = []
    claims: list[Claim] = []
    for what, number, how in steps:
        lease = known[number % len(known)] if known else None
        if what == "ask":
            before = (ledger.tokens, ledger.spent, len(leases))
            granted = leases.grant("", f"phone {number}", now)
            if granted is not None and how == "refused":
                leases.withdraw(granted)
                leases.withdraw(granted)
                assert not granted.live
                assert abs(ledger.tokens - before[0]) < 1e-9 or len(leases) < before[2]  # others ended meanwhile
            elif granted is not None:
                granted.told = how == "told"
                known.append(granted)
        elif what == "wait":
            now += number
            leases.sweep(now)
        elif lease is not None:
            if what == "probe":
                claim = leases.claim(lease, 1)
                if claim is not None and how == "pending":
                    claims.append(claim)
                elif claim is not None:
                    settle(claim, how)
            elif what == "report":
                leases.report(lease, int(how), int(how))
            elif what == "settle" and claims:
                settle(claims[number % len(claims)], how)
            elif what == "back":
                leases.give_back(lease)
            elif what == "late":  # an answer that failed, of whoever held it already
                was = lease.live
                leases.withdraw(lease)
                assert not (was and lease.told) or lease.live
        assert abs(leases.held - ledger.reserved) < 1e-6
        assert ledger.tokens >= -1e-9
        assert all(each.probes >= 0 and each.charge <= 19.0 + 1e-9 for each in known)
        assert len(leases) <= 8
        assert all(not each.live or each.probability >= 0.05 - 1e-9 for each in known)
    for claim in claims:
        claim.abandon()
    leases.sweep(now + 1e6)
    assert len(leases) == 0
    assert ledger.reserved < 1e-6
