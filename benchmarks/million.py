"""Rows at a million entries: how much slower a lookup is, what an entry weighs, and whether inserting can be felt.

One process serves a small and a large function, `python -m benchmarks.million PORT ENTRIES RUNS FOLDER`. It is filled
over HTTP, measures itself when it is asked for its facts, and has a pulse on its event loop that notices every pause.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import gc
import http.client
import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.in_process import function_of, settle
from benchmarks.judgement import Bar, Figure
from benchmarks.load import Request, run
from benchmarks.processes import SERVER_CORE, Child, Failed, free_port
from benchmarks.served import DIMENSION, FIXED, RESULT_BYTES, clustered, result, spec

GROWTH = Bar("growth", "median lookup at 1,000,000 entries ÷ at 1,000", "µs", "at 1,000 entries", 3.0, at_most=True)
TAIL = Bar("inserting/p99.9", "p99.9 of lookups beside 500 inserts/s, in ms", "ms", "", 10.0, at_most=True)
PAUSE = Bar("inserting/pause", "longest pause of the loop meanwhile, in ms", "ms", "", 5.0, at_most=True)
MEMORY = Bar("memory", "bytes an entry beyond key and result", "bytes", "", 400.0, at_most=True)

SMALL = 1000


def million(folder: Path, runs: int, quick: bool) -> Iterator[Figure]:
    """Yield the rows at a million entries (3,000 in a quick run)."""
    entries = 3000 if quick else 1_000_000
    port = free_port()
    (folder / "million").mkdir()
    command = [sys.executable, "-m", "benchmarks.million", str(port), str(entries), str(runs), str(folder / "million")]
    with Child(command, SERVER_CORE, folder / "million.log") as child:
        child.wait_for_port(port, 60)
        _fill(port, "small", SMALL)
        _get(port, "/before")
        started = time.monotonic()
        _fill(port, "large", entries)
        note = f"{entries:,} entries, filled in {time.monotonic() - started:.0f} s"
        facts = _get(port, "/facts")
        note += f", searched by {facts['kind']}"
        yield Figure(GROWTH, facts["large_us"], facts["small_us"], note=note)
        yield Figure(MEMORY, [facts["memory"]], [1.0])
        keys, labels = clustered(4096, 11)
        lookups = Request("/v1/functions/large/lookup", "application/octet-stream", [key.tobytes() for key in keys], {})
        inserts = Request(
            "/v1/functions/large/entries",
            "application/json",
            [
                json.dumps({"key": base64.b64encode(key.tobytes()).decode(), "result": result(label)}).encode()
                for key, label in zip(*(each[:2000] for each in clustered(4096, 12)), strict=True)
            ],
            {},
        )
        seconds = 1.0 if quick else 10.0
        tails, pauses, calm_tails, calm_pauses = [], [], [], []
        for _ in range(1 if quick else max(3, runs - 2)):
            _get(port, "/pauses")
            calm = run(child, port, lookups, seconds, rate=500.0)
            calm_pauses.append(_get(port, "/pauses") * 1000)
            calm_tails.append(calm.latency_s["p999"] * 1000)
            seen = run(child, port, lookups, seconds, rate=500.0, side=inserts, side_rate=500.0)
            pauses.append(_get(port, "/pauses") * 1000)
            tails.append(seen.latency_s["p999"] * 1000)
        del labels
        yield _felt(TAIL, tails, calm_tails)
        yield _felt(PAUSE, pauses, calm_pauses)


def _felt(bar: Bar, values: list[float], calm: list[float]) -> Figure:
    """Return a row that noise excuses where the same was felt without any insertion."""
    without = float(np.median(calm))
    figure = Figure(bar, values, [1.0], note=f"without inserts {without:.2g} ms", detail={"without_inserts": calm})
    figure.noise = 0.0
    figure.blind = not bar.holds(figure.value) and without > bar.limit / 2
    return figure


def _fill(port: int, function: str, count: int) -> None:
    """Insert clustered entries in blocks, as a device would that has many."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for start in range(0, count, 1000):
        keys, labels = clustered(min(1000, count - start), 1 + start)
        entries = [
            {"key": base64.b64encode(key.tobytes()).decode(), "result": result(label)}
            for key, label in zip(keys, labels.tolist(), strict=True)
        ]
        body = json.dumps({"entries": entries})
        path = f"/v1/functions/{function}/entries"
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status >= 300:
            raise Failed(f"filling: {response.status} {response.read()[:300]!r}")
        response.read()


