"""Two workers on two cores beside one: lookups a second behind one port."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.drills.nodes import FUNCTION, Node, entry, random_keys, redis, sharing, wait_until, write_functions
from benchmarks.judgement import Bar, Figure
from benchmarks.load import Request, lua
from benchmarks.processes import ROOT, Failed, environment

TWO = Bar("workers", "two workers ÷ one: lookups, 64 keys in a request", "lookups/s", "one worker", 1.5)
BARS = (TWO,)
KEYS_AT_ONCE = 64
CONNECTIONS = 64
"""So many that the kernel gives each of two workers about half."""


def drill(folder: Path, quick: bool = False, runs: int = 5, seconds: float | None = None) -> Iterator[Figure]:
    """Load one worker and two in turn. Many keys a request, so that the load generator leaves the cores to them."""
    seconds = seconds or (0.5 if quick else 4.0)
    runs = 1 if quick else runs
    count = 2_000 if quick else 20_000
    functions = write_functions(folder / "functions", 100_000, fixed=True)
    keys = random_keys(count, 5)
    bodies = [
        keys[start : start + KEYS_AT_ONCE].tobytes() for start in range(0, count - KEYS_AT_ONCE, KEYS_AT_ONCE // 4)
    ]
    rates: dict[int, list[float]] = {1: [], 2: []}
    with redis(folder / "redis") as server, ExitStack() as stack:
        nodes = {
            workers: stack.enter_context(
                Node(folder / f"workers{workers}", functions, "--workers", str(workers), *sharing(server))
            )
            for workers in (1, 2)
        }
        talk = nodes[1].talk()
        for start in range(0, count, 500):
            talk.insert([entry(key, "a") for key in keys[start : start + 500]])
        wait_until(lambda: all(_everywhere(node, workers, count) for workers, node in nodes.items()), 120, "sharing")
        for _ in range(runs):
            for workers, node in nodes.items():
                request = Request(f"/v1/functions/{FUNCTION}/lookup", "application/octet-stream", bodies, {})
                rates[workers].append(KEYS_AT_ONCE * _rate(folder, node.port, request, seconds))
    by = "own client" if shutil.which("wrk") is None else "wrk"
    yield Figure(TWO, rates[2], rates[1], note=f"load from {by}, {CONNECTIONS} connections")


def _everywhere(node: Node, workers: int, count: int) -> bool:
    """Say whether all workers behind a port have all entries; each new connection meets one of them."""
    full: set[int] = set()
    for _ in range(10 * workers):
        stats = node.talk().ask("GET", "/v1/stats")
        if stats["functions"][f"{FUNCTION}@1"]["entries"] < count:
            return False
        full.add(stats["pid"])
        if len(full) == workers:
            return True
        time.sleep(0.01)
    return False


def _rate(folder: Path, port: int, request: Request, seconds: float) -> float:
    """Return the requests answered a second. By wrk where it is installed: it leaves more of the cores to servers."""
    given = request.written(folder)
    if shutil.which("wrk") is None:
        job = {"port": port, "connections": CONNECTIONS, "seconds": seconds, "request": given}
        (folder / "job.json").write_text(json.dumps(job))
        seen = json.loads(_run(folder, seconds, sys.executable, "-m", "benchmarks.client", str(folder / "job.json")))
        return float(sum(n for status, n in seen["statuses"].items() if status[0] == "2")) / float(seen["seconds"])
    (folder / "load.lua").write_text(lua(given))
    url = f"http://127.0.0.1:{port}{request.path}"
    options = ("-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s")
    said = _run(folder, seconds, "wrk", *options, str(folder / "load.lua"), url)
    found = re.search(r"(\d+) requests in ([\d.]+)s", said)
    if found is None or "Non-2xx" in said or "Socket errors" in said:
        raise Failed(f"wrk: {said[-400:]}")
    return int(found[1]) / float(found[2])


def _run(folder: Path, seconds: float, *command: str) -> str:
    with (folder / "load.log").open("wb") as log:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=environment(), timeout=seconds + 90, check=False
        )
    if done.returncode:
        raise Failed(f"the load ended with {done.returncode}: {(folder / 'load.log').read_text()[-400:]}")
    return done.stdout.decode()
