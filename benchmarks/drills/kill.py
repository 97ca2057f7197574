"""kill -9 at random moments under load: what was acknowledged as durable is there after each restart."""

from __future__ import annotations

import http.client
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.drills.nodes import Node, entry, random_keys, write_functions
from benchmarks.drills.task import Task
from benchmarks.judgement import Bar, Figure
from benchmarks.processes import Failed

LOST = Bar("kill", "kill -9 under load: durable inserts lost", "entries", "", 0, at_most=True)
CORRUPT = Bar("kill/corrupt", "kill -9 under load: entries damaged", "entries", "", 0, at_most=True)
WINDOW = Bar("kill/window", "kill -9: age of the newest acknowledged insert that was lost", "s", "", 0.1, at_most=True)
BARS = (LOST, CORRUPT, WINDOW)


class _Load:
    """Inserts until the node is gone, and remembers what was acknowledged, and when."""

    def __init__(self, node: Node, seed: int, durable: bool) -> None:
        self.acknowledged: dict[str, tuple[str, float]] = {}
        self._node = node
        self._seed = seed
        self._durable = durable
        self._task = Task(self._run)

    def _run(self) -> None:
        talk = self._node.talk()
        keys = random_keys(512, self._seed)
        number = 0
        while True:
            label = f"{self._seed}-{number}"
            each = entry(keys[number % 512], label, cost_s=1.0)
            try:
                ids = talk.insert([each], durable=self._durable)
            except (OSError, http.client.HTTPException, Failed, ValueError):
                return
            self.acknowledged[ids[0]] = (label, time.monotonic())
            number += 1

    def join(self) -> None:
        self._task.join()


def drill(folder: Path, quick: bool = False, kills: int | None = None, seed: int = 1) -> Iterator[Figure]:
    """Kill a node again and again; after each restart compare what it has with what it acknowledged."""
    kills = kills or (4 if quick else 100)
    rng = random.Random(seed)
    functions = write_functions(folder / "functions", 1_000_000)
    node = Node(folder / "node", functions, "--journal", "sqlite", "--snapshot-s", "1")
    promised: dict[str, str] = {}
    labels: dict[str, str] = {}
    lost = corrupt = 0
    ages: list[float] = []
    kept = 0
    with node:
        for turn in range(kills):
            loads = [_Load(node, 1000 * turn + 10 * seed + i, durable=i < 3) for i in range(4)]
            time.sleep(rng.uniform(0.05, 1.2))
            killed = time.monotonic()
            node.end(signal.SIGKILL)
            for load in loads:
                load.join()
            node.start()
            talk = node.talk()
            found = {each["id"]: each["label"] for each in talk.pages()}
            for i, load in enumerate(loads):
                for id, (label, at) in load.acknowledged.items():
                    labels[id] = label
                    if i < 3:
                        promised[id] = label
                    elif id not in found:
                        ages.append(killed - at)
                    else:
                        kept += 1
            lost += sum(id not in found for id in promised)
            promised = {id: label for id, label in promised.items() if id in found}  # each is counted once
            corrupt += sum(labels.get(id, label) != label for id, label in found.items())
            corrupt += int(talk.ask("GET", "/v1/stats")["journal"]["quarantined"])
    said = f"{kills} kills; {len(promised)} durable inserts checked after each"
    yield Figure(LOST, [lost], [1.0], note=said)
    yield Figure(CORRUPT, [corrupt], [1.0])
    yield Figure(
        WINDOW, [max(ages, default=0.0)], [1.0],
        note=f"{len(ages)} of {len(ages) + kept} inserts that were not durable were lost; journal_commit_s is 0.05",
    )  # fmt: skip