def _get(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=900)
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


class Watched:
    """A server's application with routes more: what it weighs before, its facts, and pauses since one last asked."""

    def __init__(self, app: Any, entries: int, runs: int) -> None:
        self._app = app
        self._rest = app.rest
        self._entries = entries
        self._runs = runs
        self._before = 0
        self._longest = 0.0
        self._pulse: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] not in ("/before", "/facts", "/pauses"):
            await self._rest(scope, receive, send)
            return
        if self._pulse is None:
            self._pulse = asyncio.create_task(self._beat())
        document: Any = {}
        if scope["path"] == "/before":
            await self._settle("small")
            self._before = resident_bytes()
        elif scope["path"] == "/facts":
            await self._settle("large")
            document = self._facts()
        else:
            document, self._longest = self._longest, 0.0
        body = json.dumps(document).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _settle(self, name: str) -> None:
        """Wait until nothing is built or written any more, and what was replaced is freed."""
        await self._app.edge.pipeline.flush()
        settle(self._app.edge.registry.get(name))
        await asyncio.sleep(1.0)

    def _facts(self) -> dict[str, Any]:
        kind = next(iter(self._app.edge.registry.get("large").namespace.kinds().values()))
        facts: dict[str, Any] = {"small_us": [], "large_us": [], "kind": kind}
        facts["memory"] = (resident_bytes() - self._before) / self._entries - 4 * DIMENSION - RESULT_BYTES
        keys, _ = clustered(2000, 21)
        for turn in range(self._runs + 1):
            small_us, large_us = _medians(self._app, "small", keys), _medians(self._app, "large", keys)
            if turn or self._runs == 1:
                facts["small_us"].append(small_us)
                facts["large_us"].append(large_us)
        return facts

    async def _beat(self) -> None:
        """Sleep a millisecond at a time, and note by how much each sleep was too long, less what others took."""
        before = Moment.now()
        while True:
            await asyncio.sleep(0.001)
            now = Moment.now()
            self._longest = max(self._longest, now.at - before.at - 0.001 - now.taken_since(before))
            before = now


class Moment(NamedTuple):
    """What the clocks of the event loop's thread say. All in seconds."""

    at: float
    waiting: float
    """For how long the thread could have run and did not, since its start."""
    beside: float
    """CPU time of the other threads of this process."""

    @classmethod
    def now(cls) -> Moment:
        """Return what they say now."""
        waiting = 0.0
        with suppress(OSError):
            waiting = int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
        return cls(perf_counter(), waiting, process_time() - thread_time())

    def taken_since(self, before: Moment) -> float:
        """Return for how long other processes had the core while this thread could have run."""
        return max(0.0, self.waiting - before.waiting - (self.beside - before.beside))


def resident_bytes() -> int:
    """Return the memory that this process has in use."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _medians(app: Any, name: str, keys: np.ndarray) -> float:
    """Return the median time of a lookup with its decision, in µs."""
    function, pipeline = app.edge.registry.get(name), app.edge.pipeline
    times = []
    for key in keys:
        started = perf_counter()
        pipeline.lookup(function, key)
        times.append(perf_counter() - started)
    return float(np.median(times)) * 1e6


def main() -> None:
    import uvicorn

    from likewise.commands.serve import QuietServer
    from likewise.http.protocol import HotProtocol

    port, entries, runs, folder = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    room = entries + 200_000
    app = function_of(folder, {"small": spec(FIXED, 2 * SMALL), "large": spec(FIXED, room)})
    app.rest = Watched(app, entries, runs)
    config = uvicorn.Config(
        app,
        port=port,
        http=HotProtocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
    )
    QuietServer(config).run()


if __name__ == "__main__":
    main()
