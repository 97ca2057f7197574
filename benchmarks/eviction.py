"""Which eviction policy keeps what is worth keeping: streams over more objects than the cache holds.

    python benchmarks/eviction.py

Each request is a noisy key of an object; it is a hit where the nearest entry is of the same object and near. Printed:
hits per request, and the share of all computing seconds that the hits saved. Objects differ in cost (log-normal, a
factor of 2) and size (a factor of 2).

    zipf        popularity 1/rank over 5,000 objects
    scans       the same; a third of the requests come in bursts of objects seen never again
    drift       the same; every 4,000 requests the ranks are dealt anew
    loop        500 more objects than fit, one after another, in a circle
"""

from __future__ import annotations

import argparse

import numpy as np

from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Keys, Result

DIMENSION = 16
OBJECTS = 5_000
POLICIES = ("importance", "lru", "lfu", "s3-fifo")


def stream(name: str, requests: int, capacity: int, rng: np.random.Generator) -> np.ndarray:
    """Return object numbers, shape (requests,)."""
    popularity = 1 / np.arange(1, OBJECTS + 1)
    popularity /= popularity.sum()
    drawn = rng.choice(OBJECTS, requests, p=popularity)
    if name == "scans":
        fresh = OBJECTS
        for start in range(0, requests, 1500):
            length = min(500, requests - start)
            drawn[start : start + length] = np.arange(fresh, fresh + length)
            fresh += length
    elif name == "drift":
        for start in range(0, requests, 4000):
            drawn[start : start + 4000] = rng.permutation(OBJECTS)[drawn[start : start + 4000]]
    elif name == "loop":
        drawn = np.arange(requests) % (capacity + 500)
    return drawn


def play(objects: np.ndarray, eviction: str, capacity: int, seed: int) -> tuple[float, float]:
    """Return hits per request and the share of computing seconds saved."""
    rng = np.random.default_rng(seed)
    count = int(objects.max()) + 1
    centers: Keys = np.random.default_rng(1).normal(size=(count, DIMENSION)).astype(np.float32)
    cost = np.exp(np.log(2) * rng.normal(size=count))
    size = (200 * np.exp(np.log(2) * rng.normal(size=count))).astype(int)
    space = Namespace("bench@1", {"key": DIMENSION}, capacity, 1 << 30, 1e9, lambda: 0.0, eviction, "exact", seed=seed)
    hits, saved = 0, 0.0
    for number, object_ in enumerate(objects.tolist()):
        key = centers[object_] + 0.05 * rng.normal(size=DIMENSION).astype(np.float32)
        near = space.lookup("key", key, 1)
        if near.labels == [object_] and near.distances[0] < 1.0:
            hits += 1
            saved += cost[object_]
            space.touch(near.slots[0])
        else:
            result = Result(bytes(int(size[object_])))
            space.insert(Entry(number, {"key": key}, result, float(cost[object_]), 0.0, float("inf")), object_)
    return hits / len(objects), saved / float(cost[objects].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--capacity", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'stream':8}" + "".join(f"{policy:>22}" for policy in POLICIES))
    for name in ("zipf", "scans", "drift", "loop"):
        cells = []
        for policy in POLICIES:
            runs = []
            for seed in range(arguments.seeds):
                objects = stream(name, arguments.requests, arguments.capacity, np.random.default_rng(seed))
                runs.append(play(objects, policy, arguments.capacity, seed))
            hits, saved = np.mean(runs, axis=0)
            cells.append(f"hits {hits:.3f} saved {saved:.3f}")
        print(f"{name:8}" + "".join(f"{cell:>24}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
