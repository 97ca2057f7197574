"""Rows without HTTP: what a lookup and its decision cost beside a bare FAISS search; a model alone.

Each measurement runs in a process of its own on the server's core, `python -m benchmarks.in_process KIND COUNT
SECONDS`, and is counted in CPU time of its thread.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np

from benchmarks.bare import NEIGHBORS, graph
from benchmarks.judgement import Bar, Figure
from benchmarks.processes import SERVER_CORE, output_of
from benchmarks.served import DEFAULT, clustered, result, spec

LOOKUP = Bar("in-process", "in process: lookup + decide ÷ FAISS HNSW single search", "/s", "raw FAISS HNSW", 0.70)


def ask(folder: Path, kind: str, count: int, seconds: float) -> Any:
    """Run one of the measurements below in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.in_process", kind, str(count), str(seconds)]
    return json.loads(output_of(command, SERVER_CORE, 600, folder / f"in-process-{kind}.log"))


def in_process(folder: Path, runs: int, quick: bool) -> Figure:
    """Return the row of lookup and decision in process."""
    values, bases = ask(folder, "lookup", 300 if quick else 10_000, runs)
    return Figure(LOOKUP, values, bases, note="default policy, with its metrics")


def function_of(folder: Path, specs: dict[str, str]) -> Any:
    """Return the application of a server with these functions, not started."""
    from likewise.app import create_app
    from likewise.settings import Settings

    for name, text in specs.items():
        (folder / "functions" / name).mkdir(parents=True)
        (folder / "functions" / name / "function.toml").write_text(text)
    return create_app(Settings(functions=folder / "functions", data_dir=folder / "data"))


def fill(app: Any, name: str, count: int, seed: int = 1) -> Any:
    """Insert clustered entries into a function and return it."""
    from likewise.types import Result

    function, pipeline = app.edge.registry.get(name), app.edge.pipeline
    key_type = function.key_type
    for start in range(0, count, 10_000):
        keys, labels = clustered(min(10_000, count - start), seed + start)
        for key, label in zip(keys, labels.tolist(), strict=True):
            body = json.dumps(result(label), separators=(",", ":")).encode()
            pipeline.insert(function, pipeline.entry(function, {key_type: key.copy()}, Result(body), 0.05), None)
    return function


def settle(function: Any) -> None:
    """Wait until no index is being built; it is taken over by the next search."""
    for index in function.namespace._indexes.values():
        index.settle()


def rate(search: Callable[[Any], object], keys: Any) -> float:
    """Return calls a second of CPU time."""
    started = thread_time()
    for key in keys:
        search(key)
    return len(keys) / (thread_time() - started)


def _lookup(count: int, runs: int) -> list[list[float]]:
    from likewise.requests import Asked
    from likewise.types import Result

    with tempfile.TemporaryDirectory() as name:
        app = function_of(Path(name), {"f": spec(DEFAULT, 20_000)})
        function = fill(app, "f", count)
        settle(function)
        for turn in range(40):  # so that the policy reuses, and its fast path is what is measured
            keys, labels = clustered(256, 5000 + turn)
            for key, label in zip(keys, labels.tolist(), strict=True):
                verdict = function.neighbors.offer(Asked(function.key_type, key))
                if not verdict.reuse:
                    body = json.dumps(result(label), separators=(",", ":")).encode()
                    function.learn(function.key_type, verdict, function.nearest_id(verdict), Result(body))
        bare = graph(clustered(count, 1)[0])
        keys, _ = clustered(4096, 3)
        single = [key[None] for key in keys]
        values: list[list[float]] = [[], []]
        for turn in range(runs + 1):
            ours = rate(lambda key: function.neighbors.offer(Asked(function.key_type, key)), list(keys))
            theirs = rate(lambda key: bare.search(key, NEIGHBORS), single)
            if turn or runs == 1:
                values[0].append(ours)
                values[1].append(theirs)
        return values


def _batch(count: int, seconds: float) -> float:
    bare = graph(clustered(count, 1)[0])
    keys, _ = clustered(4096, 3)
    blocks = [keys[i : i + 256] for i in range(0, 4096, 256)]
    best = []
    started = thread_time()
    while thread_time() - started < seconds:
        best.append(256 * rate(lambda block: bare.search(block, NEIGHBORS), blocks))
    return float(np.median(best))


def main() -> None:
    kind, count = sys.argv[1], int(sys.argv[2])
    if kind == "lookup":
        print(json.dumps(_lookup(count, int(float(sys.argv[3])))))
    else:
        print(json.dumps(_batch(count, float(sys.argv[3]))))


if __name__ == "__main__":
    main()
