"""What a variant says becomes a confidence, from the first opinion on, and follows what full computations say of it."""

from __future__ import annotations

import math
import random

import pytest

from likewise.decision.opinions import LITTLE_DOUBT, Opinion, OpinionCalibration, is_worth_an_entry, opinion
from likewise.types import Neighbors, Reason, Source, Verdict

SURE, USUAL, TORN = Opinion(1, 9.0, 9.0), Opinion(1, 5.0, 5.0), Opinion(1, 0.3, 0.6)
MAY_ERR = 0.1


def used(agreement: float, opinions: int = 50) -> OpinionCalibration:
    """Return a calibration that knows what is usual for its variant, and nothing else."""
    calibration = OpinionCalibration(agreement)
    for _ in range(opinions):
        calibration.weigh(USUAL, 0.0, 100, 0.0)
    return calibration


def test_logits_and_the_distribution_that_they_stand_for_are_one_opinion() -> None:
    """Scores come as one or the other."""
    logits = [2.0, -1.0, 0.5]
    total = sum(map(math.exp, logits))
    said, again = opinion(logits, 7), opinion([math.exp(each) / total for each in logits], 7)
    assert said.label == again.label == 7
    assert said[1:] == pytest.approx(again[1:])
    assert said.margin == pytest.approx(1.5)


@pytest.mark.parametrize("agreement", [0.8, 0.9, 0.95, 0.98])
def test_a_usual_opinion_is_believed_about_as_often_as_it_was_right_before(agreement: float) -> None:
    """Before anything was checked here, a middling opinion is worth what was measured elsewhere."""
    _, z = used(agreement).weigh(USUAL, 0.0, 100, 0.0)
    assert z == pytest.approx(math.log(agreement / (1.0 - agreement)), abs=0.75)


def test_sharper_scores_and_the_same_answer_from_before_say_more() -> None:
    """Whoever is torn, or contradicted, is believed less."""
    calibration = used(0.95)
    torn, usual, sure = (calibration.weigh(said, 0.0, 100, 0.0)[1] for said in (TORN, USUAL, SURE))
    assert torn + 2.0 < usual < sure - 1.0
    refuted, confirmed = (calibration.weigh(USUAL, agreement, 100, 0.0)[1] for agreement in (-4.0, 4.0))
    assert refuted + 1.0 < usual < confirmed - 1.0
    assert calibration.weigh(USUAL, 0.0, 100, -2.0)[1] < usual < calibration.weigh(USUAL, 0.0, 100, 2.0)[1]


@pytest.mark.parametrize("wrong", [0.02, 0.5])
def test_what_was_measured_elsewhere_gives_way_to_what_is_seen_here(wrong: float) -> None:
    """A variant that agreed on .95 of other inputs, and is better or worse on these."""
    calibration, own = used(0.95), random.Random(3)
    _, before = calibration.weigh(USUAL, 0.0, 400, 0.0)
    for at in range(400):
        evidence, _ = calibration.weigh(USUAL, 0.0, 100 + at, 0.0)
        calibration.check(evidence, own.random() < wrong, 1.0, 100 + at)
    calibration.refit(500, MAY_ERR)
    _, z = calibration.weigh(USUAL, 0.0, 500, 0.0)
    assert 1.0 / (1.0 + math.exp(z)) == pytest.approx(wrong, rel=0.4)
    assert (z > before) == (wrong < 0.05)


COVERED = Neighbors([0.1, 0.1, 0.1, 0.9], [1, 1, 1, 2], [0, 1, 2, 3])
OPEN = Neighbors([0.1, 0.3], [2, 2], [0, 1])


@pytest.mark.parametrize(("neighbors", "doubt", "kept"), [(OPEN, 0.0, True), (OPEN, 0.1, False), (COVERED, 0.0, False)])
def test_an_answer_is_worth_an_entry_where_it_adds_something_and_leaves_little_doubt(
    neighbors: Neighbors, doubt: float, kept: bool
) -> None:
    """A wrong one would be reused for whatever is near it."""
    said = Verdict(Source.VARIANT, Reason.CONFIDENT, neighbors, label=1, confidence=LITTLE_DOUBT - doubt)
    assert is_worth_an_entry(said) is kept
