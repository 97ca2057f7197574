"""A restart of a node that has many entries: the graph that searched before searches again, without being built."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from likewise.function.registry import Registry
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.lookup.bulk import hold, release
from likewise.lookup.namespace import Namespace
from likewise.records import EntryBlock, Inserted
from likewise.replication import Keeper
from likewise.types import Entry, Result

DIMENSION = 16
COUNT = 20_000
WAIT_S = 60


class Adopter:
    """Takes in what is loaded, as a function's does."""

    def __init__(self, space: Namespace) -> None:
        self.space = space

    def adopt_block(self, block: EntryBlock) -> int:
        from likewise.lookup.bulk import insert_block

        return insert_block(self.space, block, [b"{}"] * len(block), [0] * len(block))

    def adopt_many(self, entries: list[Entry]) -> int:
        for entry in entries:
            self.space.insert(entry, 0)
        return len(entries)


class Stub:
    """A function that has entries and nothing else."""

    def __init__(self, kind: str = "auto") -> None:
        self.name, self.version, self.id = "f", "1", "f@1"
        self.journal_id, self.retired = "f@1", False
        options = {"exact_limit": 1000} if kind == "auto" else {}
        self.namespace = Namespace("f@1", {"v": DIMENSION}, 50_000, 1 << 30, 60.0, lambda: 100.0, index_options=options)
        self.adopter = Adopter(self.namespace)
        self.policies: dict[str, Any] = {}
        self.projectors: dict[str, Any] = {}
        self.variants = None

    def tend(self) -> None: ...


def keys(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(1).normal(size=(200, DIMENSION))
    return (centers[rng.integers(0, 200, count)] + 0.3 * rng.normal(size=(count, DIMENSION))).astype(np.float32)


def entry(number: int, key: np.ndarray) -> Entry:
    return Entry(number, {"v": key}, Result(b"{}"), 0.1, 50.0, 1e12)


def node(path: Path) -> tuple[Keeper, Stub, dict[str, str]]:
    registry, fn, missing = Registry(), Stub(), {"journal": "not replayed yet"}
    registry.put(fn)  # type: ignore[arg-type]
    journal = SqliteJournal(path, clock=lambda: 100.0)
    return Keeper(registry, journal, missing, {}, seal_period_s=1e6), fn, missing


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.01)


def neighbors(fn: Stub) -> list[list[int]]:
    space = fn.namespace
    return [[space.entry_id(slot) for slot in space.lookup("v", query, 10).slots] for query in keys(200, 3)]


async def _first_life(path: Path) -> list[list[int]]:
    keeper, fn, missing = node(path)
    async with keeper.running():
        await until(lambda: "journal" not in missing)
        hold(fn.namespace)
        for number, key in enumerate(keys(COUNT, 2)):
            fn.namespace.insert(entry(number + 1, key), 0)
            keeper._journal.append(Inserted("f@1", entry(number + 1, key)))
        release(fn.namespace)
        fn.namespace.settle()
        assert fn.namespace.kinds() == {"v": "hnsw"}
        return neighbors(fn)


@pytest.mark.timeout(180)
def test_a_restart_answers_through_the_graph_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same neighbors as before, when it says that it is ready; a damaged file costs a build, not the start."""
    path = tmp_path / "journal.db"
    before = asyncio.run(_first_life(path))
    kept = path.with_name("journal.db.snapshot.indexes")
    assert kept.is_file()

    async def next_life() -> tuple[str, list[list[int]]]:
        keeper, fn, missing = node(path)
        async with keeper.running():
            await until(lambda: len(fn.namespace) == COUNT and "journal" not in missing)
            kind, found = fn.namespace.kinds()["v"], neighbors(fn)
            fn.namespace.close()
            return kind, found

    with monkeypatch.context() as patched, caplog.at_level(logging.INFO):
        patched.setattr("likewise.index.hnsw.HnswIndex.add", lambda *_: pytest.fail("keys are linked anew"))
        patched.setattr("likewise.index.hnsw.fill", lambda index, parts, cancelled: not list(parts))
        assert asyncio.run(next_life()) == ("hnsw", before)
    assert "1 indexes are used as they were kept" in caplog.text
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    kind, found = asyncio.run(next_life())
    assert kind in ("exact", "hnsw")
    shared = [len(set(a) & set(b)) for a, b in zip(found, before, strict=True)]
    assert np.mean(shared) > 9.5
    assert "cannot be used and are built anew" in caplog.text


WRITER = """
import asyncio, sys
from pathlib import Path
import numpy as np
from likewise.lookup.namespace import Namespace
from likewise.lookup.saved import save
from likewise.types import Entry, Result
options = {"background": False, "exact_limit": 0}
space = Namespace("f@1", {"v": 16}, 50_000, 1 << 30, 60.0, lambda: 100.0, index_options=options)
for number, key in enumerate(np.random.default_rng(0).normal(size=(5000, 16)).astype(np.float32)):
    space.insert(Entry(number + 1, {"v": key}, Result(b"{}"), 0.1, 50.0, 1e12), 0)
print("ready", flush=True)
while True:
    asyncio.run(save([space], Path(sys.argv[1]), "d"))
"""


def test_a_process_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    """Or none; what it had begun is overwritten by the next."""
    from likewise.index.saved import open_saved

    path = tmp_path / "indexes"
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=os.environ)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        stop = threading.Timer(WAIT_S, child.kill)
        stop.start()
        while child.poll() is None and not path.with_name("indexes.unfinished").exists():
            pass
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        stop.cancel()
        child.stdout.close()
        for saved in open_saved(path, "d"):
            assert sum(len(part) for part in saved.chunks("links", "<i4")) == saved.length("links")
            assert saved.length("ids") == 5000
