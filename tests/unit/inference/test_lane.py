"""Accounts in the inference queue: they take turns, and whoever has most of a full lane makes room."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from likewise.errors import Overloaded
from likewise.inference.batching import Batcher
from likewise.inference.lane import Job, Lane
from likewise.inference.workers import Workers
from likewise.types import Array


def job(account: str, due: float = 0.0) -> Job:
    """Return a job of one number, four bytes."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    return Job(Array(np.zeros(1, np.float32)), 4, account, future, due, float("inf"))


async def test_accounts_take_turns() -> None:
    """One job waits for no more than one of each other account's, however many those have."""
    lane = Lane(100, 1000)
    jobs = [job("loud") for _ in range(5)] + [job("quiet") for _ in range(2)]
    for each in jobs:
        lane.put(each)
    assert [jobs.index(lane.take()) for _ in jobs] == [0, 5, 1, 6, 2, 3, 4]
    assert len(lane) == 0
    assert lane.oldest() is None


@pytest.mark.parametrize(("limit", "limit_bytes"), [(6, 1000), (100, 24)])
async def test_an_account_that_filled_the_lane_makes_room(limit: int, limit_bytes: int) -> None:
    """Up to a fair share, by its newest job; nobody makes room for more than that, or for its own."""
    lane = Lane(limit, limit_bytes)
    loud = [job("loud") for _ in range(6)]
    for each in loud:
        assert lane.has_room(4)
        lane.put(each)
    assert not lane.has_room(4)
    assert lane.yields("loud", 4) is None
    for given_up in reversed(loud[3:]):
        assert lane.yields("quiet", 4) is given_up
        assert lane.has_room(4)
        lane.put(job("quiet"))
    assert lane.yields("quiet", 4) is None
    assert lane.yields("loud", 4) is None
    assert lane.yields("third", 4) is not None


async def test_every_second_turn_is_for_what_others_wait_for() -> None:
    """Whoever came first is not kept waiting for ever by those that have followers."""
    lane = Lane(100, 1000)
    jobs = [job("a", due) for due in range(6)]
    for each in jobs:
        lane.put(each)
    for each in (jobs[4], jobs[5], jobs[3]):
        lane.want(each)
    lane.drop(jobs[5])
    assert [lane.take().due for _ in range(5)] == [4, 0, 3, 1, 2]
    lane.want(jobs[4])
    assert len(lane) == 0


async def test_what_others_wait_for_does_not_change_the_turns_of_accounts() -> None:
    """An account gets no more turns by it."""
    lane = Lane(100, 1000)
    jobs = [job(account, due) for due, account in enumerate("aaabbb")]
    for each in jobs:
        lane.put(each)
    for each in (jobs[1], jobs[2]):
        lane.want(each)
    assert [(each.account, each.due) for each in (lane.take() for _ in range(6))] == [
        ("a", 1), ("b", 3), ("a", 0), ("b", 4), ("a", 2), ("b", 5),
    ]  # fmt: skip


async def test_the_oldest_is_found_in_all_accounts() -> None:
    """Whichever takes its turn next; a job that is dropped counts no more."""
    lane = Lane(100, 1000)
    first, second, third = job("a", 3.0), job("b", 1.0), job("b", 2.0)
    for each in (first, second, third):
        lane.put(each)
    assert lane.oldest() is second
    assert lane.greediest() == "b"
    assert lane.oldest("a") is first
    assert lane.drop(second)
    assert not lane.drop(second)
    assert lane.oldest() is third
    assert len(lane) == 2


class _Doubles:
    dynamic_batch = False

    def run(self, batch: Any) -> list[Any]:
        return [batch * 2]


@pytest.mark.parametrize("probe", [False, True])
async def test_whoever_has_most_of_a_full_queue_is_refused(probe: bool) -> None:
    """Of users the newest input, of probes the oldest; the other account's are all computed."""
    with ThreadPoolExecutor(1) as pool:
        workers = Workers(pool, 0)  # nobody computes as yet
        queue = Batcher(_Doubles(), lambda value: value.values, workers, queue_limit=6)  # type: ignore[arg-type, union-attr]

        def ask(number: float, account: str) -> asyncio.Task[Any]:
            value = Array(np.array([number], np.float32))
            return asyncio.create_task(queue.infer(value, probe=probe, account=account))

        loud = [ask(number, "loud") for number in range(6)]
        quiet = [ask(number, "quiet") for number in range(2)]
        while not all(each.done() for each in (loud[:2] if probe else loud[4:])):
            await asyncio.sleep(0)
        workers.release()
        found = await asyncio.gather(*loud, return_exceptions=True)
        refused = [isinstance(each, Overloaded) for each in found]
        assert refused == ([True] * 2 + [False] * 4 if probe else [False] * 4 + [True] * 2)
        assert [float(outputs[0][0]) for outputs, _ in await asyncio.gather(*quiet)] == [0.0, 2.0]
        assert queue.queued == 0
