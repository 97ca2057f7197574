"""Wrappers pass everything on, and whoever begins a build in the background ends it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from likewise.index import moves
from likewise.index.auto import AutoIndex
from likewise.index.contenders import Contenders
from likewise.index.hnsw import HnswIndex
from likewise.index.keyed import KeyedIndex
from likewise.index.make import make_index
from likewise.index.projected import ProjectedIndex
from likewise.index.trials import Measured, Questions
from likewise.lookup.bulk import hold, release
from likewise.lookup.namespace import Namespace

DIMENSION = 6
WAIT_S = 30


class Linear:
    """key -> key @ matrix; waits for a signal where it is given one, before it projects other than the first zeros."""

    def __init__(self, dimension: int = 3, gate: Gate | None = None) -> None:
        self.dimension = dimension
        self.gate = gate
        self.matrix = np.random.default_rng(0).normal(size=(DIMENSION, dimension)).astype(np.float32)

    def one(self, key: np.ndarray) -> np.ndarray:
        return key @ self.matrix

    def many(self, keys: np.ndarray) -> np.ndarray:
        if self.gate is not None and keys.any():
            self.gate.pass_through()
        return np.ascontiguousarray(keys @ self.matrix)


class Gate:
    """A place in a build where a test stops it."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self.entered.set()
        assert self.opened.wait(WAIT_S)


def keys(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)


@pytest.fixture(autouse=True)
def _frees_the_only_place() -> Iterator[None]:
    """Whatever a test does, builds end by themselves and the next may begin."""
    yield
    assert moves._building.acquire(timeout=WAIT_S)
    moves._building.release()


def graph_after(limit: int) -> Callable[[int], KeyedIndex]:
    return lambda dimension: make_index("auto", dimension, exact_limit=limit)


