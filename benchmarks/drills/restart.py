"""Restart with a million entries: by replay of the journal, and from a snapshot."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson

from benchmarks.drills.nodes import Node, journaled, random_keys, write_functions
from benchmarks.judgement import Bar, Figure
from benchmarks.processes import Failed
from benchmarks.served import result
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.records import Inserted
from likewise.types import Entry, Result

REPLAY = Bar("restart/replay", "restart, 1,000,000 entries of 64 numbers, by replay: ready after", "s", "", 90, True)
SNAPSHOT = Bar("restart/snapshot", "the same from a snapshot: ready after", "s", "", 20, True)
FIRST = Bar("restart/first", "first lookup answered after the start of the process", "s", "", 2, True)
SLOWEST = Bar("restart/slowest", "slowest lookup while it loads", "s", "", 2, True)
BARS = (REPLAY, SNAPSHOT, FIRST, SLOWEST)


async def fill(path: Path, function: str, count: int) -> np.ndarray:
    """Write a journal with so many entries, as a server would have; return the first keys."""
    journal = SqliteJournal(path, buffer_records=200_000, buffer_bytes=2**30, max_bytes=8 * 2**30)
    await journal.start()
    bodies = [Result(orjson.dumps(result(label))) for label in range(500)]
    ids = np.random.default_rng(3).integers(1, 2**63 - 1, count).tolist()
    now, first = time.time(), np.zeros((0, 64), np.float32)
    for start in range(0, count, 10_000):
        keys = random_keys(min(10_000, count - start), start)
        first = first if len(first) else keys
        for i, key in enumerate(keys):
            made = Entry(ids[start + i], {"v": key}, bodies[i % 500], 0.1, now, now + 86_400)
            journal.append(Inserted(function, made))
        await journal.flush()
    await journal.close()
    return first


def drill(folder: Path, quick: bool = False, count: int | None = None) -> Iterator[Figure]:
    """Start a node over a full journal, end it in good order, and start it again."""
    count = count or (20_000 if quick else 1_000_000)
    functions = write_functions(folder / "functions", int(count * 1.1))
    node = Node(folder / "node", functions, "--journal", "sqlite", "--journal-bytes", "8GiB")
    (folder / "node" / "data").mkdir()
    keys = asyncio.run(fill(folder / "node" / "data" / "journal.sqlite", journaled(functions), count))
    try:
        replayed = _start(node, keys, count)
        sealed = node.end(signal.SIGTERM)
        loaded = _start(node, keys, count)
    finally:
        node.end(signal.SIGKILL)
    yield Figure(REPLAY, [replayed[0]], [1.0])
    yield Figure(SNAPSHOT, [loaded[0]], [1.0], note=f"SIGTERM, the snapshot included, took {sealed:.1f} s")
    yield Figure(FIRST, [max(replayed[1], loaded[1])], [1.0], note="the start of Python included")
    yield Figure(SLOWEST, [max(replayed[2], loaded[2])], [1.0])


def _start(node: Node, keys: np.ndarray, count: int) -> tuple[float, float, float]:
    node.start(ready=False)
    talk = node.talk()
    first, slowest, number = 0.0, 0.0, 0
    while True:
        began = time.monotonic()
        talk.look(keys[number % len(keys)])
        ended = time.monotonic()
        first = first or ended - node.started
        slowest = max(slowest, ended - began)
        number += 1
        if talk.send("GET", "/readyz")[0] == 200:
            break
        time.sleep(0.1)  # a scan of a million keys takes tens of milliseconds; more requests would be a load test
    ready = time.monotonic() - node.started
    if (here := talk.count()) != count:
        raise Failed(f"{here} of {count} entries came back")
    if any(talk.look(key) is None for key in keys[:100]):
        raise Failed("an entry that came back does not answer")
    return ready, first, slowest
