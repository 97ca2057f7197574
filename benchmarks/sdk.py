"""Rows of the SDK: what a remote call of it takes beside a bare httpx POST of the same body to the same server.

The calls run in a process of their own on the load's core, `python -m benchmarks.sdk JOB`: short turns of one and the
other, on one keep-alive connection each. Both times are of the wall clock, so they have the server's answer in them.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import httpx
import numpy as np

from benchmarks.judgement import Bar, Figure
from benchmarks.processes import LOAD_CORE, Failed, output_of
from benchmarks.served import FIXED, clustered, result, serving, spec
from likewise_client import Client

TURN = 100
"""Calls before the other side has its turn."""

INFER = Bar("sdk/infer", "SDK: `infer` of an array, answered by reuse", "s", "httpx POST", 1.25, at_most=True)
LOOKUP = Bar("sdk/lookup", "SDK: `lookup` of a key", "s", "httpx POST", 1.25, at_most=True)


def rows(folder: Path, runs: int, quick: bool) -> Iterator[Figure]:
    """Measure both rows against one server."""
    keys, labels = clustered(60 if quick else 500, 3)
    np.save(folder / "keys.npy", keys)
    with serving(folder / "sdk", {"f": spec(FIXED, 1000)}) as served:
        texts = [base64.b64encode(key.tobytes()).decode() for key in keys]
        served.insert("f", [{"key": t, "result": result(n)} for t, n in zip(texts, labels.tolist(), strict=True)])
        served.settle()
        for bar in (INFER, LOOKUP):
            kind = bar.name.partition("/")[2]
            job = {
                "kind": kind,
                "url": f"http://127.0.0.1:{served.port}",
                "access_key": served.headers["Authorization"].partition(" ")[2],
                "keys": str(folder / "keys.npy"),
                "turns": 1 if quick else 10,
                "runs": runs,
            }
            (folder / "job.json").write_text(json.dumps(job))
            command = [sys.executable, "-m", "benchmarks.sdk", str(folder / "job.json")]
            seen = json.loads(output_of(command, LOAD_CORE, 600, folder / f"sdk-{kind}.log"))
            if seen["missed"]:
                raise Failed("not all calls were hits")
            cpu = median(ours / bare for ours, bare in zip(seen["cpu"], seen["bare_cpu"], strict=True))
            note = f"{median(seen['calls']) * 1e6:.0f} µs a call; CPU time of the caller alone: {cpu:.2f}"
            yield Figure(bar, seen["calls"], seen["bare"], note=note)


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Return seconds per call, and CPU seconds of this process, for both sides: one number for each run."""
    keys = np.load(job["keys"])
    sdk = Client(job["url"], access_key=job["access_key"])
    bare = httpx.Client(trust_env=False)
    path = f"{job['url']}/v1/functions/f/{job['kind']}"
    headers = {"Authorization": f"Bearer {job['access_key']}"}
    if job["kind"] == "infer":
        headers["Content-Type"] = "application/x-npy"
        bodies = [_npy(key) for key in keys]
        call: Callable[[int], Any] = lambda i: sdk.infer("f", keys[i]).result["label"]  # noqa: E731
    else:
        headers["Content-Type"] = "application/octet-stream"
        bodies = [key.tobytes() for key in keys]
        call = lambda i: sdk.lookup("f", key=keys[i]).result["label"]  # noqa: E731
    post: Callable[[int], Any] = lambda i: bare.post(path, content=bodies[i], headers=headers).raise_for_status()  # noqa: E731
    seen: dict[str, list[float]] = {"calls": [], "bare": [], "cpu": [], "bare_cpu": []}
    _turn(call, len(keys)), _turn(post, len(keys))
    for _ in range(job["runs"]):
        turns = [(_turn(call, len(keys)), _turn(post, len(keys))) for _ in range(job["turns"])]
        for side, names in enumerate((("calls", "cpu"), ("bare", "bare_cpu"))):
            for place, name in enumerate(names):
                seen[name].append(median(turn[side][place] for turn in turns))
    return {**seen, "missed": sdk.cache_info().misses}


def _turn(call: Callable[[int], Any], count: int) -> tuple[float, float]:
    wall, cpu = perf_counter(), process_time()
    for i in range(TURN):
        call(i % count)
    return (perf_counter() - wall) / TURN, (process_time() - cpu) / TURN


def _npy(key: np.ndarray) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    np.save(buffer, key)
    return buffer.getvalue()


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text()))))
