"""What a device was answered last, as evidence."""

from __future__ import annotations

import json
import math
import random
from itertools import pairwise

import pytest

from likewise.decision.repeats import CAUTION, WINDOW, RepeatPrior


def told(prior: RepeatPrior, labels: list[int]) -> RepeatPrior:
    """Tell what one device was answered, one after another."""
    for before, label in pairwise(labels):
        prior.answers.append(label if label == before else ~label)
    prior.absorb()
    return prior


def test_nothing_is_said_before_anything_was_seen() -> None:
    prior = RepeatPrior()
    prior.absorb()
    assert (prior.same, prior.new) == (0.0, 0.0)


def test_runs_of_one_answer_speak_for_it() -> None:
    """Ten labels in runs of four: a repetition is 7.5 times as frequent as by chance, a change a third as frequent."""
    rng = random.Random(1)
    prior = told(RepeatPrior(), [label for label in rng.choices(range(10), k=1000) for _ in range(4)])
    again = 0.75 + 0.25 * 0.1
    assert prior.same == pytest.approx(math.log(again / 0.1), abs=0.1)
    assert prior.new == pytest.approx(math.log((1 - again) / 0.9), abs=0.1)


@pytest.mark.parametrize("weights", [[1] * 10, [50, 10, 1, 1]], ids=["even", "skewed"])
def test_answers_in_no_order_say_next_to_nothing(weights: list[int]) -> None:
    """However often a frequent label follows itself: it would anyway."""
    prior = told(RepeatPrior(), random.Random(2).choices(range(len(weights)), weights, k=4000))
    assert abs(prior.same) < 0.15
    assert abs(prior.new) < 0.15


def test_answers_that_never_repeat_say_nothing() -> None:
    prior = told(RepeatPrior(), list(range(50)) * 20)
    assert (prior.same, prior.new) == (0.0, 0.0)


def test_a_few_answers_are_no_prior_yet() -> None:
    prior = told(RepeatPrior(), [0, 0, 0, 1, 1, 1])
    assert 0.0 < prior.same < math.log(1 + len("000111") / CAUTION / 0.5)


def test_one_label_alone_says_nothing() -> None:
    prior = told(RepeatPrior(), [3] * 1000)
    assert (prior.same, prior.new) == (0.0, 0.0)


def test_what_was_long_ago_fades() -> None:
    rng = random.Random(3)
    prior = told(RepeatPrior(), [label for label in rng.choices(range(10), k=WINDOW) for _ in range(4)])
    assert prior.same > 1.5
    for _ in range(12):
        told(prior, rng.choices(range(10), k=WINDOW))
    assert prior.same < 0.2


def test_a_state_survives_json_and_goes_on() -> None:
    rng = random.Random(4)
    one, other = (
        told(RepeatPrior(), [label for label in rng.choices(range(30), k=300) for _ in range(3)]),
        RepeatPrior(),
    )
    other.restore(json.loads(json.dumps(one.state())))
    assert (other.same, other.new) == (one.same, one.new)
    more = rng.choices(range(30), k=200)
    told(one, more)
    told(other, more)
    assert (other.same, other.new) == (one.same, one.new)


@pytest.mark.parametrize(
    "broken",
    [
        {"repeats": 3, "counts": []},
        {"pairs": 2, "repeats": 3, "counts": []},
        {"pairs": math.nan, "repeats": 0, "counts": []},
        {"pairs": 2, "repeats": 1, "counts": [[1, 0]]},
        {"pairs": 2, "repeats": 1, "counts": [[1]]},
    ],
    ids=["missing", "more repeats than pairs", "nan", "no count", "half a count"],
)
def test_a_broken_state_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        RepeatPrior().restore(broken)
