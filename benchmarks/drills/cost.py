"""What the SQLite journal costs, beside the memory journal: lookups and inserts a second."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.drills.nodes import FUNCTION, NEAR, entry, fixed_index, random_keys
from benchmarks.judgement import Bar, Figure
from benchmarks.load import Request, run
from benchmarks.lookups import alternate
from benchmarks.served import serving, spec

LOOKUPS = Bar("cost/lookups", "SQLite journal: lookups", "/s", "memory journal", 0.98)
INSERTS = Bar("cost/inserts", "SQLite journal: inserts, 10 in a request", "/s", "memory journal", 0.90)
BARS = (LOOKUPS, INSERTS)
AT_ONCE = 10


def drill(folder: Path, quick: bool = False, runs: int = 7, seconds: float | None = None) -> Iterator[Figure]:
    """Load two servers in turn that differ in their journal alone."""
    seconds = seconds or (0.3 if quick else 3.0)
    runs = 1 if quick else runs
    keys = random_keys(5_000, 5)
    path = f"/v1/functions/{FUNCTION}"
    inserts = [
        json.dumps({"entries": [entry(key, "a") for key in keys[i : i + AT_ONCE]]}).encode()
        for i in range(0, len(keys), AT_ONCE)
    ]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(folder / kind, {FUNCTION: fixed_index(spec(NEAR, 20_000))}, "--journal", kind))
            for kind in ("sqlite", "memory")
        ]
        for served in servers:
            served.insert(FUNCTION, [entry(key, "a") for key in keys])

        def looked(number: int) -> float:
            served = servers[number]
            request = served.lookup(FUNCTION, "application/octet-stream", [key.tobytes() for key in keys])
            return run(served.child, served.port, request, seconds).per_core_s

        def inserted(number: int) -> float:
            served = servers[number]
            request = Request(f"{path}/entries", "application/json", inserts, served.headers)
            seen = run(served.child, served.port, request, seconds)
            return AT_ONCE * seen.statuses.get("201", 0) / max(seen.core_s, 0.01)

        ours, theirs = alternate(runs, lambda: looked(0), lambda: looked(1))
        yield Figure(LOOKUPS, ours, theirs)
        ours, theirs = alternate(runs, lambda: inserted(0), lambda: inserted(1))
        yield Figure(INSERTS, ours, theirs, note="per CPU second of the server, the journal's thread included")
