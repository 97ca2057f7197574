"""How fast the index is beside raw faiss: ratios, measured in one run.

    python benchmarks/index.py                        all rows that take seconds
    python benchmarks/index.py --keys 1000000 growth pauses memory

Rows: single, batch, recall, growth, pauses, memory. Keys are clustered, 64 numbers, unit norm, 50 to a cluster.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np

from likewise.index.graph import MIN_EF_SEARCH
from likewise.index.hnsw import EF_CONSTRUCTION, M
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Keys, Result

DIMENSION = 64
K = 10
RUNS = 5
ROWS = ("single", "batch", "recall", "growth", "pauses", "memory")


def clustered(count: int, rng: np.random.Generator, total: int) -> Keys:
    centers = np.random.default_rng(total).normal(size=(max(20, total // 50), DIMENSION))
    keys = np.empty((count, DIMENSION), np.float32)
    for start in range(0, count, 100_000):
        part = keys[start : start + 100_000]
        part[:] = centers[rng.integers(0, len(centers), len(part))] + 0.3 * rng.normal(size=part.shape)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return keys


def entry(id: int, key: Keys) -> Entry:
    return Entry(id, {"key": key}, Result(b"%0200d" % id), 0.1, 1.0, float("inf"))


def filled(keys: Keys, capacity: int) -> Namespace:
    space = Namespace("bench@1", {"key": DIMENSION}, capacity, 1 << 40, 1e9, time.time)
    for number, key in enumerate(keys):
        space.insert(entry(number * 7919 + 1, key), number % 43)
    settle(space)
    return space


def index_of(space: Namespace) -> Any:
    """Return the graph or scan that answers in the end."""
    index: Any = space._indexes["key"]
    while hasattr(index, "_current"):
        index = index._current
    return index


def settle(space: Namespace) -> None:
    index: Any = space._indexes["key"]
    index.settle()


def timed(call: Callable[[Any], Any], arguments: Any) -> float:
    """Return the median seconds of a call."""
    seconds = []
    for argument in arguments:
        started = time.perf_counter()
        call(argument)
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def alternating(ours: Callable[[], float], raw: Callable[[], float]) -> tuple[float, float, float]:
    """Return the medians of both over runs that take turns, and the median of their ratios raw ÷ ours."""
    pairs = [(ours(), raw()) for _ in range(RUNS)]
    return median(o for o, _ in pairs), median(r for _, r in pairs), median(r / o for o, r in pairs)


class Bench:
    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self.count = count
        self.keys = clustered(count, rng, count)
        self.queries = clustered(2048, rng, count)
        self.rng = rng
        self.rows: list[dict[str, Any]] = []
        self._space: Namespace | None = None

    @property
    def space(self) -> Namespace:
        if self._space is None:
            started = time.perf_counter()
            self._space = filled(self.keys, self.count + 200_000)
            seconds = time.perf_counter() - started
            print(f"filled with {self.count:,} entries in {seconds:.1f} s, {seconds / self.count * 1e6:.0f} µs each")
        return self._space

    def raw(self) -> dict[str, Any]:
        """Raw faiss with its defaults, and with the links and candidates that the namespace uses."""
        defaults = faiss.IndexHNSWFlat(DIMENSION, 32)
        same = faiss.IndexHNSWFlat(DIMENSION, M)
        same.hnsw.efConstruction = EF_CONSTRUCTION
        same.hnsw.efSearch = getattr(getattr(index_of(self.space), "_graph", None), "ef_search", MIN_EF_SEARCH)
        for index in (defaults, same):
            index.add(self.keys)
        return {"faiss HNSW, its defaults (M 32, ef 16)": defaults, f"faiss HNSW, M {M}, ef {same.hnsw.efSearch}": same}

    def report(self, name: str, value: float, unit: str, baseline: float, ratio: float, bar: str, ok: bool) -> None:
        self.rows.append(
            {"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "bar": bar, "ok": ok}
        )
        figures = f"{value:10.3f} {unit:6} baseline {baseline:10.3f}  ratio {ratio:7.3f}"
        print(f"{name:66} {figures}  {bar:9} {'ok' if ok else 'NO'}")

    def single(self) -> None:
        for name, index in self.raw().items():
            ours, raw, ratio = alternating(
                lambda: timed(lambda key: self.space.lookup("key", key, K), self.queries),
                lambda index=index: timed(lambda key: index.search(key[None], K), self.queries),  # type: ignore[misc]
            )
            self.report(f"lookup of one key / {name}", ours * 1e6, "µs", raw * 1e6, ratio, "≥ 0.70", ratio >= 0.7)

    def batch(self) -> None:
        parts = self.queries.reshape(-1, 256, DIMENSION)
        for name, index in self.raw().items():
            ours, raw, ratio = alternating(
                lambda: timed(lambda keys: self.space.lookup_many("key", keys, K), parts),
                lambda index=index: timed(lambda keys: index.search(keys, K), parts),  # type: ignore[misc]
            )
            each = 1e6 / 256
            self.report(
                f"lookup of 256 keys / {name}", ours * each, "µs/key", raw * each, ratio, "≥ 0.60", ratio >= 0.6
            )

    def recall(self) -> None:
        _, truth = faiss.knn(self.queries[:500], self.keys, K)
        found = [self.space.lookup("key", key, K) for key in self.queries[:500]]
        ids = [{self.space.entry_id(slot) // 7919 for slot in each.slots} for each in found]
        recall = float(np.mean([len(set(true.tolist()) & each) / K for true, each in zip(truth, ids, strict=True)]))
        self.report(f"recall at {K} of {self.count:,}", recall, "", 1.0, recall, "≥ 0.95", recall >= 0.95)

    def growth(self) -> None:
        small_keys = clustered(1000, self.rng, 1000)
        small, queries = filled(small_keys, 2000), clustered(2048, self.rng, 1000)
        large = self.space
        ours, base, ratio = alternating(
            lambda: timed(lambda key: large.lookup("key", key, K), self.queries),
            lambda: timed(lambda key: small.lookup("key", key, K), queries),
        )
        growth = 1 / ratio
        self.report(f"lookup among {self.count:,} / 1,000", ours * 1e6, "µs", base * 1e6, growth, "≤ 3", growth <= 3)

    def pauses(self, seconds: float = 60.0, rate: float = 500.0) -> None:
        """Look up all the time and insert 500 a second; beside it, what the machine itself does to an idle loop."""
        fresh = clustered(int(seconds * rate), self.rng, self.count)
        for name, insert in (("nothing inserted", False), (f"{rate:.0f} inserted a second", True)):
            lookups, inserts, done = [], [], 0
            started = time.perf_counter()
            number = 0
            while (now := time.perf_counter()) - started < seconds / (1 if insert else 3):
                key = self.queries[number % len(self.queries)]
                self.space.lookup("key", key, K)
                after = time.perf_counter()
                lookups.append(after - now)
                number += 1
                if insert and done < (after - started) * rate and done < len(fresh):
                    self.space.insert(entry(10**12 + done * 7919, fresh[done]), 1)
                    done += 1
                    inserts.append(time.perf_counter() - after)
            for what, values in (("lookup", lookups), ("insert", inserts)):
                if values:
                    p50, p999, most = (np.quantile(values, q) * 1e3 for q in (0.5, 0.999, 1.0))
                    over = sum(1 for value in values if value > 0.005)
                    print(
                        f"{name}: {what} p50 {p50:.3f} ms, p99.9 {p999:.3f} ms, longest {most:.2f} ms, {over} over 5 ms"
                    )
            if insert:
                p999, most = np.quantile(lookups, 0.999) * 1e3, max(*lookups, *inserts) * 1e3
                self.report("p99.9 of lookups while inserting", p999, "ms", 10.0, p999 / 10, "≤ 10 ms", p999 <= 10)
                self.report("longest pause while inserting", most, "ms", 5.0, most / 5, "≤ 5 ms", most <= 5)

    def memory(self) -> None:
        """The process's resident memory per entry, less 4 bytes a number and 200 of result."""
        self._space = None
        gc.collect()
        before = resident_bytes()
        space = self.space
        gc.collect()
        each = (resident_bytes() - before) / len(space) - 4 * DIMENSION - 200
        self.report("bytes per entry beyond key and result", each, "B", 400.0, each / 400, "≤ 400", each <= 400)
        print(f"its own estimate: {space.memory_bytes() / len(space) - 4 * DIMENSION - 200:.0f} B")


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise SystemExit("resident memory is read from /proc, which this machine does not have")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which of {', '.join(ROWS)}")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = arguments.rows or ["single", "batch", "recall", "growth"]
    if set(rows) - set(ROWS):
        parser.error(f"no row {sorted(set(rows) - set(ROWS))}; there are {', '.join(ROWS)}")
    bench = Bench(arguments.keys)
    for row in sorted(rows, key=("memory", *ROWS[:-1]).index):
        getattr(bench, row)()
    if arguments.json:
        arguments.json.write_text(json.dumps(bench.rows, indent=1))


if __name__ == "__main__":
    main()
