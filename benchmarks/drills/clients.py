"""Five hundred SDK clients at once, for five minutes: no request fails, and no memory grows.

The clients live in a process of their own, `python -m benchmarks.drills.clients JOB`: four of five are `AsyncClient`s
on one event loop, the others `Client`s on a thread each. Each looks keys up, inserts what it does not find, and pauses.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.drills.nodes import FUNCTION, random_keys
from benchmarks.judgement import Bar, Figure
from benchmarks.processes import LOAD_CORE, output_of
from benchmarks.served import FIXED, serving, spec
from likewise_client import AsyncClient, Client, LikewiseClientError

FAILED = Bar("clients/failed", "500 SDK clients at once, 5 minutes: calls that failed", "", "", 0, True)
MEMORY = Bar("clients/memory", "their memory at the end ÷ after the first fifth", "MB", "MB", 1.05, True)
SERVED = Bar("clients/server", "that of their server", "MB", "MB", 1.05, True)
BARS = (FAILED, MEMORY, SERVED)

KEYS = 2000
"""Different keys that are asked for."""
RATE = 200.0
"""Calls in a second, of all clients together."""


def drill(folder: Path, quick: bool = False, clients: int = 500, seconds: float | None = None) -> Iterator[Figure]:
    """Start a server and a process of clients."""
    seconds = seconds or (5.0 if quick else 300.0)
    with serving(folder, {FUNCTION: spec(FIXED, 2 * KEYS)}) as served:
        job = {
            "url": f"http://127.0.0.1:{served.port}",
            "access_key": served.headers["Authorization"].partition(" ")[2],
            "clients": clients,
            "seconds": seconds,
            "server": served.child.pid,
        }
        (folder / "job.json").write_text(json.dumps(job))
        command = [sys.executable, "-m", "benchmarks.drills.clients", str(folder / "job.json")]
        seen = json.loads(output_of(command, LOAD_CORE, seconds + 240.0, folder / "clients.log"))
    note = f"{seen['calls']} calls of {clients} clients in {seconds:g} s" + (f"; {seen['why']}" if seen["why"] else "")
    yield Figure(FAILED, [seen["failed"]], [1.0], note=note)
    for bar, name in ((MEMORY, "clients_mb"), (SERVED, "server_mb")):
        samples = seen[name]
        fifth = max(1, len(samples) // 5)
        yield Figure(bar, [median(samples[-fifth:])], [median(samples[fifth : 2 * fifth])])


class Clients:
    """The process of clients."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._keys = random_keys(KEYS, 5)
        self._until = time.monotonic() + job["seconds"]
        self._pause_s = job["clients"] / RATE
        self._lock = threading.Lock()
        self.calls = self.failed = 0
        self.why = ""

    def run(self) -> dict[str, Any]:
        """Ask until the time is over; return what was seen."""
        memory: dict[str, list[float]] = {"clients_mb": [], "server_mb": []}
        threads = [threading.Thread(target=self._work, args=(i,)) for i in range(self._job["clients"] // 5)]
        threads.append(threading.Thread(target=asyncio.run, args=(self._work_all(len(threads)),)))
        for thread in threads:
            thread.start()
        while time.monotonic() < self._until:
            time.sleep(min(1.0, self._job["seconds"] / 20))
            memory["clients_mb"].append(_resident_mb("self"))
            memory["server_mb"].append(_resident_mb(self._job["server"]))
        for thread in threads:
            thread.join()
        return {**memory, "calls": self.calls, "failed": self.failed, "why": self.why}

    def _work(self, number: int) -> None:
        rng = random.Random(number)
        with Client(self._job["url"], access_key=self._job["access_key"], device=f"phone-{number}") as client:
            while time.monotonic() < self._until:
                key = self._keys[rng.randrange(KEYS)]
                try:
                    answer = client.lookup(FUNCTION, key=key)
                    if not answer.found or rng.random() < 0.1:
                        client.insert(FUNCTION, {"label": "x"}, key=key, ticket=answer.ticket)
                except LikewiseClientError as error:
                    self._count(error)
                self._count()
                time.sleep(rng.uniform(0.0, 2.0 * self._pause_s))

    async def _work_all(self, first: int) -> None:
        await asyncio.gather(*(self._work_later(i) for i in range(first, self._job["clients"])))

    async def _work_later(self, number: int) -> None:
        rng = random.Random(number)
        url, access_key = self._job["url"], self._job["access_key"]
        async with AsyncClient(url, access_key=access_key, device=f"phone-{number}") as client:
            while time.monotonic() < self._until:
                key = self._keys[rng.randrange(KEYS)]
                try:
                    answer = await client.lookup(FUNCTION, key=key)
                    if not answer.found or rng.random() < 0.1:
                        await client.insert(FUNCTION, {"label": "x"}, key=key, ticket=answer.ticket)
                except LikewiseClientError as error:
                    self._count(error)
                self._count()
                await asyncio.sleep(rng.uniform(0.0, 2.0 * self._pause_s))

    def _count(self, error: LikewiseClientError | None = None) -> None:
        with self._lock:
            if error is None:
                self.calls += 1
            else:
                self.failed += 1
                self.why = self.why or repr(error)


def _resident_mb(pid: int | str) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    print(json.dumps(Clients(json.loads(Path(sys.argv[1]).read_text())).run()))
