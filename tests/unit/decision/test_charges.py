"""What was charged beside what was foreseen."""

from __future__ import annotations

import json

import pytest

from likewise.decision.charges import DOUBT, HALF_LIFE, ChargeCheck


def test_charges_as_foreseen_raise_no_alarm() -> None:
    check = ChargeCheck()
    check.expected = 30.0
    check.charge(20.0)
    check.compare(10)
    assert check.factor == 1.0


def test_more_charges_than_foreseen_raise_every_risk_up_to_a_limit() -> None:
    check = ChargeCheck()
    check.charge(DOUBT)
    check.compare(0)
    assert check.factor == pytest.approx(2.0)
    check.charge(1e6)
    check.compare(0)
    assert check.factor == 5.0


def test_a_check_fades_with_the_requests() -> None:
    check = ChargeCheck()
    check.charge(DOUBT)
    check.compare(int(HALF_LIFE))
    assert check.factor == pytest.approx(1.5)


def test_a_state_survives_json() -> None:
    check, other = ChargeCheck(), ChargeCheck()
    check.expected = 3.0
    check.charge(40.0)
    check.compare(100)
    other.restore(json.loads(json.dumps(check.state())), 100)
    for each in (check, other):
        each.charge(5.0)
        each.compare(700)
    assert check.state() == other.state()


@pytest.mark.parametrize(
    "broken", [{"factor": 0.5}, {"factor": 9.0}, {"expected": -1.0}, {"charged": float("nan")}], ids=str
)
def test_a_broken_state_is_refused(broken: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="factor"):
        ChargeCheck().restore({**ChargeCheck().state(), **broken}, 0)
