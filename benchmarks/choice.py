"""What the default index chooses for several kinds of keys, and how that compares with the other kinds.

    python -m benchmarks.choice                              2,000 to 200,000 keys; takes minutes
    python -m benchmarks.choice --keys 2000 10000 --only clustered
    python -m benchmarks.choice --data DIR --only signs      keys of traffic signs

Each kind is searched for keys that no trial has seen, in turns with a scan of all keys; its figures are recall of the
ten nearest and time as a multiple of the scan's, with the effort that the trial found for it. Regret: cost of the kind
chosen ÷ that of the cheapest kind that finds enough, where cost is a search and a tenth of an insertion, and in
brackets the same of a search alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from benchmarks.index import clustered
from likewise.evaluation.streams import load_stream
from likewise.index.auto import AutoIndex
from likewise.index.contenders import Contenders
from likewise.index.exact import ExactIndex
from likewise.index.hnsw import EF_CONSTRUCTION, M
from likewise.index.keyed import KeyedIndex
from likewise.index.make import make_index
from likewise.index.moves import CHUNK, fill
from likewise.index.trials import ADDING, RECALL
from likewise.types import Keys

QUERIES = 300
ALSH_LIMIT = 10_000
"""Most keys among which FoggyCache's tables, which `auto` does not try, are timed: they take 1,450 bytes each."""
TURNS = 3
SLACK = 0.02
"""A kind that finds so much less than the bar here still counts: the trial asked for other keys, and fewer."""

Draw = Callable[[int], Keys]


def drawn(data: Path | None) -> dict[str, Draw]:
    """Return for each name what draws so many keys, fewer where there are no more."""
    rng = np.random.default_rng(0)

    def uniform(count: int) -> Keys:
        return rng.random((count, 8), np.float32)

    def sphere(count: int) -> Keys:
        keys = rng.standard_normal((count, 64), np.float32)
        return keys / np.linalg.norm(keys, axis=1, keepdims=True)

    def signs(count: int) -> Keys:
        functions = Path(__file__).parent.parent / "functions"
        stream = load_stream(
            "signs", 0, requests=count, devices=8, data=data, functions=functions, truth="label", key_type=None
        )
        return stream.keys[np.random.default_rng(1).permutation(len(stream.keys))]

    draws: dict[str, Draw] = {
        "clustered": lambda count: clustered(count, rng, count),
        "uniform": uniform,
        "sphere": sphere,
    }
    return {**draws, "signs": signs} if data else draws


NAMES = {
    "clustered": "clusters of 50, 64 numbers",
    "uniform": "uniform, 8 numbers",
    "sphere": "no structure, 64 numbers",
    "signs": "traffic signs",
}


class Figures(NamedTuple):
    """What one kind does: seconds as multiples of a scan's search."""

    recall: float
    search: float
    cost: float


def timed(index: KeyedIndex, scan: ExactIndex, queries: Keys) -> Figures:
    """Return the figures of an index; the queries are in it afterwards."""
    spent: tuple[list[float], list[float]] = ([], [])
    shares = []
    for query in queries:
        found = []
        for contender, seconds in zip((index, scan), spent, strict=True):
            turns = []
            for _ in range(TURNS):
                started = time.thread_time()
                answer = contender.search_one(query, 10)
                turns.append(time.thread_time() - started)
            seconds.append(min(turns))
            found.append(answer[0])
        reach = found[1][-1] * (1 + 1e-4)
        shares.append(sum(l2_sq <= reach for l2_sq in found[0]) / len(found[1]))
    additions = []
    for number, query in enumerate(queries):
        slot = np.array([10**6 + number])
        started = time.thread_time()
        index.add(slot, query[None])
        additions.append(time.thread_time() - started)
    search, scanning = fmean(spent[0]), fmean(spent[1])
    return Figures(fmean(shares), search / scanning, (search + ADDING * median(additions)) / scanning)


def row(name: str, draw: Draw, count: int) -> str:
    """Measure one row: keys of one sort, so many of them."""
    keys = draw(count + QUERIES)
    keys, queries = keys[:-QUERIES], np.ascontiguousarray(keys[-QUERIES:])
    count, dimension = keys.shape
    scan, auto = ExactIndex(dimension), AutoIndex(dimension)
    auto.hold(count)
    for start in range(0, count, CHUNK):
        slots = np.arange(start, min(start + CHUNK, count))
        scan.add(slots, keys[slots])
        auto.add(slots, keys[slots])
    started = time.process_time()
    auto.release()
    auto.settle()
    seconds = time.process_time() - started
    chosen, measured = auto.kind, auto.measured
    del auto
    contenders = Contenders(dimension, m=M, ef_construction=EF_CONSTRUCTION, ef_search=None, precision="float32")
    figures = {}
    if count <= ALSH_LIMIT:
        tables = make_index("alsh", dimension)
        fill(tables, scan.snapshot(CHUNK), lambda: False)
        figures["alsh"] = timed(tables, scan, queries)
    for kind in ("exact", *(kind for kind in contenders.kinds if kind in measured)):
        effort = measured[kind].effort
        index = contenders.build(kind, scan.snapshot(CHUNK), count, lambda: False, effort)
        assert index is not None
        figures[kind] = timed(index, scan, queries)
        index.discard()
    enough = [each for each in figures.values() if each.recall >= RECALL - SLACK]
    cost = figures[chosen].cost / min(each.cost for each in enough)
    search = figures[chosen].search / min(each.search for each in enough)
    cells = [f"{figures[kind].search:.3f} ({figures[kind].recall:.2f})" if kind in figures else "" for kind in KINDS]
    return f"| {name} | {count:,} | {' | '.join(cells)} | {chosen} | {cost:.2f} ({search:.2f}) | {seconds:.1f} |"


KINDS = ("alsh", "ivf", "ivf-sq8", "hnsw")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, nargs="+", default=[2000, 10_000, 50_000, 200_000])
    parser.add_argument("--only", nargs="+", choices=NAMES)
    parser.add_argument("--data", type=Path, help="folder of the traffic signs, as for `likewise demo`")
    arguments = parser.parse_args()
    print(
        "| keys | count | alsh | ivf | ivf-sq8 | hnsw | chosen | regret | trial, CPU s |\n| --- " + "| --- " * 8 + "|"
    )
    for name, draw in drawn(arguments.data).items():
        if arguments.only is None or name in arguments.only:
            for count in arguments.keys:
                print(row(NAMES[name], draw, count), flush=True)


if __name__ == "__main__":
    main()
