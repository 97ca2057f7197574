"""Sharing over Redis: how soon a result is a hit on another node, how fast a node adopts; the same over a cluster."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from benchmarks.drills.nodes import (
    FUNCTION,
    Node,
    cluster,
    entry,
    journaled,
    random_keys,
    redis,
    sharing,
    wait_until,
    write_functions,
)
from benchmarks.drills.task import Task
from benchmarks.judgement import Bar, Figure
from benchmarks.processes import Failed, cpu_s
from likewise.journal.redis.journal import RedisJournal
from likewise.records import Inserted
from likewise.types import Entry, Result

LATENCY = Bar("sharing/latency", "1,000 inserts/s: a hit on another node within, p99", "ms", "", 50, at_most=True)
ADOPTION = Bar("sharing/adoption", "entries adopted per second of one core", "/s", "", 10_000)
CLUSTER = Bar("sharing/cluster", "Redis Cluster of 3 masters: share of entries on both nodes", "", "", 1.0)
BARS = (LATENCY, ADOPTION, CLUSTER)
RATE = 1000
AT_ONCE = 10


def drill(folder: Path, quick: bool = False, seconds: float | None = None) -> Iterator[Figure]:
    """Insert on one node and look on the other; publish faster than it can be adopted; share over a cluster."""
    functions = write_functions(folder / "functions", 1_000_000)
    with redis(folder / "redis") as server, ExitStack() as stack:
        options = (*sharing(server), "--stream-entries", "1000000")
        a, b = [stack.enter_context(Node(folder / name, functions, *options)) for name in ("a", "b")]
        waits, rate = latency(a, b, seconds or (1.0 if quick else 15.0))
        said = f"median {np.median(waits):.1f} ms, {len(waits)} looked for, {rate:.0f} inserts/s"
        yield Figure(LATENCY, [float(np.percentile(waits, 99))], [1.0], note=said)
    with redis(folder / "redis2") as server, Node(folder / "c", functions, *sharing(server)) as node:
        count = 2_000 if quick else 100_000
        adopted, wall = adoption(server.url, node, journaled(functions), count)
        yield Figure(
            ADOPTION, [adopted], [1.0], note=f"{count} entries; {wall:.0f}/s with publisher and Redis beside it"
        )
    shared = over_cluster(folder / "cluster", 20 if quick else 200)
    yield Figure(CLUSTER, [shared], [1.0])


def latency(a: Node, b: Node, seconds: float) -> tuple[list[float], float]:
    """Insert 1,000 entries a second on one node; return after how many ms a sample was a hit on the other."""
    count = int(RATE * seconds)
    keys = random_keys(count, 7)
    sent: list[tuple[float, np.ndarray]] = []
    ended = threading.Event()
    done: list[float] = []

    def insert() -> None:
        talk = a.talk()
        began = time.monotonic()
        for start in range(0, count, AT_ONCE):
            time.sleep(max(0.0, began + start / RATE - time.monotonic()))
            talk.insert([entry(key, "a") for key in keys[start : start + AT_ONCE]])
            sent.append((time.monotonic(), keys[start]))
        done.append(count / (time.monotonic() - began))
        ended.set()

    talk = b.talk()
    a.talk().insert([entry(first := random_keys(1, 8)[0], "a")])
    wait_until(lambda: talk.look(first) is not None, 300, "finding the function's stream")
    task = Task(insert)
    waits: list[float] = []
    while not ended.is_set() or not waits:
        task.check()
        if not sent:
            time.sleep(0.001)
            continue
        at, key = sent[-1]
        sent.clear()
        while talk.look(key) is None:
            if time.monotonic() - at > 300:
                raise Failed("an entry was not shared within 300 s")
            time.sleep(0.001)
        waits.append(1000 * (time.monotonic() - at))
    task.join()
    return waits, done[0]


def adoption(url: str, node: Node, function: str, count: int, there: int = 0) -> tuple[float, float]:
    """Publish entries as fast as that goes; return how many a node adopts per CPU second of its own, and per second."""

    async def publish() -> None:
        journal = RedisJournal(
            url, node="publisher", stream_entries=10 * count, buffer_records=count, flush_timeout_s=60
        )
        await journal.start()
        now = time.time()
        for start in range(0, count, 1000):
            for i, key in enumerate(random_keys(min(1000, count - start), start)):
                result = Result(b'{"label":"%d"}' % (i % 50))
                journal.append(Inserted(function, Entry(start + i + 1, {"v": key}, result, 0.1, now, now + 3000)))
            await journal.flush()
        await journal.close()

    talk = node.talk()
    spent, began = cpu_s(node.pid), time.monotonic()
    task = Task(lambda: asyncio.run(publish()))
    wait_until(lambda: time.sleep(0.1) or task.check() or talk.count() >= there + count, 300, "adopting all")
    wall = time.monotonic() - began
    task.join()
    return count / max(cpu_s(node.pid) - spent, 0.01), count / wall


def over_cluster(folder: Path, count: int) -> float:
    """Insert into functions that live on different masters, on both nodes; return the share that is on both."""
    names = [f"{FUNCTION}{number}" for number in range(6)]
    functions = write_functions(folder / "functions", 10_000, names)
    with cluster(folder) as url, ExitStack() as stack:
        talks = [
            stack.enter_context(Node(folder / name, functions, *sharing(url))).talk() for name in ("left", "right")
        ]
        for number, name in enumerate(names):
            for i, talk in enumerate(talks):
                talk.insert([entry(key, "a") for key in random_keys(count, 10 * number + i)], function=name)
        with suppress(Failed):  # then the share says how far it got
            wait_until(
                lambda: all(talk.count(name) == 2 * count for talk in talks for name in names), 300, "sharing all"
            )
        return sum(talk.count(name) for talk in talks for name in names) / (4 * count * len(names))
