"""Samples that nodes tell each other."""

from __future__ import annotations

import random

import pytest

from likewise.decision import make_policy
from likewise.learning.evidence import AT_ONCE, Exchange
from likewise.records import Observed
from likewise.types import Neighbors, Sample

NEAR = Neighbors([0.05, *[0.4] * 9], [1] * 10, list(range(10)))
SAMPLE = Sample((1.0, 1.0, 0.0, 0.3, 0.0, 0.0), False, 1.0, 0.1)


@pytest.fixture
def policy():
    return make_policy("calibrated+ledger", 0.95, random.Random(1).random)


@pytest.fixture
def exchange(policy):
    return Exchange("f@1", {"v": policy, "w": make_policy("fixed", 0.95, random.Random(1).random, threshold=0.1)})


def observed(exchange, number=1, node="other", key_type="v", samples=(SAMPLE,), **more):
    given = {"evidence_schema": exchange._policies["v"].evidence_schema, **more}
    return Observed("f@1", key_type, given["evidence_schema"], node, number, samples)


def test_what_was_computed_is_told_once(exchange, policy):
    """The samples between two calls make one record for each key type, with a number of its own."""
    assert exchange.drain() == []
    for label in (1, 2):
        verdict = policy.decide(NEAR)
        exchange.note("v", verdict, policy.learn(verdict, label).wrong)
    (record,) = exchange.drain()
    assert (record.function, record.key_type, record.node) == ("f@1", "v", exchange.node)
    assert [each.wrong for each in record.samples] == [False, True]
    assert exchange.drain() == []
    exchange.note("v", policy.decide(NEAR), False)
    assert exchange.drain()[0].number > record.number
    assert exchange.sent == 3


def test_nothing_is_gathered_for_nobody(exchange, policy):
    """A node without others never asks, and keeps nothing."""
    exchange.note("v", policy.decide(NEAR), False)
    assert exchange.drain() == []


def test_a_policy_that_learns_nothing_tells_nothing(exchange, policy):
    """Fixed thresholds have no samples."""
    exchange.drain()
    exchange.note("w", policy.decide(NEAR), False)
    assert exchange.drain() == []


def test_more_than_fits_is_left_out_and_counted(exchange, policy):
    """Whatever the samples say: the first ones are told."""
    exchange.drain()
    for number in range(AT_ONCE + 5):
        exchange.note("v", policy.decide(NEAR), number % 2 == 0)
    (record,) = exchange.drain()
    assert len(record.samples) == AT_ONCE
    assert (exchange.sent, exchange.left_out) == (AT_ONCE, 5)


def test_a_record_is_taken_in_once_and_never_ones_own(exchange, policy):
    """A stream that is read again tells nothing new."""
    for record in [observed(exchange, 1), observed(exchange, 2), observed(exchange, 1), observed(exchange, 2)]:
        exchange.take_in(record)
    exchange.take_in(observed(exchange, 9, node=exchange.node))
    assert exchange.taken_in == 2
    exchange.take_in(observed(exchange, 1, node="third"))
    assert exchange.taken_in == 3
    assert policy.state()["calibration"]["seen"] == 3


def test_what_cannot_be_understood_is_refused_and_counted(exchange, policy):
    """Another schema, a key type without such a policy, numbers that no policy makes."""
    exchange.take_in(observed(exchange, 1, evidence_schema="of later times"))
    exchange.take_in(observed(exchange, 2, key_type="w"))
    exchange.take_in(observed(exchange, 3, key_type="x"))
    exchange.take_in(observed(exchange, 4, samples=(SAMPLE._replace(probability=0.0),)))
    assert (exchange.taken_in, exchange.refused) == (0, 4)
    assert policy.state()["calibration"]["seen"] == 0
