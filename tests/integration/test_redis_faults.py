"""A Redis that others use, too, or that is none: what stands in the way of one function keeps nothing else back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from journals import FUNCTION, make_entry, until
from redis_nodes import Join, ask_redis, flushed
from redis_server import RedisServer

from likewise.errors import JournalError
from likewise.journal.redis.journal import RedisJournal
from likewise.records import Inserted, Invalidated, Record, Registered
from likewise.types import Result

OTHER = "other@1"
PREFIX = "likewise"

TAKEN = {
    "stream": ("SET", f"{PREFIX}:{{{FUNCTION}}}:stream", "x"),
    "epoch": ("LPUSH", f"{PREFIX}:{{{FUNCTION}}}:epoch", "x"),
    "no text": ("SET", f"{PREFIX}:{{{FUNCTION}}}:epoch", b"\xff\xfe"),
    "names": ("SADD", f"{PREFIX}:functions", b"\xff\xfe", FUNCTION, "", "a" * 5000, "{}"),
    "registered": ("SET", f"{PREFIX}:{{registered}}", "x"),
    "registered names": ("SADD", f"{PREFIX}:{{registered}}", b"\xff", "mine"),
    "registered change": ("LPUSH", f"{PREFIX}:{{registered}}:mine", "x"),
    "learned": ("SET", f"{PREFIX}:{{{OTHER}}}:learned:a", "x"),
}


@pytest.mark.redis
@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("late", [False, True], ids=["before", "meanwhile"])
async def test_a_key_of_another_kind_keeps_back_nothing_else(
    join: Join, redis_server: RedisServer, taken: str, late: bool
) -> None:
    """Another function is shared, durably as well, whenever the key was taken and however much was appended."""
    command = TAKEN[taken]
    if not late:
        await ask_redis(redis_server, *command)
    a, b = await join("a", batch=50), await join("b", batch=50)
    if late:
        a.insert(make_entry(1))
        a.journal.append(Inserted(OTHER, make_entry(1)))
        await flushed(a)
        await until(lambda: b.model.ids == [1, 1])
        await ask_redis(redis_server, "DEL", str(command[1]))
        await ask_redis(redis_server, *command)
    for i in range(2, 152):
        a.insert(make_entry(i))
    a.journal.append(Registered("mine@1", 1.0, "[input]", {}))
    a.journal.append(Inserted(OTHER, make_entry(200)))
    await until(lambda: (OTHER, 200) in b.model.entries)
    await until(lambda: a.journal.statistics()["pending"] <= 1)  # what is registered waits
    a.journal.append(Inserted(OTHER, make_entry(201)))
    await flushed(a)
    await until(lambda: (OTHER, 201) in b.model.entries)


@pytest.mark.redis
@pytest.mark.parametrize("key", ["stream", "epoch"])
async def test_once_the_key_is_free_all_is_shared_again(join: Join, redis_server: RedisServer, key: str) -> None:
    """What was refused meanwhile as well, and what was invalidated stays out; until then nodes say what is wrong."""
    command = TAKEN[key]
    a, b = await join("a"), await join("b")
    await until(lambda: a.journal.statistics()["up"] == 1)
    await ask_redis(redis_server, *command)
    for i in range(1, 41):
        a.insert(make_entry(i))
    a.invalidate(ids=(7,))
    await until(lambda: "See that the keys of the journal are its alone" in a.journal.failure)
    await until(lambda: "See that the keys of the journal are its alone" in b.journal.failure)
    await ask_redis(redis_server, "DEL", str(command[1]))
    await until(lambda: set(b.model.ids) == set(range(1, 41)) - {7})
    await until(lambda: a.journal.statistics()["up"] == 1 == b.journal.statistics()["up"])


@pytest.mark.redis
async def test_large_records_are_read_a_few_at_a_time(
    join: Join, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand entries of megabytes each are not asked for at once."""
    a = await join("a")
    body = b'"' + b"x" * 2_000_000 + b'"'
    for i in range(40):
        a.insert(replace(make_entry(i), result=Result(body)))
        await flushed(a, 60.0)
    largest = 0
    link = RedisJournal.__init__.__globals__["RedisLink"]
    ask, read = link.ask, link.read

    def weigh(entries: object) -> None:
        nonlocal largest
        if isinstance(entries, list):
            sizes = [len(fields[b"r"]) for _, fields in entries if isinstance(fields, dict)]
            largest = max(largest, sum(sizes))

    async def asking(self: object, *command: object) -> object:
        answer = await ask(self, *command)
        if command[0] == "XRANGE":
            weigh(answer)
        return answer

    async def reading(self: object, *given: object) -> object:
        found = await read(self, *given)
        for entries in found.values():
            weigh(entries)
        return found

    monkeypatch.setattr(link, "ask", asking)
    monkeypatch.setattr(link, "read", reading)
    b = await join("b")
    await until(lambda: len(b.model.ids) == 40)
    assert largest < 33 * 2_000_300


