"""Redis killed under load: requests go on, and what was inserted meanwhile is shared after its return."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.drills.nodes import Node, entry, random_keys, redis, sharing, wait_until, write_functions
from benchmarks.drills.task import Task
from benchmarks.judgement import Bar, Figure

FAILED = Bar("outage/failed", "Redis killed under load: requests that failed", "requests", "", 0, at_most=True)
TAIL = Bar("outage/p99", "p99 of hits while it is away ÷ before", "ms", "before", 1.25, at_most=True)
SHARED = Bar("outage/shared", "after its return, all inserted meanwhile is on every node after", "s", "", 10, True)
BARS = (FAILED, TAIL, SHARED)
HITS_S = 200
INSERTS_S = 100
WINDOWS = 3
"""Long ones, since a percentile of few hits is noise."""


class _Load:
    """Hits and inserts on one node at a steady rate."""

    def __init__(self, node: Node, hot: np.ndarray, seed: int) -> None:
        self.hits: list[tuple[float, float]] = []
        """When each was due, and how long it took."""
        self.inserted: list[tuple[float, str]] = []
        self.failed: list[str] = []
        self.stop = threading.Event()
        self._node = node
        self._hot = hot
        self._keys = random_keys(60_000, seed)
        self._tasks = [Task(each) for each in (self._look, self._insert)]

    def _look(self) -> None:
        talk = self._node.talk()
        due, number = time.monotonic(), 0
        while not self.stop.is_set():
            due += 1 / HITS_S
            time.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            try:
                if talk.look(self._hot[number % len(self._hot)]) is None:
                    self.failed.append("a hit became a miss")
            except Exception as error:  # whatever it is, a request failed
                self.failed.append(repr(error))
            self.hits.append((began, time.monotonic() - began))
            due = max(due, time.monotonic() - 0.1)
            number += 1

    def _insert(self) -> None:
        talk = self._node.talk()
        due = time.monotonic()
        for key in self._keys:
            if self.stop.is_set():
                return
            due = max(due + 1 / INSERTS_S, time.monotonic() - 0.1)
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                self.inserted.append((time.monotonic(), talk.insert([entry(key, "a")])[0]))
            except Exception as error:  # whatever it is, a request failed
                self.failed.append(repr(error))

    def end(self) -> None:
        self.stop.set()
        for task in self._tasks:
            task.join()

    def p99s(self, start: float, end: float) -> list[float]:
        """Return the 99th percentile of hits in ms, of each of some windows of equal length."""
        edges = np.linspace(start, end, WINDOWS + 1)
        parts = [[took for at, took in self.hits if low <= at < high] for low, high in pairwise(edges)]
        return [1000 * float(np.percentile(part, 99)) for part in parts if part]


def drill(folder: Path, quick: bool = False, away_s: float | None = None) -> Iterator[Figure]:
    """Load two nodes, kill Redis for a while, start it again, and wait for the nodes to agree."""
    away_s = away_s or (2.0 if quick else 30.0)
    functions = write_functions(folder / "functions", 200_000)
    hot = random_keys(200, 3)
    with redis(folder / "redis") as server, ExitStack() as stack:
        nodes = [stack.enter_context(Node(folder / name, functions, *sharing(server))) for name in ("a", "b")]
        nodes[0].talk().insert([entry(key, "hot") for key in hot])
        wait_until(lambda: nodes[1].talk().count() == len(hot), 30, "sharing")
        loads = [_Load(node, hot, 11 + i) for i, node in enumerate(nodes)]
        began = time.monotonic()
        time.sleep(away_s + 1)
        killed = time.monotonic()
        server.kill()
        time.sleep(away_s)
        back = time.monotonic()
        server.start()
        meanwhile = {id for load in loads for at, id in list(load.inserted) if killed <= at < back}
        talks = [node.talk() for node in nodes]

        def agreed() -> bool:
            return all(meanwhile <= {each["id"] for each in talk.pages()} for talk in talks)

        waited = wait_until(agreed, 300, "sharing what was inserted meanwhile")
        for load in loads:
            load.end()
    failed = [each for load in loads for each in load.failed]
    yield Figure(FAILED, [len(failed)], [1.0], note=failed[0] if failed else "")
    yield Figure(
        TAIL, [p99 for load in loads for p99 in load.p99s(killed + 0.5, back)],
        [p99 for load in loads for p99 in load.p99s(began + 1, killed)],
    )  # fmt: skip
    yield Figure(SHARED, [waited], [1.0], note=f"{len(meanwhile)} entries, away for {away_s:g} s")
