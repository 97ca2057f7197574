"""One contract, every journal: memory with a shared log, SQLite, Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from journals import FUNCTION, Model, collect, make_entry, rebuild, same, until
from redis_server import RedisServer, find_redis

from likewise.errors import JournalError
from likewise.journal.blocks import block_of, entries_of
from likewise.journal.make import open_journal
from likewise.journal.memory import MemoryJournal, SharedLog
from likewise.ports import Journal
from likewise.records import Inserted, Invalidated, Learned, Observed, Registered, Unregistered
from likewise.types import Sample

Open = Callable[..., Awaitable[Journal]]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_redis() is None:
        if os.environ.get("LIKEWISE_REQUIRE_REDIS"):
            pytest.fail("LIKEWISE_REQUIRE_REDIS is set, and there is no redis-server")
        pytest.skip("no redis-server here")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server.url
    server.stop()


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Open journals over one store, any number of nodes one after the other, for SQLite one at a time."""
    log = SharedLog()
    prefix = uuid.uuid4().hex
    async with contextlib.AsyncExitStack() as stack:

        async def start(node: str = "a") -> Journal:
            journal: Journal
            if request.param == "memory":
                journal = MemoryJournal(log, node)
            elif request.param == "sqlite":
                journal = open_journal("sqlite", path=tmp_path / "journal.sqlite", commit_interval_s=0.01)
            else:
                url = request.getfixturevalue("redis_url")
                journal = open_journal("redis", redis_url=url, node=node, prefix=prefix)
            await journal.start()
            stack.push_async_callback(journal.close)
            return journal

        yield start


@pytest.fixture
def shared(request: pytest.FixtureRequest, opened: Open) -> Open:
    if request.node.callspec.params["opened"] == "sqlite":
        pytest.skip("one file is one node's")
    return opened


async def reopened(opened: Open, journal: Journal) -> Model:
    await journal.flush()
    await journal.close()
    again = await opened("a")
    return await rebuild(again.replay())


async def test_an_empty_journal_replays_nothing(opened: Open) -> None:
    """There is nothing before the first append."""
    journal = await opened()
    assert [batch async for batch in journal.replay()] == []


async def test_entries_come_back_bit_by_bit_and_in_order(opened: Open) -> None:
    """Keys, results, tags, times and counts survive, whatever they hold."""
    entries = [
        make_entry(1),
        make_entry(2**63 - 1, tags=("ward 3", "ä€😀"), use_count=7, expires_at=9e9),
        make_entry(0, cost_s=0.0, created_at=0.5),
    ]
    journal = await opened()
    for entry in entries:
        journal.append(Inserted(FUNCTION, entry))
    model = await reopened(opened, journal)
    assert model.ids == [entry.id for entry in entries]
    assert all(same(model.entries[FUNCTION, entry.id], entry) for entry in entries)


async def test_thousands_of_entries_come_back_in_batches(opened: Open) -> None:
    """A replay is cut into batches and loses nothing between them."""
    journal = await opened()
    for i in range(5000):
        journal.append(Inserted(FUNCTION, make_entry(i)))
        if i % 500 == 0:
            await asyncio.sleep(0)
    await journal.flush()
    batches = [len(batch) async for batch in journal.replay()]
    assert sum(batches) == 5000
    assert len(batches) > 1


async def test_functions_do_not_mix(opened: Open) -> None:
    """The same id in two functions is two entries."""
    journal = await opened()
    journal.append(Inserted("a@1", make_entry(1)))
    journal.append(Inserted("b@1", make_entry(1)))
    journal.append(Invalidated("a@1", 2000.0, everything=True))
    model = await reopened(opened, journal)
    assert list(model.entries) == [("b@1", 1)]


