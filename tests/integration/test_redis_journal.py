"""The journal over a real Redis that is killed, paused, emptied, full, trimmed, and split into a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from journals import FUNCTION, make_entry, rebuild, until
from redis_nodes import Join, ask_redis, flushed
from redis_server import RedisServer, need_redis

from likewise.errors import JournalError
from likewise.journal.redis.journal import RedisJournal
from likewise.records import Inserted, Learned, Registered, Unregistered

pytestmark = pytest.mark.redis


async def test_inserts_of_two_nodes_meet_in_both(join: Join) -> None:
    """What each inserts, the other adopts."""
    a, b = await join("a"), await join("b")
    for i in range(200):
        a.insert(make_entry(i))
        b.insert(make_entry(1000 + i))
    await until(lambda: len(a.model.ids) == len(b.model.ids) == 400)
    assert set(a.model.ids) == set(b.model.ids)


@pytest.mark.parametrize("when", ["before following", "while following"])
async def test_the_first_entry_of_an_expected_function_does_not_wait_for_the_next_look(join: Join, when: str) -> None:
    """A node looks for streams that it does not know now and then; those of functions that it serves it follows."""
    a, b = await join("a", block_s=60.0), await join("b", block_s=60.0, timeout_s=2.0)
    if when == "while following":
        a.insert(make_entry(1))  # nobody expects this one: it is found when somebody looks
        await a.journal.flush()
        b.journal.expect(FUNCTION)
        await until(lambda: b.model.ids == [1], 5)
    b.journal.expect("new@1")
    a.journal.append(Inserted("new@1", make_entry(7)))
    await until(lambda: 7 in b.model.ids, 5)


async def test_a_function_expected_again_is_read_from_its_start(join: Join) -> None:
    """Its own entries included: who serves it anew begins with none. Invalidated ones stay out."""
    a, b = await join("a"), await join("b")
    for node, first in ((a, 0), (b, 10)):
        for i in range(5):
            node.insert(make_entry(first + i))
    a.invalidate(ids=(3,))
    await until(lambda: len(a.model.ids) == len(b.model.ids) == 9)
    b.model.entries.clear()
    b.journal.expect(FUNCTION)
    await until(lambda: set(b.model.ids) == {0, 1, 2, 4, *range(10, 15)})
    a.insert(make_entry(20))
    await until(lambda: 20 in b.model.ids)


async def test_of_two_words_on_a_function_the_newer_stays(join: Join) -> None:
    """Whichever reaches Redis first; who was behind is told, and a broken one is left alone and counted."""
    a, b = await join("a", block_s=0.2), await join("b", block_s=0.2)
    new, old = Registered("f@2", 20.0, "new", {"m": b"22"}), Registered("f@1", 10.0, "old", {"m": b"1"})
    b.journal.append(new)
    a.journal.append(old)
    await until(lambda: a.words[-1:] == [new])
    assert b.words in ([], [old])  # the old one may have been there first
    a.journal.append(Unregistered("f@2", 30.0))
    await until(lambda: b.words[-1:] == [Unregistered("f@2", 30.0)])
    late = await join("late")
    await until(lambda: late.words == [Unregistered("f@2", 30.0)])
    await a.journal._link.ask("HSET", "likewise:{registered}:g", "at", "1.0", "frame", b"garbage")
    await a.journal._link.ask("SADD", "likewise:{registered}", "g")
    await until(lambda: all(node.journal.statistics()["corrupt"] == 1 for node in (a, b, late)))
    assert a.journal.statistics()["up"] == 1


async def test_records_wait_while_redis_is_killed_and_are_shared_after_its_return(
    join: Join, redis_server: RedisServer
) -> None:
    """Appending goes on without Redis, flushing says why it cannot, and all arrives once Redis is back."""
    a, b = await join("a"), await join("b")
    a.insert(make_entry(1))
    await until(lambda: b.model.ids == [1])
    redis_server.kill()
    for i in range(2, 50):
        a.insert(make_entry(i))
        b.insert(make_entry(100 + i))
    a.invalidate(ids=(1,))
    with pytest.raises(JournalError, match="Redis"):
        await a.journal.flush()
    assert a.journal.statistics()["up"] == 0
    assert a.journal.failure
    redis_server.start()
    expected = {*range(2, 50), *range(102, 150)}
    await until(lambda: set(a.model.ids) == set(b.model.ids) == expected)
    await a.journal.flush()
    await until(lambda: a.journal.statistics()["up"] == b.journal.statistics()["up"] == 1)
    assert a.journal.statistics()["dropped"] == 0


async def test_a_node_may_start_before_redis(join: Join, redis_server: RedisServer) -> None:
    """Without Redis a replay fails with a reason; following then begins with everything once it is there."""
    first = await join("first")
    for i in range(20):
        first.insert(make_entry(i))
    await first.journal.flush()
    redis_server.kill()
    late = await join("late")
    with pytest.raises(JournalError, match="Redis"):
        await rebuild(late.journal.replay())
    redis_server.start()
    await until(lambda: len(late.model.ids) == 20)


async def test_a_redis_that_hangs_never_blocks_an_append(join: Join, redis_server: RedisServer) -> None:
    """A paused server costs sharing alone; the event loop runs on, and the node catches up afterwards."""
    a, b = await join("a"), await join("b")
    a.insert(make_entry(0))
    await until(lambda: b.model.ids == [0])
    redis_server.pause()
    ticks = 0
    for i in range(1, 300):
        a.insert(make_entry(i))
        await asyncio.sleep(0)
        ticks += 1
    await until(lambda: a.journal.statistics()["up"] == 0)
    redis_server.resume()
    await until(lambda: set(b.model.ids) == set(range(300)))
    assert ticks == 299


async def test_a_full_buffer_drops_the_oldest_entries_and_never_an_invalidation(
    join: Join, redis_server: RedisServer
) -> None:
    """While Redis is away the buffer is bounded, and what it drops is counted."""
    a, b = await join("a", buffer_records=10), await join("b")
    a.insert(make_entry(0))
    await until(lambda: b.model.ids == [0])
    redis_server.kill()
    a.invalidate(ids=(0,))
    for i in range(1, 101):
        a.insert(make_entry(i))
        await asyncio.sleep(0)
    redis_server.start()
    await until(lambda: 100 in b.model.ids)
    await a.journal.flush()
    assert 0 not in b.model.ids
    dropped = a.journal.statistics()["dropped"]
    assert dropped > 0
    assert len(b.model.ids) >= 10
    assert len(b.model.ids) + dropped == 100


async def test_redis_restarted_empty_is_filled_again_from_the_nodes(join: Join, redis_server: RedisServer) -> None:
    """Every live entry is shared again, and no invalidated one comes back."""
    a, b = await join("a"), await join("b")
    for i in range(300):
        (a if i % 2 else b).insert(make_entry(i, tags=("x",) if i % 3 == 0 else ()))
    await until(lambda: len(a.model.ids) == len(b.model.ids) == 300)
    a.invalidate(ids=(1, 2))
    b.invalidate(tag="x", at=1500.0)
    live = {i for i in range(300) if i not in (1, 2) and i % 3}
    await until(lambda: set(a.model.ids) == set(b.model.ids) == live)
    redis_server.kill()
    for file in redis_server.folder.rglob("*.aof*"):
        file.unlink()
    a.insert(make_entry(500))
    redis_server.start()
    await until(lambda: a.journal.statistics()["resynchronized"] + b.journal.statistics()["resynchronized"] == 2)
    c = await join("c")
    await until(lambda: set(c.model.ids) == {*live, 500})
    assert set(a.model.ids) == {*live, 500}
    b.insert(make_entry(600, tags=("x",), created_at=2000.0))
    await until(lambda: 600 in a.model.ids and 600 in c.model.ids)
    await until(lambda: set(b.model.ids) == {*live, 500, 600})


async def test_a_flush_of_all_keys_is_noticed_without_a_reconnection(join: Join, redis_server: RedisServer) -> None:
    """An emptied Redis that never went away is filled again too."""
    a, b = await join("a"), await join("b")
    for i in range(50):
        a.insert(make_entry(i))
    await until(lambda: len(b.model.ids) == 50)
    await a.journal._link.ask("FLUSHALL")
    await until(lambda: a.journal.statistics()["republished"] + b.journal.statistics()["republished"] >= 50)
    c = await join("c")
    await until(lambda: set(c.model.ids) == set(range(50)))


async def test_a_node_left_behind_by_a_trimmed_stream_starts_over(join: Join, redis_server: RedisServer) -> None:
    """It may have missed an invalidation, so it drops what it has, reads anew, and keeps what it has not sent."""
    a = await join("a", stream_entries=50, batch=100)
    proxy = await Proxy(redis_server.port).start()
    b = await join("b", url=f"redis://127.0.0.1:{proxy.port}/0", stream_entries=50, batch=100)
    try:
        a.insert(make_entry(1))
        await until(lambda: b.model.ids == [1])
        await proxy.cut()
        b.insert(make_entry(7000))
        a.invalidate(ids=(1,))
        for i in range(1000, 2000):
            a.insert(make_entry(i))
            if i % 20 == 19:  # so that it is b alone, and not a busy a, that the stream leaves behind
                await a.journal.flush()
        await proxy.mend()
        await until(lambda: 1999 in b.model.ids and 7000 in b.model.ids)
        await until(lambda: 7000 in a.model.ids)
    finally:
        await proxy.cut()
    assert b.journal.statistics()["resynchronized"] == 1
    assert 1 not in b.model.ids
    assert 1000 not in b.model.ids


async def test_a_redis_without_memory_left_is_waited_for(join: Join, redis_server: RedisServer) -> None:
    """Records that Redis refuses for want of memory are sent when it has some."""
    a, b = await join("a"), await join("b")
    a.insert(make_entry(1))
    await until(lambda: b.model.ids == [1])
    await a.journal._link.ask("CONFIG", "SET", "maxmemory", 1)
    for i in range(2, 30):
        a.insert(make_entry(i))
    with pytest.raises(JournalError, match=r"OOM|memory"):
        await a.journal.flush()
    assert b.journal.statistics()["up"] == 1
    await a.journal._link.ask("CONFIG", "SET", "maxmemory", 0)
    await until(lambda: set(b.model.ids) == set(range(1, 30)))


async def test_an_entry_that_arrives_after_its_invalidation_stays_out(join: Join) -> None:
    """A partitioned node's late insert is refused where it was created before what took its kind out."""
    a, b, c = await join("a"), await join("b"), await join("c")
    a.insert(make_entry(1))
    await until(lambda: b.model.ids == c.model.ids == [1])
    a.invalidate(tag="x", at=1500.0)
    a.invalidate(ids=(5,), at=1500.0)
    await a.journal.flush()
    b.journal.append(Inserted(FUNCTION, make_entry(4, tags=("x",), created_at=1400.0)))
    b.journal.append(Inserted(FUNCTION, make_entry(5, created_at=1600.0)))
    b.insert(make_entry(6, tags=("x",), created_at=1600.0))
    await until(lambda: c.model.ids == a.model.ids == [1, 6])
    assert c.journal.statistics()["refused"] == 2


