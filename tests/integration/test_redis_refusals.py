"""A real Redis that answers and refuses: nodes go on, records wait within their bound, one line says what to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from journals import make_entry, until
from redis_nodes import Join, ask_redis, flushed
from redis_server import RedisServer

from likewise.errors import JournalError

pytestmark = pytest.mark.redis

Ask = Callable[..., Awaitable[None]]


async def _no_memory(ask: Ask) -> None:
    await ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await ask("CONFIG", "SET", "maxmemory", "1")


async def _memory(ask: Ask) -> None:
    await ask("CONFIG", "SET", "maxmemory", "0")


async def _password(ask: Ask) -> None:
    await ask("CONFIG", "SET", "requirepass", "secret")
    await ask("CLIENT", "KILL", "TYPE", "normal", password="secret")


async def _no_password(ask: Ask) -> None:
    await ask("CONFIG", "SET", "requirepass", "", password="secret")


async def _no_rights(ask: Ask) -> None:
    await ask("ACL", "SETUSER", "default", "-xadd")


async def _rights(ask: Ask) -> None:
    await ask("ACL", "SETUSER", "default", "+@all")


async def _replica(ask: Ask) -> None:
    await ask("REPLICAOF", "127.0.0.1", "1")


async def _lost_replica(ask: Ask) -> None:
    await ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    await _replica(ask)


async def _primary(ask: Ask) -> None:
    await ask("REPLICAOF", "NO", "ONE")


async def _missing_replicas(ask: Ask) -> None:
    await ask("CONFIG", "SET", "min-replicas-to-write", "1")


async def _enough_replicas(ask: Ask) -> None:
    await ask("CONFIG", "SET", "min-replicas-to-write", "0")


@pytest.mark.parametrize(
    ("refuse", "mend", "remedy"),
    [
        pytest.param(_no_memory, _memory, "raise its maxmemory", id="OOM"),
        pytest.param(_password, _no_password, "write redis://USER:PASSWORD@HOST", id="NOAUTH"),
        pytest.param(_no_rights, _rights, "allow it the commands", id="NOPERM"),
        pytest.param(_replica, _primary, "name the primary", id="READONLY"),
        pytest.param(_lost_replica, _primary, "lost its primary", id="MASTERDOWN"),
        pytest.param(_missing_replicas, _enough_replicas, "bring them back", id="NOREPLICAS"),
    ],
)
async def test_what_it_refuses_waits_and_is_told_once(
    join: Join,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    refuse: Callable[[Ask], Awaitable[None]],
    mend: Callable[[Ask], Awaitable[None]],
    remedy: str,
) -> None:
    """Appends go on, `flush` and the statistics say why not, and all is shared once Redis takes it."""

    async def ask(*command: str, password: str | None = None) -> None:
        await ask_redis(redis_server, *command, password=password)

    a, b = await join("a", buffer_records=100), await join("b")
    a.insert(make_entry(1))
    await flushed(a)
    await until(lambda: b.model.ids == [1])
    caplog.set_level(logging.WARNING)
    await refuse(ask)
    for i in range(2, 302):
        a.insert(make_entry(i))
    await until(lambda: remedy in a.journal.failure)
    with pytest.raises(JournalError):  # with what was refused last, which may be reading
        await a.journal.flush()
    await until(lambda: a.journal.statistics()["write_failures"] >= 6)
    statistics = a.journal.statistics()
    assert statistics["up"] == 0
    assert statistics["pending"] <= 100
    assert statistics["dropped"] >= 200
    await until(lambda: remedy in a.journal.failure)
    sender = [each.getMessage() for each in caplog.records if each.name.endswith("publisher")]
    assert sum(remedy in each for each in sender) <= 1
    assert len(sender) < 6  # fewer than failures: connections may break before they are refused
    await mend(ask)
    await flushed(a, 60.0)
    await until(lambda: {1, *range(202, 302)} <= set(b.model.ids))
    await until(lambda: a.journal.statistics()["up"] == 1)


async def test_one_that_loads_is_waited_for(join: Join, redis_server: RedisServer) -> None:
    """A restart with much data: it answers, and refuses everything, for a while."""
    node = await join("a")
    node.insert(make_entry(1))
    await flushed(node)
    await ask_redis(redis_server, "CONFIG", "SET", "rdbcompression", "no")
    for number in range(24):  # every 2 MB it looks after its clients
        await ask_redis(redis_server, "SET", f"other{number}", "x" * 2**20)
    await ask_redis(redis_server, "CONFIG", "SET", "key-load-delay", "100000")
    loads = asyncio.create_task(ask_redis(redis_server, "DEBUG", "RELOAD"))
    await until(lambda: "LOADING" in node.journal.failure)
    node.insert(make_entry(2))
    with pytest.raises(JournalError, match="wait until it has"):
        await node.journal.flush()
    await loads
    await flushed(node, 60.0)
    other = await join("b")
    await until(lambda: set(other.model.ids) == {1, 2})