@pytest.mark.parametrize(
    ("invalidated", "left"),
    [
        pytest.param(Invalidated(FUNCTION, 2000.0, ids=(1, 3)), [2, 9], id="ids"),
        pytest.param(Invalidated(FUNCTION, 2000.0, tag="x"), [3, 9], id="tag"),
        pytest.param(Invalidated(FUNCTION, 2000.0, everything=True), [9], id="everything"),
        pytest.param(Invalidated(FUNCTION, 2000.0, ids=(77,)), [1, 2, 3, 9], id="nothing it knows"),
        pytest.param(Invalidated("other@1", 2000.0, everything=True), [1, 2, 3, 9], id="another function"),
    ],
)
async def test_an_invalidation_takes_out_what_came_before_it(
    opened: Open, invalidated: Invalidated, left: list[int]
) -> None:
    """What it names is gone after a restart; what came later stays."""
    journal = await opened()
    journal.append(Inserted(FUNCTION, make_entry(1, tags=("x", "y"))))
    journal.append(Inserted(FUNCTION, make_entry(2, tags=("x",) if invalidated.tag else ())))
    journal.append(Inserted(FUNCTION, make_entry(3, tags=("y",))))
    journal.append(invalidated)
    journal.append(Inserted(FUNCTION, make_entry(9, tags=("x",), created_at=3000.0)))
    model = await reopened(opened, journal)
    assert sorted(model.ids) == left


async def test_only_the_newest_learned_state_counts(opened: Open) -> None:
    """Each key type of each function has one state; infinite bars survive."""
    journal = await opened()
    journal.append(Learned(FUNCTION, "cnn", {"bar": 1.0}))
    journal.append(Learned(FUNCTION, "gray", {"bar": float("inf"), "seen": [1, 2, {"x": None}]}))
    journal.append(Learned(FUNCTION, "cnn", {"bar": 2.5}))
    model = await reopened(opened, journal)
    assert model.learned == {
        (FUNCTION, "cnn"): {"bar": 2.5},
        (FUNCTION, "gray"): {"bar": float("inf"), "seen": [1, 2, {"x": None}]},
    }


async def test_what_is_appended_after_a_restart_joins_the_rest(opened: Open) -> None:
    """Order holds over restarts."""
    journal = await opened()
    journal.append(Inserted(FUNCTION, make_entry(5)))
    await journal.close()
    journal = await opened()
    journal.append(Invalidated(FUNCTION, 2000.0, ids=(5,)))
    journal.append(Inserted(FUNCTION, make_entry(6)))
    assert (await reopened(opened, journal)).ids == [6]


async def test_a_snapshot_and_a_replay_together_give_everything(opened: Open) -> None:
    """After a seal, blocks and the rest add up to the live entries, invalidations behind the seal included."""
    journal = await opened()
    entries = [make_entry(i, tags=("odd",) if i % 2 else ()) for i in range(10)]
    for entry in entries:
        journal.append(Inserted(FUNCTION, entry))
    await journal.seal([block_of(FUNCTION, entries)])
    journal.append(Invalidated(FUNCTION, 2000.0, tag="odd"))
    journal.append(Invalidated(FUNCTION, 2000.0, ids=(4,)))
    journal.append(Inserted(FUNCTION, make_entry(20, created_at=3000.0)))
    await journal.flush()
    await journal.close()
    again = await opened()
    model = Model()
    async for block in again.blocks():
        model.apply(Inserted(block.function, entry) for entry in entries_of(block))
    async for batch in again.replay():
        model.apply(batch)
    assert model.ids == [0, 2, 6, 8, 20]
    assert same(model.entries[FUNCTION, 6], entries[6])


async def test_the_counters_tell_what_happened(opened: Open) -> None:
    """Appended, written, dropped, pending, bytes and up are always there."""
    journal = await opened()
    before = journal.statistics()
    assert (before["appended"], before["up"]) == (0, 1)
    journal.append(Inserted(FUNCTION, make_entry(1)))
    await journal.flush()
    after = journal.statistics()
    assert (after["appended"], after["written"], after["dropped"], after["pending"]) == (1, 1, 0, 0)
    assert after["bytes"] > 0
    await journal.close()
    assert journal.statistics()["up"] == 0


async def test_closing_twice_or_before_starting_is_harmless(opened: Open) -> None:
    """A shutdown after a failed start closes what never opened."""
    journal = await opened()
    await journal.close()
    await journal.close()


async def test_a_record_that_cannot_be_written_is_refused_at_once(opened: Open) -> None:
    """An invalidation without a selector would do nothing; it is an error, not a record."""
    journal = await opened()
    with pytest.raises(JournalError, match="exactly one"):
        journal.append(Invalidated(FUNCTION, 1.0))
    await journal.flush()
    assert [batch async for batch in journal.replay()] == []