async def test_garbage_in_a_stream_is_skipped_and_counted(join: Join) -> None:
    """What is no record does not stop those behind it."""
    a, b = await join("a"), await join("b")
    a.insert(make_entry(1))
    await until(lambda: b.model.ids == [1])
    key = f"likewise:{{{FUNCTION}}}:stream"
    await a.journal._link.ask("XADD", key, "*", "n", "x", "r", b"LJ\x01\x01garbage")
    await a.journal._link.ask("XADD", key, "*", "other", "fields")
    a.insert(make_entry(2))
    await until(lambda: b.model.ids == [1, 2])
    assert b.journal.statistics()["corrupt"] == 2


async def test_what_a_node_learned_is_its_own(join: Join) -> None:
    """A restarted node finds its state again, and not another's."""
    a, b = await join("a"), await join("b")
    a.journal.append(Learned(FUNCTION, "cnn", {"bar": 1.0}))
    b.journal.append(Learned(FUNCTION, "cnn", {"bar": 2.0}))
    await a.journal.flush()
    await b.journal.flush()
    await a.end()
    again = await join("a")
    assert (await rebuild(again.journal.replay())).learned == {(FUNCTION, "cnn"): {"bar": 1.0}}


async def test_no_node_serves_an_entry_after_it_confirmed_its_invalidation(join: Join) -> None:
    """Under random interleavings of three nodes, what a node took out never comes back to it, and all end alike."""
    rng = random.Random(7)
    nodes = [await join(name) for name in "abc"]
    gone: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    for step in range(600):
        i = rng.randrange(3)
        node = nodes[i]
        if rng.random() < 0.7 or not node.model.ids:
            node.insert(make_entry(step))
        else:
            victim = rng.choice(node.model.ids)
            node.invalidate(ids=(victim,), at=1000.0 + step)
            gone[i].add(victim)
        if rng.random() < 0.3:
            await asyncio.sleep(0.001)
        for j, other in enumerate(nodes):
            assert not gone[j] & set(other.model.ids)
    for node in nodes:
        await node.journal.flush()
    everything = set().union(*gone.values())
    await until(lambda: len({frozenset(node.model.ids) for node in nodes}) == 1)
    assert not everything & set(nodes[0].model.ids)
    fresh = await join("d")
    await until(lambda: set(fresh.model.ids) == set(nodes[0].model.ids))


