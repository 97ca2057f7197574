"""An honest device beside an attack: its hits, `/livez` beside them, and what is stuck in the server afterwards."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.drills.nodes import Node, Talk, wait_until
from benchmarks.drills.task import Task
from benchmarks.judgement import Bar, Figure
from benchmarks.processes import Failed

RATE = 50
"""Requests and looks at `/livez` a second."""
ASKERS, WATCHERS = 64, 4
"""Connections that share them, so that a request that has to be computed does not hold up those behind it."""
LOST_S = 10.0
"""What a request that failed or was not answered counts as."""
STARVED = 0.1
"""Share of a quiet time that a server, or who asks it, waits for a core from which on that is what is measured."""
RECOVERY_S = 10.0
"""Within so long after an attack the server is as before."""


@dataclass(slots=True)
class Seen:
    """What the victim saw for a while."""

    hits_s: list[float] = field(default_factory=list)
    """Latencies of hits, from when each was due; what failed counts as `LOST_S`."""
    livez_s: list[float] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    """For how long each thread that asked could have run and did not get a core."""
    asked: int = 0
    hits: int = 0

    @property
    def p99_ms(self) -> float:
        """99th percentile of the latency of hits."""
        return 1000 * float(np.percentile(self.hits_s or [LOST_S], 99))

    @property
    def livez_ms(self) -> float:
        """Slowest answer of `/livez`."""
        return 1000 * max(self.livez_s)

    @property
    def hit_rate(self) -> float:
        """Share of requests that were answered from the cache; failures are none."""
        return self.hits / max(1, self.asked)


class _Schedule:
    """When the next request is due; those who ask share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due = time.monotonic()

    def wait(self) -> float:
        """Return when the next one is due, once it is; late ones are left out where they are late by a second."""
        with self._lock:
            self._due = due = max(self._due + 1 / RATE, time.monotonic() - 1.0)
        time.sleep(max(0.0, due - time.monotonic()))
        return due


def watch(node: Node, ask: Callable[[Talk], bool], until: Callable[[], bool]) -> Seen:
    """Ask at a steady rate, and `/livez` beside it, until told to stop. ask: says whether it was a hit."""
    seen = Seen()

    def steadily(schedule: _Schedule, once: Callable[[Talk], bool], spent: list[float]) -> None:
        talk = Talk(node.port, LOST_S)
        while not until():
            due = schedule.wait()
            try:
                if once(talk):
                    spent.append(time.monotonic() - due)
            except (OSError, http.client.HTTPException, Failed):
                spent.append(LOST_S)
        talk.close()
        seen.waits_s.append(_waited_s("thread-self"))

    def hit(talk: Talk) -> bool:
        seen.asked += 1
        found = ask(talk)
        seen.hits += found
        return found

    def livez(talk: Talk) -> bool:
        if talk.send("GET", "/livez")[0] != 200:
            raise Failed("/livez refused")
        return True

    shared, alone = _Schedule(), _Schedule()
    tasks = [Task(lambda: steadily(shared, hit, seen.hits_s)) for _ in range(ASKERS)]
    tasks += [Task(lambda: steadily(alone, livez, seen.livez_s)) for _ in range(WATCHERS)]
    for task in tasks:
        task.join(600)
    return seen


def watch_for(node: Node, ask: Callable[[Talk], bool], seconds: float) -> Seen:
    """Watch for a while."""
    end = time.monotonic() + seconds
    return watch(node, ask, lambda: time.monotonic() >= end)


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds."""

    connections: int
    memory: int
    """Resident bytes."""

    @classmethod
    def by(cls, pid: int) -> Held:
        """Look at a process."""
        sockets = 0
        for each in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets += str(each.readlink()).startswith("socket:")
            except OSError:
                continue
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(sockets, pages * os.sysconf("SC_PAGE_SIZE"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """An honest device before, during and after an attack."""

    quiet: Seen
    during: Seen
    after: Seen
    stuck: tuple[str, ...]
    """What did not come back within the time to recover."""
    starved: float
    """Share of the quiet time that the server waited for a core, or the device that asks it, whichever was more."""
    waited: float
    """Share of the attack's time that the server waited for a core: for itself, the device or the attackers here."""


def attacked(
    node: Node, ask: Callable[[Talk], bool], attack: Callable[[Callable[[], bool]], object], seconds: float
) -> Outcome:
    """Watch a node while it is quiet, while an attack runs, and afterwards. attack: runs until its argument says so.

    Raises Failed where the attack dies: then nothing was shown.
    """
    waited_s, began = _waited_s(node.pid), time.monotonic()
    quiet = watch_for(node, ask, seconds)
    starved = max(_waited_s(node.pid) - waited_s, sum(quiet.waits_s)) / (time.monotonic() - began)
    if quiet.hit_rate == 0:
        raise Failed("nothing hits before the attack")
    before, end = Held.by(node.pid), time.monotonic() + seconds
    task = Task(lambda: attack(lambda: time.monotonic() >= end))
    waited_s, began = _waited_s(node.pid), time.monotonic()
    during = watch(node, ask, lambda: time.monotonic() >= end)
    waited = (_waited_s(node.pid) - waited_s) / (time.monotonic() - began)
    task.join(120)
    stuck: list[str] = []

    def settled(what: str, holds: Callable[[], bool]) -> None:
        try:
            wait_until(holds, RECOVERY_S, what)
        except Failed:
            stuck.append(what)

    settled("connections", lambda: Held.by(node.pid).connections <= before.connections + 4)
    settled("memory", lambda: Held.by(node.pid).memory <= before.memory * 1.5 + 64 * 2**20)
    talk = Talk(node.port, LOST_S)
    settled("hits", lambda: _try(ask, talk))
    talk.close()
    after = watch_for(node, ask, seconds)
    if after.hit_rate < 0.9 * quiet.hit_rate:
        stuck.append(f"hit rate {after.hit_rate:.0%} of {quiet.hit_rate:.0%}")
    return Outcome(quiet, during, after, tuple(stuck), starved, waited)


def _waited_s(task: int | str) -> float:
    """Return for how long a process' first thread, or the calling one, could have run and did not get a core.

    Returns 0 where nobody says.
    """
    try:
        return int(Path(f"/proc/{task}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _try(ask: Callable[[Talk], bool], talk: Talk) -> bool:
    try:
        return ask(talk)
    except (OSError, http.client.HTTPException, Failed):
        return False


def figures(outcome: Outcome, bars: tuple[Bar, Bar, Bar]) -> list[Figure]:
    """Return the three rows of an attack: tail of hits, `/livez`, what is stuck."""
    tail, livez, stuck = bars
    note = f"hit rate {outcome.during.hit_rate:.0%}; the server waited for a core for {outcome.waited:.0%} of the time"
    if starved := outcome.starved > STARVED:
        note += f"; the machine is busy: it or who asked it waited for one for {outcome.starved:.0%} of the quiet time"
    rows = [
        Figure(tail, [outcome.during.p99_ms], [outcome.quiet.p99_ms], note=note),
        Figure(livez, [outcome.during.livez_ms], [1.0]),
    ]
    for row in rows:
        row.blind = starved and not row.bar.holds(row.ratio)
    return [*rows, Figure(stuck, [float(len(outcome.stuck))], [1.0], note=", ".join(outcome.stuck))]
