"""Invalidations against inserts on three nodes: none is overtaken."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.drills.nodes import (
    FUNCTION,
    Node,
    Talk,
    entry,
    random_keys,
    redis,
    sharing,
    wait_until,
    write_functions,
)
from benchmarks.drills.task import Task
from benchmarks.judgement import Bar, Figure

OVERTAKEN = Bar("invalidation", "entries served by a node that confirmed their invalidation", "entries", "", 0, True)
LEFT = Bar("invalidation/left", "the same on any node, once all is quiet", "entries", "", 0, True)
BARS = (OVERTAKEN, LEFT)
TAGS = ("x", "y", "z")


class _Inserts:
    """Inserts on all nodes in turn, and remembers what was acknowledged."""

    def __init__(self, nodes: list[Node], seed: int) -> None:
        self.lock = threading.Lock()
        self.live: dict[str, tuple[np.ndarray, str]] = {}
        self._nodes = nodes
        self._seed = seed
        self._stop = threading.Event()
        self.task = Task(self._run)

    def _run(self) -> None:
        rng = random.Random(self._seed)
        talks = [node.talk() for node in self._nodes]
        for key in random_keys(100_000, self._seed):
            if self._stop.is_set():
                return
            tag = rng.choice(TAGS)
            (id,) = rng.choice(talks).insert([entry(key, "a", tags=[tag])])
            with self.lock:
                self.live[id] = (key, tag)

    def end(self) -> None:
        self._stop.set()
        self.task.join()


def drill(folder: Path, quick: bool = False, rounds: int | None = None, seed: int = 1) -> Iterator[Figure]:
    """Invalidate on one node what was just inserted on others, and look on that node whether it comes back."""
    rounds = rounds or (10 if quick else 300)
    rng = random.Random(seed)
    functions = write_functions(folder / "functions", 100_000)
    gone: dict[str, np.ndarray] = {}
    overtaken: set[str] = set()
    with redis(folder / "redis") as server, ExitStack() as stack:
        nodes = [stack.enter_context(Node(folder / f"n{i}", functions, *sharing(server))) for i in range(3)]
        talks = [node.talk() for node in nodes]
        inserts = [_Inserts(nodes, 100 * seed + i) for i in range(2)]
        for _ in range(rounds):
            wait_until(lambda: all(each.task.check() or each.live for each in inserts), 300, "inserting")
            time.sleep(rng.uniform(0.0, 0.05))
            victims = _invalidate(rng, inserts, rng.choice(talks), overtaken)
            gone |= victims
        for each in inserts:
            each.end()
        # A last record on each node: once all have it, they have all that came before it.
        # Not at once, because for some seconds after an invalidation a node keeps out what peers made (their clocks
        # may differ).
        for i, talk in enumerate(talks):
            keys = iter(random_keys(1000, 10**6 + i))
            wait_until(lambda talk=talk, keys=keys: _arrives(talk, next(keys), talks), 300, "sharing a last entry")
        left = {id for talk in talks for id in gone.keys() & {each["id"] for each in talk.pages()}}
    said = f"{rounds} invalidations, {len(gone)} entries taken out, on 3 nodes"
    yield Figure(OVERTAKEN, [len(overtaken)], [1.0], note=said)
    yield Figure(LEFT, [len(left)], [1.0])


def _arrives(talk: Talk, key: np.ndarray, talks: list[Talk]) -> bool:
    talk.insert([entry(key, "last")], durable=True)
    time.sleep(0.2)
    return all(other.look(key) is not None for other in talks)


def _invalidate(rng: random.Random, inserts: list[_Inserts], talk: Talk, overtaken: set[str]) -> dict[str, np.ndarray]:
    """Invalidate on one node, then look there for what it confirmed; return what went."""
    before: dict[str, tuple[np.ndarray, str]] = {}
    for each in inserts:
        with each.lock:
            before |= each.live
    kind = rng.choice(("id", "tag", "tag", "all")) if before else "all"
    selector = {"all": "all=true", "tag": f"tag={(tag := rng.choice(TAGS))}", "id": ""}[kind]
    victims = {id: key for id, (key, own) in before.items() if kind == "all" or own == tag}
    if kind == "id":
        id = next(reversed(before))  # the newest: most likely on its way still
        selector, victims = f"id={id}", {id: before[id][0]}
    talk.ask("DELETE", f"/v1/functions/{FUNCTION}/entries?{selector}")
    for each in inserts:
        with each.lock:
            for id in victims:
                each.live.pop(id, None)
    newest = list(victims.items())[-20:]
    until = time.monotonic() + 0.1
    while time.monotonic() < until and newest:
        for id, key in newest:
            if talk.look(key) == id:
                overtaken.add(id)
    return victims
