"""A row far beyond capacity: what is still answered rightly and in time, with cheaper models beside the full one."""

from __future__ import annotations

import http.client
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.judgement import Bar, Figure
from benchmarks.load import Request, Run, run
from benchmarks.processes import ROOT
from benchmarks.served import Served, serving
from likewise.workloads.make import open_workload

LADDER = Bar(
    "overload-ladder",
    "3 times capacity, signs never seen before, 95 %: right answers within 1 s, with the ladder ÷ without",
    "/s",
    "no ladder",
    2.0,
)
DEADLINE_S = 1.0
"""Seconds within which an answer is of use; the server is told, by Request-Timeout."""
TIMES = 3.0
"""How many times its capacity the server is asked for."""
FEWEST_CONNECTIONS, MOST_CONNECTIONS = 512, 3000
"""In a flood; the server takes 3,072 from one address."""
TARGET = 0.95
PATH = "/v1/functions/signs/infer"


def ladder(folder: Path, runs: int, quick: bool) -> Figure:
    """Return the row; photographs come from LIKEWISE_DATA. Capacity is what a closed loop gets without the ladder."""
    data = os.environ.get("LIKEWISE_DATA")
    if not data:
        return Figure(LADDER, note="set LIKEWISE_DATA to the folder of the data sets, see functions/README.md")
    seconds = 1.0 if quick else 5.0
    samples = open_workload("signs-cold", Path(data)).stream(200 if quick else 5000, 1, 20)
    bodies, media_type = [sample.body for sample in samples], samples[0].media_type
    sides = {side: _functions(folder / side, side) for side in ("off", "all")}
    with serving(folder / "truth", {}, functions=sides["off"]) as served:
        wanted = folder / "wanted.json"
        wanted.write_text(json.dumps(_truths(served, media_type, bodies)))
    count = 0

    def fresh(side: str, connections: int, **job: object) -> Run:
        nonlocal count
        count += 1
        options = ("--accuracy-target", str(TARGET), "--journal", "memory")
        with serving(folder / str(count), {}, *options, functions=sides[side]) as served:
            headers = {**served.headers, "Request-Timeout": str(DEADLINE_S)}
            request = Request(PATH, media_type, bodies, headers)
            return run(served.child, served.port, request, seconds, connections=connections, **job)

    ours, theirs, times, accuracies = list[float](), list[float](), list[float](), list[float]()
    for _ in range(runs):
        peak = fresh("off", 32)
        capacity = peak.answers / peak.seconds
        for side, found in (("off", theirs), ("all", ours)):
            seen = fresh(side, flood(capacity), rate=TIMES * capacity, wanted=str(wanted), deadline=DEADLINE_S)
            found.append(max(seen.right_in_time, 1) / seconds)
            accuracies.append(1.0 - seen.wrong / max(seen.answers, 1))
        times.append(ours[-1] / max(capacity, 1e-9))
    said = f"with the ladder {sorted(times)[len(times) // 2]:.2f} times the capacity without (median)"
    return Figure(LADDER, ours, theirs, note=f"{said}; of all answers at least {min(accuracies):.1%} were right")


def flood(capacity: float) -> int:
    """Return the connections for a flood. capacity: requests a second.

    Where each is under way until its deadline, and as long again on a machine that is slow to say so, the next still
    finds a free one: what waits in the client for a connection may be late before the server has seen it.
    """
    return min(max(FEWEST_CONNECTIONS, math.ceil(2 * TIMES * capacity * DEADLINE_S)), MOST_CONNECTIONS)


def _functions(folder: Path, side: str) -> Path:
    shutil.copytree(ROOT / "functions" / "signs", folder / "signs")
    spec = folder / "signs" / "function.toml"
    spec.write_text(spec.read_text() + f'\n[reuse]\nladder = "{side}"\n')
    return folder


def _truths(served: Served, media_type: str, bodies: Sequence[bytes]) -> list[str]:
    """Return, for each photograph, the text that an answer has in it that says what the full model says."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    headers = {**served.headers, "Content-Type": media_type, "Cache-Control": "no-store"}
    found = []
    for body in bodies:
        connection.request("POST", PATH, body, headers)
        answer = json.loads(connection.getresponse().read())
        found.append(json.dumps(answer["label"]))
    return found