async def test_a_node_follows_what_others_append_and_not_itself(shared: Open) -> None:
    """Entries and invalidations arrive in order; one's own do not come back."""
    a, b = await shared("a"), await shared("b")
    seen_by_a, seen_by_b = Model(), Model()
    tasks = [asyncio.create_task(collect(a, seen_by_a)), asyncio.create_task(collect(b, seen_by_b))]
    try:
        for i in range(100):
            a.append(Inserted(FUNCTION, make_entry(i)))
        await until(lambda: len(seen_by_b.ids) == 100)
        b.append(Invalidated(FUNCTION, 2000.0, ids=(3,)))
        b.append(Inserted(FUNCTION, make_entry(200, created_at=3000.0)))
        await until(lambda: seen_by_a.ids == [200])
        a.append(Invalidated(FUNCTION, 4000.0, everything=True))
        await until(lambda: seen_by_b.ids == [])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_is_for_others_reaches_them(shared: Open) -> None:
    """Samples to learn from and functions registered at run time, with their files: those that follow and that join."""
    a, b = await shared("a"), await shared("b")
    assert a.shared
    samples = (Sample((1.0, 0.5), True, 0.25, 2.0), Sample((1.0, -0.5), False, 1.0, 2.0))
    observed = Observed(FUNCTION, "cnn", "m/1", "a/1", 3, samples)
    words = [Registered(FUNCTION, 10.0, "spec", {"model.onnx": bytes(range(256))}), Unregistered("other@2", 11.0)]
    seen = Model()
    task = asyncio.create_task(collect(b, seen))
    try:
        for record in (observed, *words):
            a.append(record)
        follower = asyncio.create_task(collect(a, Model()))
        await until(lambda: seen.observed == [observed] and len(seen.words) == 2)
        follower.cancel()
    finally:
        task.cancel()
        await asyncio.gather(task, follower, return_exceptions=True)
    assert seen.words == words
    await a.flush()
    late = await shared("late")
    model = await rebuild(late.replay())
    assert (model.observed, model.words) == ([observed], words)


async def test_what_is_for_others_is_not_kept_where_there_are_none(
    opened: Open, request: pytest.FixtureRequest
) -> None:
    """One file is one node's."""
    if request.node.callspec.params["opened"] != "sqlite":
        pytest.skip("this one is shared")
    journal = await opened()
    assert not journal.shared
    journal.append(Observed(FUNCTION, "cnn", "m/1", "a/1", 3, ()))
    journal.append(Registered(FUNCTION, 10.0, "spec", {}))
    journal.append(Unregistered(FUNCTION, 11.0))
    journal.append(Inserted(FUNCTION, make_entry(1)))
    model = await reopened(opened, journal)
    assert (model.ids, model.observed, model.words) == ([1], [], [])


async def test_nothing_falls_between_replay_and_follow(shared: Open) -> None:
    """What is appended while a node replays reaches it, once."""
    a = await shared("a")
    for i in range(50):
        a.append(Inserted(FUNCTION, make_entry(i)))
    await a.flush()
    b = await shared("b")
    seen: list[int] = []
    async for batch in b.replay():
        seen += [record.entry.id for record in batch if isinstance(record, Inserted)]
        a.append(Inserted(FUNCTION, make_entry(50 + len(seen))))
        await a.flush()
    late = 50 + len(seen)
    a.append(Inserted(FUNCTION, make_entry(1000)))

    async def follow() -> None:
        async for batch in b.follow():
            seen.extend(record.entry.id for record in batch if isinstance(record, Inserted))

    task = asyncio.create_task(follow())
    try:
        await until(lambda: 1000 in seen)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(seen) == len(set(seen))
    assert set(range(50)) | {late if late in seen else 100, 1000} <= set(seen)


async def test_following_a_journal_of_one_node_ends(opened: Open, request: pytest.FixtureRequest) -> None:
    """Where there are no others, there is nothing to wait for."""
    if request.node.callspec.params["opened"] != "sqlite":
        pytest.skip("this one is shared")
    journal = await opened()
    assert [batch async for batch in journal.follow()] == []