async def test_a_useless_url_is_refused_without_its_password() -> None:
    """The reason names the remedy and keeps the secret."""
    with pytest.raises(JournalError, match="redis://HOST:PORT") as caught:
        RedisJournal("http://user:secret@host", node="a")
    assert "secret" not in caught.value.detail


class Proxy:
    """A relay in front of Redis that can be cut, to partition one node from it."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def mend(self) -> None:
        await self.start()

    async def cut(self) -> None:
        assert self._server
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()


class Relay:
    """A port of its own in front of servers, as a name is: new connections go to whichever it is told."""

    def __init__(self) -> None:
        self.target = 0
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self.silent = False

    async def start(self, target: int) -> None:
        self.target = target
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers += (writer, back)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pipe(source, sink))
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if not self.silent:
                    sink.write(data)
        with contextlib.suppress(OSError):
            sink.close()

    async def close(self) -> None:
        assert self._server
        self._server.close()
        for task in list(self._pipes):
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.fixture
def second_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Another redis-server."""
    need_redis()
    folder = tmp_path / "second"
    folder.mkdir()
    server = RedisServer(folder)
    yield server
    server.kill()


@pytest.fixture
async def relay(redis_server: RedisServer) -> AsyncIterator[Relay]:
    """A relay that leads to the first server."""
    made = Relay()
    await made.start(redis_server.port)
    yield made
    await made.close()


