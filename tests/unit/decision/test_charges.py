"""What was charged beside what was foreseen."""

from __future__ import annotations

import json

import pytest

from likewise.decision.charges import DOUBT, HALF_LIFE, Surprise


def test_charges_as_foreseen_are_no_surprise() -> None:
    surprise = Surprise()
    surprise.expected = 30.0
    surprise.charge(20.0)
    surprise.compare(10)
    assert surprise.factor == 1.0


def test_more_charges_than_foreseen_raise_every_risk_up_to_a_limit() -> None:
    surprise = Surprise()
    surprise.charge(DOUBT)
    surprise.compare(0)
    assert surprise.factor == pytest.approx(2.0)
    surprise.charge(1e6)
    surprise.compare(0)
    assert surprise.factor == 5.0


def test_a_surprise_fades_with_the_requests() -> None:
    surprise = Surprise()
    surprise.charge(DOUBT)
    surprise.compare(int(HALF_LIFE))
    assert surprise.factor == pytest.approx(1.5)


def test_a_state_survives_json() -> None:
    surprise, other = Surprise(), Surprise()
    surprise.expected = 3.0
    surprise.charge(40.0)
    surprise.compare(100)
    other.restore(json.loads(json.dumps(surprise.state())), 100)
    for each in (surprise, other):
        each.charge(5.0)
        each.compare(700)
    assert surprise.state() == other.state()


@pytest.mark.parametrize(
    "broken", [{"factor": 0.5}, {"factor": 9.0}, {"expected": -1.0}, {"charged": float("nan")}], ids=str
)
def test_a_broken_state_is_refused(broken: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="factor"):
        Surprise().restore({**Surprise().state(), **broken}, 0)
