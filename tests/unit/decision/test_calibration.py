"""Weights, bar and ratio."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from likewise.decision.calibration import PRIOR, RECENT, Calibration
from likewise.decision.checks import CHECKED, WIDTH, Evidence, error_probability


def feed(calibration: Calibration, count: int, error: float, seed: int = 0) -> None:
    """Show `count` checked requests, half of them clear (always right), half unclear (wrong at rate `error`)."""
    own = random.Random(seed)
    for _ in range(count):
        clear = own.random() < 0.5
        evidence: Evidence = (1.0, 1.5 if clear else 0.05, 0.0, 0.5 if clear else 0.1, 0.0, 0.0)
        calibration.clock += 1
        calibration.fresh_mix.append(evidence)
        calibration.check(evidence, not clear and own.random() < error, 1.0)


def test_nothing_is_fitted_before_anything_was_checked() -> None:
    """The bar stays at +inf."""
    calibration = Calibration(0.05, 1.0)
    calibration.refit()
    assert calibration.bar == math.inf
    assert calibration.weights == PRIOR


def test_the_prior_allows_clear_cases_after_the_first_check() -> None:
    """What was learned on other streams does not wait for forty samples."""
    calibration = Calibration(0.05, 0.7)
    feed(calibration, 4, 0.9)
    calibration.refit(0.1)
    assert calibration.bar < math.inf


def test_clear_and_unclear_cases_are_told_apart() -> None:
    """Where unclear ones are mostly wrong, the bar lies between the two."""
    calibration = Calibration(0.05, 1.0)
    feed(calibration, 400, 0.9)
    calibration.refit()
    clear = float(np.dot(calibration.weights, (1.0, 1.5, 0.0, 0.5, 0.0, 0.0)))
    unclear = float(np.dot(calibration.weights, (1.0, 0.05, 0.0, 0.1, 0.0, 0.0)))
    assert unclear < calibration.bar <= clear


def test_everything_is_allowed_where_nothing_is_wrong() -> None:
    """The bar falls to the least clear case."""
    calibration = Calibration(0.05, 1.0)
    feed(calibration, 600, 0.0)
    calibration.refit()
    unclear = float(np.dot(calibration.weights, (1.0, 0.05, 0.0, 0.1, 0.0, 0.0)))
    assert calibration.bar == pytest.approx(unclear)


def test_nothing_is_allowed_where_everything_is_wrong() -> None:
    """Clear or not."""
    calibration = Calibration(0.01, 1.64)
    for _ in range(300):
        calibration.clock += 1
        calibration.fresh_mix.append((1.0, 1.5, 0.0, 0.5, 0.0, 0.0))
        calibration.check((1.0, 1.5, 0.0, 0.5, 0.0, 0.0), True, 1.0)
    calibration.refit()
    assert calibration.bar == math.inf


def test_more_caution_never_lowers_the_bar() -> None:
    """Strict is at least as strict as bold."""
    bars = []
    for caution in (0.7, 1.0, 1.64, 4.0):
        calibration = Calibration(0.03, caution)
        feed(calibration, 500, 0.3)
        calibration.refit()
        bars.append(calibration.bar)
    assert bars == sorted(bars)


def test_weights_keep_their_signs() -> None:
    """Whatever is shown, more margin and agreement never count against reuse, more distance never for it."""
    own = random.Random(1)
    calibration = Calibration(0.05, 1.0)
    for _ in range(800):
        evidence: Evidence = (
            1.0,
            own.uniform(-1, 2),
            own.uniform(-2, 2),
            own.uniform(-0.4, 0.5),
            0.0,
            own.uniform(-1, 2),
        )
        calibration.clock += 1
        calibration.fresh_mix.append(evidence)
        calibration.check(evidence, evidence[1] > 0 or evidence[2] < 0 or evidence[5] > 0, 1.0)
        if calibration.clock % 50 == 0:
            calibration.refit(0.3)
    _, margin, distance, homogeneity, early, before = calibration.weights
    assert margin >= 0 >= distance
    assert homogeneity >= 0 >= early
    assert before >= 0


def test_rings_keep_the_newest() -> None:
    """No more than 1,024 checked and 512 recent ones, however many came."""
    calibration = Calibration(0.05, 1.0)
    feed(calibration, 3 * CHECKED, 0.1)
    calibration.refit()
    assert calibration.samples == 3 * CHECKED
    state = calibration.state()
    assert len(state["checked"]) == 4 * math.ceil(CHECKED * (WIDTH + 3) * 4 / 3)
    assert len(state["mix"]) == 4 * math.ceil(RECENT * WIDTH * 4 / 3)


def test_a_restored_calibration_goes_on_like_the_first() -> None:
    """The same checks after a restart lead to the same bar."""
    first, second = Calibration(0.05, 1.0), Calibration(0.05, 1.0)
    feed(first, 300, 0.4)
    first.refit()
    second.restore(json.loads(json.dumps(first.state())))
    for each in (first, second):
        feed(each, 50, 0.4, seed=9)
        each.refit()
    assert second.weights == pytest.approx(first.weights, abs=1e-4)
    assert second.bar == pytest.approx(first.bar, abs=1e-4)


@pytest.mark.parametrize(
    "change",
    [{"weights": [1.0]}, {"bar": math.nan}, {"checked": "!!"}, {"seen": 7}, {"clock": -1}],
    ids=["weights", "bar", "text", "count", "clock"],
)
def test_a_broken_state_is_refused(change: dict[str, object]) -> None:
    """By an ordinary exception, which the policy turns into words."""
    calibration = Calibration(0.05, 1.0)
    feed(calibration, 60, 0.2)
    with pytest.raises((KeyError, TypeError, ValueError)):
        Calibration(0.05, 1.0).restore({**calibration.state(), **change})


def test_error_probability_is_the_logistic_of_the_confidence() -> None:
    """Even odds at 0; never quite 0 or 1."""
    found = error_probability(np.array([0.0, 100.0, -100.0]))
    assert found[0] == 0.5
    assert 0.0 < found[1] < 1e-6
    assert 1.0 - 1e-6 < found[2] < 1.0
