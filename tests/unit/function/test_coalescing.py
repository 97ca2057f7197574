"""In-flight inferences: who may wait for whom."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from likewise.function.coalescing import NEW_LABEL, InFlight
from likewise.types import NO_NEIGHBORS, Neighbors


def key(*numbers):
    return np.array(numbers, np.float32)


def within(threshold):
    return lambda neighbors: bool(neighbors.distances) and neighbors.distances[0] <= threshold


async def test_the_same_input_finds_its_leader_until_it_ends():
    """By identity, while the inference runs and no longer."""
    flights = InFlight()
    with flights.lead(b"body", key(1, 0)) as leader:
        assert flights.same(b"body") is leader
        assert flights.same(b"other") is None
        assert len(flights) == 1
    assert flights.same(b"body") is None
    assert await leader.done is None


async def test_followers_wake_even_when_the_leader_fails():
    """However the inference ends, nobody waits for ever."""
    flights = InFlight()

    async def follow():
        return await flights.same(b"x").done

    with pytest.raises(ValueError, match="broken"), flights.lead(b"x", key(0)):
        follower = asyncio.create_task(follow())
        await asyncio.sleep(0)
        raise ValueError("broken")
    assert await follower is None


async def test_a_leader_is_wanted_once_others_follow_it():
    """So that whoever computes it can let it go ahead."""
    flights = InFlight()
    with flights.lead(b"body", key(1, 0)) as leader:
        assert not leader.wanted.done()
        followers = [leader.follow() for _ in range(2)]
        assert leader.wanted.done()
    assert [await each for each in followers] == [None, None]


async def test_a_near_input_follows_only_where_its_result_would_be_reused():
    """The policy's own test decides, with the leader as a neighbor of unknown label."""
    flights = InFlight()
    with flights.lead(b"a", key(0, 0)), flights.lead(b"b", key(5, 5)) as second:
        assert flights.near(key(5, 5.1), NO_NEIGHBORS, within(0.5)) is second
        assert flights.near(key(9, 9), NO_NEIGHBORS, within(0.5)) is None


async def test_a_nearer_entry_makes_waiting_pointless():
    """What is cached closer by is looked at instead."""
    flights = InFlight()
    cached = Neighbors([0.05], [7], [0])
    with flights.lead(b"a", key(0, 0)):
        assert flights.near(key(0.1, 0), cached, lambda neighbors: neighbors.labels[0] == NEW_LABEL) is None


async def test_a_request_that_is_a_hit_already_does_not_wait():
    """Waiting is for those who would compute."""
    flights = InFlight()
    with flights.lead(b"a", key(0, 0)):
        assert flights.near(key(0, 0), Neighbors([0.1], [7], [0]), within(0.5)) is None


async def test_the_leader_stands_in_its_place_among_the_neighbors():
    """The policy sees distances in order, with the leader marked."""
    flights = InFlight()
    seen = []

    def confident(neighbors):
        seen.append(neighbors)
        return NEW_LABEL in neighbors.labels

    with flights.lead(b"a", key(0, 0)) as leader:
        assert flights.near(key(0.2, 0), Neighbors([0.3, 0.4], [1, 2], [0, 1]), confident) is leader
    assert seen[-1].distances == pytest.approx([0.2, 0.3, 0.4])
    assert seen[-1].labels == [NEW_LABEL, 1, 2]
