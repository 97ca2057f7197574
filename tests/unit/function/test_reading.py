"""Inputs that wait to be read: in turns, the small ones first, bounded in number and in time."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from likewise.errors import DeadlineExceeded, Overloaded
from likewise.function import reading
from likewise.function.reading import ReadingQueue

LONG = float("inf")


class Bench:
    """A queue before one thread that reads nothing until it is let go."""

    def __init__(self, pool: ThreadPoolExecutor, **options: Any) -> None:
        self.gate = threading.Event()
        self.queue = ReadingQueue(pool, 1, **options)
        self.order: list[str] = []

    def read(self, name: str) -> str:
        assert self.gate.wait(120)
        if name == "broken":
            raise ValueError(name)
        self.order.append(name)
        return name

    def ask(self, name: str, size: int = 1, account: str = "", within_s: float = LONG) -> asyncio.Task[str]:
        return asyncio.create_task(self.queue.run(self.read, name, size=size, account=account, within_s=within_s))

    async def waiting(self, count: int) -> None:
        while len(self.queue) < count:
            await asyncio.sleep(0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


async def test_accounts_take_turns_and_small_ones_go_first(pool: ThreadPoolExecutor) -> None:
    """But one turn in four is that of the one that waited longest."""
    bench = Bench(pool)
    first = bench.ask("first")
    await asyncio.sleep(0)
    tasks = [bench.ask(f"huge {at}", 1000, "loud") for at in range(4)]
    await bench.waiting(4)
    tasks += [bench.ask("small", 1, "loud"), bench.ask("quiet", 500, "quiet")]
    await bench.waiting(6)
    bench.gate.set()
    await asyncio.gather(first, *tasks)
    assert bench.order[:3] == ["first", "small", "quiet"]
    assert bench.order[3:] == [f"huge {at}" for at in range(4)]
    assert len(bench.queue) == 0


async def test_where_too_many_wait_the_largest_of_whoever_has_most_is_refused(pool: ThreadPoolExecutor) -> None:
    """Others are let in up to a fair share; a larger one of the same account is not."""
    bench = Bench(pool, limit=4)
    first = bench.ask("first")
    await asyncio.sleep(0)
    loud = [bench.ask(f"loud {at}", 100 + at, "loud") for at in range(4)]
    await bench.waiting(4)
    with pytest.raises(Overloaded):
        await bench.ask("larger", 1000, "loud")
    small = bench.ask("small", 1, "loud")
    with pytest.raises(Overloaded):
        await loud[3]
    quiet = [bench.ask(f"quiet {at}", 10_000, "quiet") for at in range(2)]
    for at in (2, 1):
        with pytest.raises(Overloaded):
            await loud[at]
    with pytest.raises(Overloaded):
        await bench.ask("quiet too", 10_000, "quiet")
    bench.gate.set()
    await asyncio.gather(first, loud[0], small, *quiet)


async def test_nobody_waits_for_ever(pool: ThreadPoolExecutor) -> None:
    """For as long as the queue's patience lasts, or the request's own."""
    bench = Bench(pool, patience_s=0.02)
    first = bench.ask("first")
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="waited over"):
        await bench.ask("late")
    with pytest.raises(DeadlineExceeded):
        await bench.ask("hasty", within_s=0.01)
    bench.gate.set()
    assert await first == "first"
    assert await bench.ask("next") == "next"


@pytest.mark.parametrize(
    ("patience_s", "within_s", "expected"), [(100.0, 50.0, DeadlineExceeded), (50.0, LONG, Overloaded)]
)
async def test_what_would_wait_too_long_is_refused_at_once(
    pool: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    patience_s: float,
    within_s: float,
    expected: type[Exception],
) -> None:
    """By how many go before it and how fast they went: a smaller one, or one of another account, comes sooner."""
    now = 100.0
    monkeypatch.setattr(reading, "perf_counter", lambda: now)
    bench = Bench(pool, patience_s=patience_s)
    first = bench.ask("first")
    await asyncio.sleep(0)
    second = bench.ask("second", 10)
    await bench.waiting(1)
    now += 15.0
    bench.gate.set()
    await asyncio.gather(first, second)  # one in 15 s
    bench.gate.clear()
    tasks = [bench.ask("third", 10)]
    await asyncio.sleep(0)
    for count, name in enumerate(("fourth", "fifth", "sixth"), 1):
        tasks.append(bench.ask(name, 10, within_s=within_s))
        await bench.waiting(count)
    with pytest.raises(expected, match="45 s"):
        await bench.ask("late", 10, within_s=within_s)
    tasks.append(bench.ask("small", 9, within_s=within_s))
    tasks.append(bench.ask("other", 10, "other", within_s=within_s))
    await bench.waiting(5)
    bench.gate.set()
    await asyncio.gather(*tasks)


async def test_what_fails_gives_its_thread_back(pool: ThreadPoolExecutor) -> None:
    """The error comes through."""
    bench = Bench(pool)
    bench.gate.set()
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            await bench.ask("broken")
    assert await bench.ask("next") == "next"


@pytest.mark.parametrize("seed", range(10))
async def test_whoever_leaves_holds_nothing(pool: ThreadPoolExecutor, seed: int) -> None:
    """While it waits, in the moment of its turn, or while it is read: threads come back in the end."""
    rng, bench = random.Random(seed), Bench(pool, limit=8)
    bench.gate.set()
    tasks = []
    for at in range(200):
        tasks.append(bench.ask(f"{at}", rng.randrange(9), rng.choice("ab")))
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        if rng.random() < 0.6:
            rng.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    while bench.queue._free < 1:
        await asyncio.sleep(0)
    assert (bench.queue._free, len(bench.queue)) == (1, 0)
    assert await bench.ask("next") == "next"