class Nonsense:
    """A server that answers each command with a random value of the protocol, or with what is none."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.answers = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (line := await reader.readline()).startswith(b"*"):
                for _ in range(int(line[1:])):
                    length = int((await reader.readline())[1:])
                    await reader.readexactly(length + 2)
                writer.write(self.value(3))
                self.answers += 1
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()

    def value(self, depth: int) -> bytes:
        draw = self._random.randrange(12)
        if draw < 4 and depth:
            inner = [self.value(depth - 1) for _ in range(self._random.randrange(4))]
            return b"*%d\r\n" % len(inner) + b"".join(inner)
        return [
            b":-1\r\n", b":7\r\n", b"$-1\r\n", b"*-1\r\n", b"+OK\r\n", b"$2\r\n\xff\xfe\r\n", b"$3\r\n1-1\r\n",
            b"-MOVED 1 127.0.0.1:1\r\n", b"-WRONGTYPE no\r\n", b"-ERR \xff\r\n", b"?\r\n", b"$99999999999999\r\n",
        ][draw]  # fmt: skip


@pytest.fixture
async def nonsense() -> AsyncIterator[tuple[Nonsense, str]]:
    """Such a server and where it is."""
    answering = Nonsense(5)
    server = await asyncio.start_server(answering, "127.0.0.1", 0)
    async with server:
        yield answering, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


async def test_a_server_that_answers_nonsense_ends_nothing(nonsense: tuple[Nonsense, str]) -> None:
    """The node goes on alone, and tries again; nothing but a JournalError comes of it."""
    answering, url = nonsense
    journal = RedisJournal(
        url, node="a", retry_s=(0.001, 0.002), block_s=0.01, timeout_s=0.05, close_timeout_s=0.1, flush_timeout_s=0.2
    )
    await journal.start()
    journal.expect(FUNCTION)

    async def follow() -> None:
        async for _ in journal.follow():
            pass

    following = asyncio.create_task(follow())
    try:
        for turn in range(100):
            journal.append(Inserted(FUNCTION, make_entry(turn)))
            journal.append(Invalidated(FUNCTION, 1.0, ids=(turn,)))
            before = answering.answers
            await until(lambda before=before: answering.answers > before + 2)
            try:
                async for _ in journal.replay():
                    pass
            except JournalError:
                pass
            assert not following.done(), following
            assert journal._task is not None
            assert not journal._task.done(), journal._task
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await journal.close()


@pytest.mark.redis
@pytest.mark.parametrize("learned", [{b"dct": 254}, {b"dct": None}, [], 7, None], ids=str)
async def test_what_was_learned_is_no_hash_of_frames(
    join: Join, monkeypatch: pytest.MonkeyPatch, learned: object
) -> None:
    """A replay says so, after all that can be read, rather than end the node."""
    a = await join("a")
    a.insert(make_entry(1))
    await flushed(a)
    link = RedisJournal.__init__.__globals__["RedisLink"]
    ask = link.ask

    async def asking(self: object, *command: object) -> object:
        return learned if command[0] == "HGETALL" else await ask(self, *command)

    monkeypatch.setattr(link, "ask", asking)
    replayed: list[Record] = []
    with pytest.raises(JournalError, match="answers what it should not"):
        async for records in a.journal.replay():
            replayed += records
    assert len(replayed) == 1
