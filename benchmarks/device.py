"""Rows of the device's own tier: what a would-be hit costs, from its key to the answer, without any server.

500 entries of 104 numbers, as spoken words have them. Counted in CPU time, on the server's core, in a process of its
own: `python -m benchmarks.device RUNS SECONDS`. The baseline is what NumPy needs to find the nearest entry the plain
way, the least of all squared distances; the tier finds it, judges it, tosses its coin and makes the answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import thread_time

import numpy as np

from benchmarks.judgement import Bar, Figure
from benchmarks.processes import SERVER_CORE, output_of

ENTRIES, NUMBERS = 500, 104

TIME = Bar("device/lookup", "device tier: lookup, coin and answer, 500 × 104", "µs", "", 60.0, at_most=True)
RATIO = Bar("device/argmin", "the same", "µs", "NumPy, argmin of squared distances", 1.0, at_most=True)


def rows(folder: Path, wanted: Callable[[Bar], bool], runs: int, quick: bool) -> Iterator[Figure]:
    """Yield the rows of the device's tier."""
    command = [sys.executable, "-m", "benchmarks.device", str(runs), "0.02" if quick else "0.5"]
    values, bases, search = json.loads(output_of(command, SERVER_CORE, 300, folder / "device.log"))
    note = f"of that the search alone: {np.median(search):.1f} µs"
    yield Figure(TIME, values, [1.0], note=note)
    yield Figure(RATIO, values, bases)


def each_us(call: Callable[[int], object], seconds: float) -> float:
    """Return the CPU time of a call in µs."""
    started, count = thread_time(), 0
    while thread_time() - started < seconds:
        for turn in range(100):
            call(turn)
        count += 100
    return (thread_time() - started) / count * 1e6


def measure(runs: int, seconds: float) -> tuple[list[float], list[float], list[float]]:
    """Return CPU time in µs: of the tier, of the baseline, and of the tier's search alone; run in turn."""
    from likewise_client import DeviceCache
    from likewise_client._calls import Local
    from likewise_client._device.lease import Lease
    from likewise_client._device.place import Query
    from likewise_client._device.store import Kept
    from likewise_client._device.tier import Tier

    rng = np.random.default_rng(0)
    keys = rng.normal(size=(ENTRIES, NUMBERS)).astype(np.float32)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    tier = Tier(DeviceCache(max_entries=ENTRIES))
    place = tier._place("bench")
    place.describe(None, None, cosine=True)
    place.lease = Lease("lease", 1e-9, float("inf"))
    for at, key in enumerate(keys):
        kept = Kept(f"{at:016x}", b'{"label":"seven","confidence":0.98}', "application/json", 0.0, float("inf"))
        place.store.put(key, 0.3, kept)
    near = [key + rng.normal(size=NUMBERS).astype(np.float32) * np.float32(0.01) for key in keys[:100]]
    local = Local("bench", None, b"", "")
    queries = [Query(b"", key) for key in near]

    def find(turn: int) -> object:
        return tier._find(place, local, queries[turn])

    def search(turn: int) -> object:
        return place.store.nearest(near[turn], 0.0)

    def plain(turn: int) -> object:
        return ((keys - near[turn]) ** 2).sum(axis=1).argmin()

    assert all(find(turn).from_device for turn in range(100))  # type: ignore[attr-defined]
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    for turn in range(runs + 1):
        times = [each_us(call, seconds) for call in (find, plain, search)]
        if turn or runs == 1:
            for values, time in zip(found, times, strict=True):
                values.append(time)
    return found


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), float(sys.argv[2]))))
