"""The journal over a real Redis Cluster, and what clusters refuse."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from journals import make_entry, rebuild, until
from redis import Redis
from redis.asyncio.cluster import RedisCluster
from redis_nodes import Join, ask_redis, flushed
from redis_server import RedisServer, find_redis, need_redis

from likewise.errors import JournalError
from likewise.records import Inserted, Invalidated

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Three masters on loopback."""
    need_redis()
    binary = find_redis()
    assert binary
    cli = Path(binary).with_name(Path(binary).name.replace("server", "cli"))
    if not cli.exists():
        pytest.skip("no redis-cli beside the redis-server")
    servers = []
    try:
        for i in range(3):
            folder = tmp_path_factory.mktemp(f"cluster{i}")
            servers.append(RedisServer(folder, "--cluster-enabled", "yes", "--cluster-node-timeout", "60000"))
        addresses = [f"127.0.0.1:{server.port}" for server in servers]
        made = subprocess.run(
            [str(cli), "--cluster", "create", *addresses, "--cluster-yes"], capture_output=True, text=True, timeout=600
        )
        assert made.returncode == 0, made.stdout + made.stderr
        deadline = time.monotonic() + 300
        for server in servers:
            ask = [str(cli), "-p", str(server.port), "cluster", "info"]
            while "cluster_state:ok" not in subprocess.run(ask, capture_output=True, text=True, timeout=10).stdout:
                assert time.monotonic() < deadline, "the cluster did not come up"
        yield f"redis+cluster://{addresses[0]}"
    finally:
        for server in servers:
            server.kill()


async def test_a_cluster_shares_functions_that_live_on_different_masters(join: Join, cluster_url: str) -> None:
    """Each function's keys are in one slot; a node follows all of them."""
    a = await join("a", url=cluster_url, timeout_s=2.0)
    b = await join("b", url=cluster_url, timeout_s=2.0)
    functions = [f"f{i}@1" for i in range(12)]
    for i in range(240):
        a.journal.append(Inserted(functions[i % 12], make_entry(i)))
    await a.journal.flush()
    await until(lambda: len(b.model.ids) == 240)
    assert await redirections(cluster_url) < 12  # each read goes to the master that has the stream
    b.journal.append(Invalidated(functions[0], 2000.0, everything=True))
    await b.journal.flush()
    fresh = await join("c", url=cluster_url, timeout_s=2.0)
    model = await rebuild(fresh.journal.replay())
    assert len(model.ids) == 220
    assert {function for function, _ in model.entries} == set(functions[1:])


async def redirections(cluster_url: str) -> int:
    """Return how often masters said that something is elsewhere."""
    client = RedisCluster.from_url(cluster_url.replace("redis+cluster", "redis"))
    try:
        infos = await client.info("errorstats", target_nodes=RedisCluster.ALL_NODES)
        return sum(info.get("errorstat_MOVED", {"count": 0})["count"] for info in infos.values())
    finally:
        await client.aclose()


async def test_a_plain_url_of_a_cluster_is_told_from_a_right_one(join: Join, cluster_url: str) -> None:
    """Its masters send elsewhere whoever asks for keys of others; the remedy is the other form of URL."""
    node = await join("a", url=cluster_url.replace("redis+cluster", "redis"))
    for i in range(12):
        node.journal.append(Inserted(f"f{i}@1", make_entry(i)))
    await until(lambda: "write redis+cluster://HOST:PORT" in node.journal.failure)
    assert node.journal.statistics()["up"] == 0
    with pytest.raises(JournalError, match=r"redis\+cluster"):
        await node.journal.flush()


async def test_slots_without_a_master_are_waited_for(join: Join, lone_master: RedisServer) -> None:
    """CLUSTERDOWN: records wait, and are shared once all slots are served again."""
    url = f"redis+cluster://127.0.0.1:{lone_master.port}"
    a, b = await join("a", url=url), await join("b", url=url)
    a.insert(make_entry(1))
    await flushed(a, 60.0)
    await until(lambda: b.model.ids == [1])
    slots = [str(slot) for slot in range(16_384)]
    await ask_redis(lone_master, "CLUSTER", "DELSLOTS", *slots[:9])
    a.insert(make_entry(2))
    await until(lambda: "CLUSTERDOWN" in a.journal.failure or "CLUSTER INFO" in a.journal.failure)
    assert a.journal.statistics()["pending"] >= 1
    await ask_redis(lone_master, "CLUSTER", "ADDSLOTS", *slots[:9])
    await flushed(a, 60.0)
    await until(lambda: b.model.ids == [1, 2])


@pytest.fixture
def lone_master(tmp_path: Path) -> Iterator[RedisServer]:
    """A cluster of one master that has all slots."""
    need_redis()
    server = RedisServer(tmp_path, "--cluster-enabled", "yes")
    try:
        with Redis(port=server.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
            deadline = time.monotonic() + 300
            while not re.search(r"cluster_state\W+ok", str(client.execute_command("CLUSTER", "INFO"))):
                assert time.monotonic() < deadline, "the cluster did not come up"
        yield server
    finally:
        server.kill()
