"""Tokens: earned, reserved, given back, spent, kept over restarts."""

from __future__ import annotations

import json
import math

import pytest

from likewise.decision import Ledger
from likewise.decision.ledger import ENOUGH, FREE
from likewise.errors import InvalidValue


def test_requests_earn_tokens_up_to_the_cap() -> None:
    """Each earns ε; reservations count towards the cap, and are written off when a full ledger goes on earning."""
    ledger = Ledger(0.9, slack=1.0, cap=2.0)
    assert ledger.earn() == pytest.approx(1.1)
    for _ in range(50):
        ledger.earn()
    assert ledger.tokens == 2.0
    charge = ledger.reserve(0.5)
    for _ in range(4):
        ledger.earn()
    assert (ledger.tokens, ledger.reserved) == (pytest.approx(1.4), pytest.approx(0.6))
    ledger.release(charge)
    assert (ledger.tokens, ledger.reserved) == (pytest.approx(2.0), 0.0)


def test_reservations_that_are_never_settled_do_not_stop_it_from_earning() -> None:
    """What it earns at the cap pays for them."""
    ledger = Ledger(0.9, slack=2.0, cap=2.0)
    ledger.reserve(1 / 3)
    assert ledger.tokens == pytest.approx(0.0)
    for _ in range(20):
        ledger.earn()
    assert ledger.tokens == pytest.approx(2.0)
    assert ledger.reserved == pytest.approx(0.0)


def test_a_late_answer_gives_back_only_what_was_not_written_off() -> None:
    """Or a window could cost more than cap + ε·n."""
    ledger = Ledger(0.9, slack=2.0, cap=2.0)
    late = ledger.reserve(1 / 3)
    for _ in range(20):
        ledger.earn()
    soon = ledger.reserve(0.5)
    ledger.release(late)
    assert ledger.tokens == pytest.approx(1.0)
    ledger.spend(soon)
    assert (ledger.tokens, ledger.reserved) == (pytest.approx(1.0), pytest.approx(0.0))


def test_probes_that_others_compute_hold_a_share_of_the_cap_at_most() -> None:
    """Then none may be taken until one is settled; other probes are not touched by it."""
    ledger = Ledger(0.9, slack=40.0, cap=40.0)
    assert ledger.deferred_floor() == pytest.approx(1 / 21)
    charges = [ledger.reserve(1 / 11, deferred=True) for _ in range(2)]
    assert ledger.deferred_floor() == pytest.approx(1.0)
    with pytest.raises(InvalidValue):
        ledger.reserve(0.5, deferred=True)
    assert ledger.floor() == pytest.approx(1 / 21)
    ledger.spend(charges[0], deferred=True)
    ledger.release(charges[1], deferred=True)
    assert ledger.deferred_floor() == pytest.approx(1 / 21)
    assert ledger.tokens == pytest.approx(30.0)


def test_answers_computed_for_certain_earn_no_more_than_the_others() -> None:
    """After a start; but always as much as reuse needs to begin again."""
    ledger = Ledger(0.9, slack=1.0)
    for _ in range(1000):
        ledger.earn_computed()
    assert ledger.tokens == pytest.approx(1.0 + 0.1 * (FREE + 1))
    for _ in range(50):
        ledger.earn()
    for _ in range(1000):
        ledger.earn_computed()
    assert ledger.tokens == pytest.approx(1.0 + 0.1 * (FREE + 1 + 2 * 50))
    charge = ledger.reserve(ledger.floor())
    ledger.spend(charge)
    for _ in range(1000):
        ledger.earn_computed()
    assert ledger.tokens == pytest.approx(ENOUGH, abs=0.1 + 1e-9)


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        pytest.param(Ledger(0.9, 50.0), Ledger(0.95), 25.0, id="stricter"),
        pytest.param(Ledger(0.95, 50.0), Ledger(0.9), 50.0, id="looser"),
        pytest.param(Ledger(0.95, 50.0), Ledger(0.95, 3.0, 10.0), 10.0, id="smaller cap"),
        pytest.param(Ledger(0.95, 50.0), Ledger(0.95, accuracy_of="reused"), 3.0, id="other earnings"),
    ],
)
def test_tokens_are_worth_what_they_were_earned_for(old: Ledger, new: Ledger, kept: float) -> None:
    """A stricter target makes less of them."""
    new.restore(json.loads(json.dumps(old.state())))
    assert new.tokens == pytest.approx(kept)


