"""One policy plays one stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.evaluation.replay import parse_policy, replay
from likewise.evaluation.streams import Stream
from likewise.learning.lda import Projection


def test_a_threshold_of_everything_answers_all_but_the_first(stream: Stream) -> None:
    """Then harvest and accuracy follow from the false hits alone."""
    run = replay(stream, "fixed:threshold=9", 0.95)
    assert run.hits == 599
    assert run.entries == 1
    right = sum(label == stream.labels[0] for label in stream.labels[1:])
    assert run.opportunities == right
    assert run.harvest == 1.0
    assert run.accuracy == pytest.approx((right + 1) / 600)
    assert run.hit_accuracy == pytest.approx(right / 599)


def test_a_threshold_of_nothing_computes_everything(stream: Stream) -> None:
    """An opportunity is a request whose label was cached before."""
    run = replay(stream, "fixed:threshold=0", 0.95)
    assert (run.hits, run.harvest, run.accuracy, run.hit_accuracy) == (0, 0.0, 1.0, 1.0)
    assert run.entries == 600
    assert run.opportunities == 600 - len(set(stream.labels))


def test_a_projection_from_the_spec_is_searched_unless_told_otherwise(stream: Stream) -> None:
    """From the first lookup on; one that leaves a single number cannot tell the clusters apart."""
    poor = Projection(np.zeros(16, np.float32), np.eye(16, 1, dtype=np.float32))
    run = replay(replace(stream, prior=poor), "fixed:threshold=0.01", 0.95)
    assert run.dimension == 1
    assert run.accuracy < 0.5
    plain = replay(replace(stream, prior=poor), "fixed:threshold=0.01", 0.95, projection=False)
    assert (plain.dimension, plain.hits) == (16, 0)


def test_the_default_policy_harvests_and_keeps_the_target(stream: Stream) -> None:
    """On clusters that are easy to tell apart."""
    run = replay(stream, "calibrated+ledger", 0.95)
    assert run.harvest > 0.6
    assert run.accuracy >= 0.95
    assert run.probes > 0
    assert len(run.accuracy_so_far) == 100
    assert run.accuracy_so_far[-1] == run.accuracy


def test_the_same_run_twice_is_the_same(stream: Stream) -> None:
    """The coin is drawn from the arguments."""
    one, two = (replay(stream, "calibrated+ledger", 0.9) for _ in range(2))
    assert (one.harvest, one.probes, one.accuracy) == (two.harvest, two.probes, two.accuracy)


def test_a_full_cache_loses_opportunities(stream: Stream) -> None:
    """What was evicted is no opportunity any more."""
    run = replay(stream, "fixed:threshold=0", 0.95, capacity=5, eviction="lru")
    assert run.entries == 5
    assert run.opportunities < 400


def test_json_has_the_documented_keys(stream: Stream) -> None:
    """For whoever reads the file."""
    found = replay(stream, "hknn:theta=0.9", 0.95).as_json()
    assert {
        "workload", "policy", "target", "seed", "requests", "opportunities", "harvest", "accuracy", "hit_accuracy",
        "probes", "entries", "decide_us",
    } <= set(found)  # fmt: skip
    assert "accuracy_so_far" not in found


def test_policies_are_parsed_with_their_options() -> None:
    """Numbers become numbers, the rest stays text."""
    assert parse_policy("calibrated:strictness=strict:probing=0.1") == (
        "calibrated",
        {"strictness": "strict", "probing": 0.1},
    )
    assert parse_policy("potluck") == ("potluck", {})
    with pytest.raises(InvalidValue, match="option=value"):
        parse_policy("fixed:0.3")


def noisy(labels: int, seed: int = 1) -> Stream:
    """Return 900 requests whose labels differ in 10 of 40 numbers; the other 30 only disturb."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(labels, size=900)
    told = rng.normal(size=(labels, 10))[ids] + 0.4 * rng.normal(size=(900, 10))
    keys = np.hstack([told, 1.5 * rng.normal(size=(900, 30))])
    keys = (keys / np.linalg.norm(keys, axis=1, keepdims=True)).astype(np.float32)
    return Stream("noisy", 0, keys, ids.tolist(), [0] * len(ids), 10, projected=True)


def test_a_projection_is_learned_where_the_spec_says_so_and_it_helps() -> None:
    """As the server does; between two requests, so that the same arguments give the same run."""
    stream = noisy(25)
    on, again = replay(stream, "calibrated+ledger", 0.9), replay(stream, "calibrated+ledger", 0.9)
    off = replay(stream, "calibrated+ledger", 0.9, projection=False)
    assert (on.harvest, on.probes, on.entries, on.dimension) == (again.harvest, again.probes, again.entries, 24)
    assert off.dimension == 40
    assert on.harvest > off.harvest + 0.1


def test_no_projection_is_learned_from_few_labels() -> None:
    """The plain keys were better there in every study."""
    assert replay(noisy(10), "calibrated+ledger", 0.9).dimension == 40