def gated(monkeypatch: pytest.MonkeyPatch, stage: str, gate: Gate) -> dict[str, Any]:
    """Stop builds at a stage; return options of an AutoIndex that comes to it."""
    options: dict[str, Any] = {"first_trial": 100, "measure": lambda *_: Measured(1.0, 0.5)}
    if stage == "measuring":

        def judge(kind: str, index: KeyedIndex, questions: Questions) -> Measured:
            gate.pass_through()
            return Measured(1.0, 0.5)

        options["measure"] = judge
    target, name = {
        "filling": (moves, "fill"),
        "asking": (Questions, "__init__"),
        "arranging": (HnswIndex, "arrange"),
        "emptying": (Contenders, "empty"),
    }.get(stage, (None, ""))
    if target is not None:
        original = getattr(target, name)

        def stopped(*args: Any, **more: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                gate.pass_through()
            return original(*args, **more)

        if stage == "filling":
            monkeypatch.setattr("likewise.index.contenders.fill", stopped)
        else:
            monkeypatch.setattr(target, name, stopped)
    return options


STAGES = ["emptying", "filling", "asking", "measuring", "arranging"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_closed_index_frees_the_place_for_builds(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """Wherever its build was, it ends without a result, and another index' build gets its turn."""
    gate = Gate()
    index = make_index("auto", DIMENSION, **gated(monkeypatch, stage, gate))
    index.add(np.arange(300), keys(300))
    assert gate.entered.wait(WAIT_S)
    index.close()
    gate.opened.set()
    assert moves._building.acquire(timeout=WAIT_S)
    moves._building.release()
    index.settle(WAIT_S)
    assert not index.moving
    assert index.kind == "exact"
    assert index.search_one(keys(300)[7], 1)[1] == [7]
    index.add(np.arange(300, 900), keys(600, 1))
    assert not index.moving


@pytest.mark.parametrize("stage", [*STAGES, "projecting"])
@pytest.mark.parametrize("end", ["close", "replace"])
def test_a_projection_given_up_frees_the_place_for_builds(
    monkeypatch: pytest.MonkeyPatch, stage: str, end: str
) -> None:
    """The index for it may be at a trial of its own: closing, or another projection, ends that too."""
    gate = Gate()
    options = gated(monkeypatch, stage, gate)
    plain = make_index("exact", DIMENSION)
    index = ProjectedIndex(plain, lambda dimension: make_index("auto", dimension, **options))
    index.add(np.arange(300), keys(300))
    index.project(Linear(gate=gate if stage == "projecting" else None))
    assert gate.entered.wait(WAIT_S)
    move = index._move
    assert move is not None
    if end == "close":
        index.close()
    else:
        index.project(None)
    gate.opened.set()
    move.join(WAIT_S)
    assert move.rejected
    index.settle(WAIT_S)
    assert not index.moving
    assert index.projection is None
    assert index.search_one(keys(300)[7], 1)[1] == [7]


@pytest.mark.parametrize("projected", [False, True])
def test_closing_reaches_the_build_of_what_is_wrapped(projected: bool) -> None:
    """A wrapper owns the index inside: its replacement is given up with it, be it projected or not."""
    index = ProjectedIndex(graph_after(50)(DIMENSION), graph_after(50))
    if projected:
        index.project(Linear())
        index.settle(WAIT_S)
    with moves._building:
        index.add(np.arange(60), keys(60))
        assert index.moving
        index.close()
        assert not index.moving
    index.settle(WAIT_S)
    assert index.kind == "exact"


def test_what_a_projection_replaces_gives_up_its_build() -> None:
    """The index before it, and that of the projection before it, would build for nobody."""
    index = ProjectedIndex(graph_after(50)(DIMENSION), graph_after(50), background=False)
    with moves._building:
        index.add(np.arange(60), keys(60))
        plain = index._current
        assert plain.moving
        index.project(Linear())
        assert not plain.moving
        projected = index._current
        index.add(np.arange(60, 70), keys(10, 1))
        index.project(Linear(2))
        assert not projected.moving
    assert index.kind == "hnsw"


def test_an_index_wrapped_during_a_bulk_load_is_released_with_the_others() -> None:
    """A projection restored amid a replay does not leave its key type scanned for good."""
    options = {"index_options": {"background": False, "exact_limit": 100}}
    space = Namespace("f@1", {"a": DIMENSION, "b": DIMENSION}, 1000, 1 << 20, 60.0, lambda: 1.0, **options)
    hold(space)
    space.project("a", Linear())
    for index in space._indexes.values():
        index.add(np.arange(300), keys(300))
    assert space.kinds() == {"a": "exact", "b": "exact"}
    release(space)
    assert space.kinds() == {"a": "hnsw", "b": "hnsw"}


def test_a_projection_that_ends_amid_a_bulk_load_waits_with_the_others() -> None:
    """What comes into use meanwhile is held as well."""
    index = ProjectedIndex(graph_after(100)(DIMENSION), graph_after(100))
    index.hold(1000)
    index.add(np.arange(90), keys(90))
    index.project(Linear())
    index.settle(WAIT_S)
    assert index.projection is not None
    index.add(np.arange(90, 300), keys(210, 1))
    assert not index.moving
    assert index.kind == "exact"
    index.release()
    index.settle(WAIT_S)
    assert index.kind == "hnsw"
    assert index.held is None


def test_nothing_is_built_on_the_loop_when_a_projection_comes_into_use() -> None:
    """The last changes may make a build due: it comes in a thread."""
    gate = Gate()
    index = ProjectedIndex(make_index("exact", DIMENSION), graph_after(100))
    index.add(np.arange(98), keys(98))
    index.project(Linear(gate=gate))
    assert gate.entered.wait(WAIT_S)
    for slot in range(98, 104):
        index.add(np.array([slot]), keys(1, slot))
    gate.opened.set()
    with moves._building:
        while index.projection is None:
            index.search_one(keys(1)[0], 1)
        assert index.kind == "exact"
        assert index.moving
    index.settle(WAIT_S)
    assert index.kind == "hnsw"
    assert len(index) == 104


def test_waiting_ends_in_time() -> None:
    """A build that takes longer goes on."""
    index = AutoIndex(DIMENSION, exact_limit=50)
    with moves._building:
        index.add(np.arange(60), keys(60))
        index.settle(0.01)
        assert index.moving
    index.settle(WAIT_S)
    assert index.kind == "hnsw"


LEAVING = """
import numpy as np
from likewise.index.auto import AutoIndex
index = AutoIndex(16, exact_limit=100)
index.add(np.arange(20_000), np.random.default_rng(0).normal(size=(20_000, 16)).astype(np.float32))
assert index.moving
held = [[number] for number in range(2_000_000)]  # takes a moment to free, while the thread wants to go on
print("left")
"""


def test_a_process_may_end_amid_a_build() -> None:
    """The thread is waited for: cut off inside faiss, it would abort the process."""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, b"left\n"), done.stderr
