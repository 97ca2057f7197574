"""Namespaces whose indexes are kept in a file, and the same after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from likewise.index.trials import Measure, Measured
from likewise.lookup.bulk import blocks, hold, insert_block
from likewise.lookup.namespace import Namespace
from likewise.lookup.saved import restore, save
from likewise.types import Entry, Result

DIMENSION = 8
COUNT = 3000
DIGEST = "d1"


class Linear:
    """key -> key @ matrix."""

    def __init__(self, dimension: int = 4, seed: int = 0) -> None:
        self.dimension = dimension
        self.matrix = np.random.default_rng(seed).normal(size=(DIMENSION, dimension)).astype(np.float32)

    def one(self, key: np.ndarray) -> np.ndarray:
        return key @ self.matrix

    def many(self, keys: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(keys @ self.matrix)


def prefers(kind: str) -> Measure:
    """Return what takes one kind; lists are looked through as far as a trial would ask for such keys."""
    effort = 0.3 if kind.startswith("ivf") else None
    return lambda each, index, questions: Measured(1.0, 0.5 if each == kind else 2.0, effort)


def keys(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)


def entry(number: int, key: np.ndarray) -> Entry:
    return Entry(number, {"v": key}, Result(b"{}"), 0.1, 0.0, float("inf"))


def space(kind: str = "hnsw", **options: Any) -> Namespace:
    more = {"background": False, "first_trial": 500, "measure": prefers(kind), **options}
    return Namespace("f@1", {"v": DIMENSION}, 20_000, 1 << 30, 60.0, lambda: 1.0, index_options=more)


def filled(kind: str = "hnsw", count: int = COUNT, **options: Any) -> Namespace:
    made = space(kind, **options)
    for number, key in enumerate(keys(count)):
        made.insert(entry(number + 1, key), 0)
    for number in range(0, count, 10):  # some tombstones among them
        made.remove(made.slot_of(number + 1))
    assert made.kinds() == {"v": kind}
    return made


def kept(source: Namespace, path: Path) -> None:
    asyncio.run(save([source], path, DIGEST))


def restarted(
    source: Namespace, path: Path, *, kind: str = "hnsw", less: int = 0, more: int = 0, projection: Any = None,
    digest: str = DIGEST, **options: Any
) -> tuple[Namespace, int]:  # fmt: skip
    """Return a namespace with the same entries, but for some that went or came, and how many are restored."""
    target = space(kind, **options)
    hold(target)
    for block in blocks(source):
        bodies = [b"{}"] * len(block)
        insert_block(target, block, bodies, [0] * len(block))
    for number in range(2, 2 + 3 * less, 3):
        target.remove(target.slot_of(number))
    for number, key in enumerate(keys(more, 9)):
        target.insert(entry(10**6 + number, key), 0)
    if projection is not None:
        target.project("v", projection)
    count = asyncio.run(restore([target], path, digest))
    return target, count


def found(of: Namespace, queries: np.ndarray) -> list[list[int]]:
    return [[of.entry_id(slot) for slot in of.lookup("v", query, 10).slots] for query in queries]


def share(a: list[list[int]], b: list[list[int]]) -> float:
    return float(np.mean([len(set(x) & set(y)) / 10 for x, y in zip(a, b, strict=True)]))


def truth(of: Namespace, queries: np.ndarray) -> list[list[int]]:
    slots = of._columns.live()
    every = of._indexes["v"].keys(slots)
    return [
        [of.entry_id(int(slot)) for slot in slots[np.argsort(((every - query) ** 2).sum(axis=1))[:10]]]
        for query in queries
    ]