async def test_a_failover_that_leaves_the_old_primary_as_a_replica_is_followed(
    join: Join, relay: Relay, redis_server: RedisServer, second_redis: RedisServer
) -> None:
    """The kept connections answer READONLY for ever; new ones lead to the new primary, and durable inserts go on."""
    await ask_redis(second_redis, "REPLICAOF", "127.0.0.1", str(redis_server.port))
    node = await join("a", f"redis://127.0.0.1:{relay.port}/0")
    node.insert(make_entry(1))
    await flushed(node)
    await until(lambda: node.journal.statistics()["up"] == 1)
    relay.target = second_redis.port
    await ask_redis(second_redis, "REPLICAOF", "NO", "ONE")
    await ask_redis(redis_server, "REPLICAOF", "127.0.0.1", str(second_redis.port))
    node.insert(make_entry(2))
    await flushed(node)
    other = await join("b", second_redis.url)
    await until(lambda: 2 in other.model.ids)
    other.insert(make_entry(3))
    await until(lambda: 3 in node.model.ids)


async def test_a_password_that_is_set_meanwhile_is_used_once_it_is_known(join: Join, redis_server: RedisServer) -> None:
    """A server whose rights change refuses kept connections; with the right password new ones are taken."""
    node = await join("a", f"redis://default:secret@127.0.0.1:{redis_server.port}/0")
    await ask_redis(redis_server, "CONFIG", "SET", "requirepass", "secret")
    node.insert(make_entry(1))
    await flushed(node)


async def test_a_connection_into_the_void_is_given_up(join: Join, relay: Relay, redis_server: RedisServer) -> None:
    """Nothing comes back on a half-open connection; after the time-out another is opened."""
    node = await join("a", f"redis://127.0.0.1:{relay.port}/0")
    node.insert(make_entry(1))
    await flushed(node)
    relay.silent = True
    node.insert(make_entry(2))
    with pytest.raises(JournalError):
        await node.journal.flush()
    relay.silent = False
    await flushed(node)
    other = await join("b")
    await until(lambda: set(other.model.ids) == {1, 2})