def test_tokens_of_an_unknown_rate_are_no_more_than_a_start() -> None:
    """States of earlier versions do not tell."""
    state = Ledger(0.9, 50.0).state()
    del state["epsilon"]
    ledger = Ledger(0.95)
    ledger.restore(state)
    assert ledger.tokens == 3.0


def test_a_probe_costs_what_its_probability_says() -> None:
    """The charge is (1 - π) / π, set aside at once and spent when wrong."""
    ledger = Ledger(0.95, slack=9.0)
    charge = ledger.reserve(0.1)
    assert charge == pytest.approx(9.0)
    assert ledger.tokens == pytest.approx(0.0)
    ledger.spend(charge)
    assert ledger.spent == pytest.approx(9.0)
    assert ledger.tokens == pytest.approx(0.0)


def test_a_probe_below_the_floor_is_refused() -> None:
    """Nothing may be risked that cannot be paid."""
    ledger = Ledger(0.95, slack=1.0)
    assert ledger.floor() == 0.5
    with pytest.raises(InvalidValue, match="tokens"):
        ledger.reserve(0.4)


def test_probes_in_flight_never_overspend_together() -> None:
    """Each reservation raises the floor for the next."""
    ledger = Ledger(0.95, slack=3.0)
    charges = [ledger.reserve(ledger.floor() ** 0.5) for _ in range(20)]
    assert ledger.tokens >= 0.0
    assert sum(charges) <= 3.0 + 1e-9


def test_a_restart_keeps_the_tokens_and_spends_what_was_in_flight() -> None:
    """The answer to a probe of a process that died never comes."""
    ledger = Ledger(0.95, slack=3.0)
    for _ in range(40):
        ledger.earn()
    charge = ledger.reserve(0.5)
    state = json.loads(json.dumps(ledger.state()))
    again = Ledger(0.95, slack=3.0)
    again.restore(state)
    assert again.tokens == ledger.tokens
    assert again.spent == pytest.approx(charge)
    assert again.requests == 40
    assert again.bound() == pytest.approx(ledger.bound())


def test_of_two_sharers_states_the_newer_one_counts() -> None:
    """Key types that share a ledger each bring its state; an older one changes nothing."""
    ledger = Ledger(0.95)
    old = ledger.state()
    ledger.earn()
    new = ledger.state()
    again = Ledger(0.95)
    again.restore(new)
    again.restore(old)
    assert again.requests == 1


def test_the_certificate_knows_nothing_wrong_before_the_first_hit() -> None:
    """Without a coin there was no false hit."""
    assert Ledger(0.95).bound() == 0.0


def test_the_certificate_grows_with_detected_false_hits() -> None:
    """And more so with a smaller risk of being wrong itself."""
    ledger = Ledger(0.9, slack=5.0)
    ledger.expose(0.25)
    clean = ledger.bound()
    ledger.spend(ledger.reserve(0.25))
    assert 0.0 < clean < ledger.bound() < ledger.bound(risk=0.001) < math.inf


def test_a_certificate_for_too_large_charges_is_infinite() -> None:
    """No stake of the grid survives a charge above 1,024."""
    ledger = Ledger(0.9, slack=2000.0, cap=3000.0)
    ledger.expose(1 / 2001)
    ledger.reserve(1 / 2001)
    assert ledger.bound() == math.inf


@pytest.mark.parametrize(
    ("target", "slack", "cap"), [(0.0, 3.0, 9.0), (1.0, 3.0, 9.0), (0.9, -1.0, 9.0), (0.9, 5.0, 4.0), (0.9, 0.0, 0.0)]
)
def test_numbers_out_of_range_are_refused(target: float, slack: float, cap: float) -> None:
    """With words that say what to give."""
    with pytest.raises(InvalidValue, match="give"):
        Ledger(target, slack, cap)


@pytest.mark.parametrize(
    "change",
    [{"tokens": -1.0}, {"tokens": "many"}, {"sums": [0.0]}, {"requests": None}, {"spent": math.inf}],
    ids=["negative", "text", "short", "none", "infinite"],
)
def test_an_unusable_state_is_refused(change: dict[str, object]) -> None:
    """And leaves the ledger as it was."""
    ledger = Ledger(0.95)
    with pytest.raises(InvalidValue, match="without it"):
        ledger.restore({**ledger.state(), **change})
    assert ledger.tokens == 3.0
