"""The index that changes its kind by itself."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.index import moves
from likewise.index.auto import AutoIndex
from likewise.index.exact import ExactIndex
from likewise.index.hnsw import HnswIndex
from likewise.index.keyed import KeyedIndex
from likewise.index.make import make_index
from likewise.index.moves import Cancelled, Move, fill
from likewise.index.parts import Parts

DIMENSION = 8


def keys(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)


def copied(parts: Parts, cancelled: Cancelled) -> KeyedIndex | None:
    index = ExactIndex(DIMENSION)
    return index if fill(index, parts, cancelled) else None


def test_becomes_a_graph_as_it_grows_and_a_scan_again_as_it_shrinks() -> None:
    """The kind follows the count, and the keys stay."""
    index = AutoIndex(DIMENSION, background=False, exact_limit=100)
    index.add(np.arange(100), keys(100))
    assert index.kind == "exact"
    index.add(np.array([100]), keys(1, 1))
    assert index.kind == "hnsw"
    index.remove(np.arange(60))
    assert index.kind == "hnsw"
    index.remove(np.arange(60, 80))
    assert index.kind == "exact"
    assert sorted(index.slots().tolist()) == list(range(80, 101))
    assert not index.worn
    assert not index.moving


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_lookups_alone_take_over_a_replacement(many: bool) -> None:
    """After a bulk load, a graph that was built meanwhile comes into use though nothing more is added."""
    every = keys(600)
    index = AutoIndex(DIMENSION, exact_limit=500)
    with moves._building:
        index.add(np.arange(600, dtype=np.int64), every)
        move = index._move
    assert move is not None
    move.join(300)
    found = [index.search(every[:1], 1)[1][0, 0] if many else index.search_one(every[0], 1)[1][0] for _ in range(80)]
    assert index.kind == "hnsw"
    assert not index.moving
    assert set(found) == {0}


def test_answers_from_the_old_index_while_the_new_one_is_built() -> None:
    """Searches, additions and removals go on while another build holds the only place, and none is lost."""
    index = AutoIndex(DIMENSION, exact_limit=50)
    every = keys(400)
    with moves._building:
        for slot in range(300):
            index.add(np.array([slot]), every[slot : slot + 1])
            assert index.search_one(every[slot], 1)[1] == [slot]
        index.remove(np.arange(0, 300, 3))
        index.add(np.array([0]), every[399:400])
        assert index.moving
        assert index.kind == "exact"
    index.settle()
    assert index.kind == "hnsw"
    live = sorted({*range(300)} - {*range(0, 300, 3)} | {0})
    assert sorted(index.slots().tolist()) == live
    assert index.search_one(every[399], 1)[1] == [0]
    assert index.search_one(every[4], 1)[1] == [4]


def test_a_build_that_fails_leaves_the_index_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged, answers go on, and the next change tries again."""
    index = AutoIndex(DIMENSION, exact_limit=50)

    def fail(*_: object, **__: object) -> KeyedIndex:
        raise MemoryError("no room")

    build = index._contenders.build
    monkeypatch.setattr(index._contenders, "build", fail)
    with moves._building:  # hold the build back until it is looked at
        index.add(np.arange(60), keys(60))
        move = index._move
    assert move is not None
    move.join()
    monkeypatch.setattr(index._contenders, "build", build)
    assert index.search_one(keys(60)[5], 1)[1] == [5]
    assert "could not be built" in caplog.text
    index.add(np.array([60]), keys(1, 1))
    index.add(np.array([61]), keys(1, 2))
    index.settle()
    assert index.kind == "hnsw"
    assert len(index) == 62


def test_closing_gives_up_a_build() -> None:
    """A closed index goes on answering from what it has; the thread ends without a result."""
    index = AutoIndex(DIMENSION, exact_limit=50)
    with moves._building:
        index.add(np.arange(60), keys(60))
        move = index._move
        assert move is not None
        index.close()
        assert not index.moving
    move.join()
    assert not move.ready
    assert index.kind == "exact"
    index.close()


def test_the_loop_catches_up_a_few_changes_at_a_time() -> None:
    """A move that is ready with many changes outstanding is taken over in steps, none of them long."""
    source = ExactIndex(DIMENSION)
    source.add(np.arange(10), keys(10))
    move = Move(source, copied, background=False)
    for slot in range(10, 40):
        source.add(np.array([slot]), keys(1, slot))
        move.added(np.array([slot]), keys(1, slot))
    source.remove(np.array([3]))
    move.removed(np.array([3]))
    steps = 0
    while (target := move.finish()) is None:
        steps += 1
    assert steps == 3
    assert sorted(target.slots().tolist()) == sorted({*range(40)} - {3})


def test_many_threads_end() -> None:
    """No thread of an index outlives its work."""
    for seed in range(5):
        index = AutoIndex(DIMENSION, exact_limit=20)
        index.add(np.arange(200), keys(200, seed))
        index.settle()
        assert index.kind == "hnsw"
    for thread in threading.enumerate():
        if thread.name.startswith("likewise-index"):
            thread.join(300)
            assert not thread.is_alive()


def test_a_graph_outgrows_its_reserve() -> None:
    """More keys than were reserved for are taken all the same, with tombstones among them."""
    index = HnswIndex(DIMENSION, capacity=4096, rebuilds_itself=False)
    every = keys(6000)
    index.add(np.arange(4000), every[:4000])
    index.remove(np.arange(0, 4000, 4))
    index.add(np.arange(4000, 6000), every[4000:])
    assert index.worn
    assert index.dead == 1000
    assert len(index) == 5000
    assert [index.search_one(every[slot], 1)[1] for slot in (1, 4001, 5999)] == [[1], [4001], [5999]]
    assert 4 not in index.search_one(every[4], 10)[1]


@pytest.mark.parametrize(
    ("kind", "dimension", "options"),
    [
        ("tree", 8, {}),
        ("exact", 0, {}),
        ("exact", 8, {"links": 3}),
        ("ivf", 8, {"probe_share": 0.0}),
        ("alsh", 8, {"tables": 0}),
        ("alsh", 8, {"candidates_min": 500}),
    ],
)
def test_refuses_an_index_that_cannot_be_made(kind: str, dimension: int, options: dict[str, float]) -> None:
    """Unknown kinds and options out of range are named."""
    with pytest.raises(InvalidValue):
        make_index(kind, dimension, **options)


def test_a_slot_that_changed_hands_during_a_build_ends_with_its_last_key() -> None:
    """A scan's keys are read when the build comes to them; what was removed and added again meanwhile is told apart."""
    source = ExactIndex(DIMENSION)
    keys = np.random.default_rng(8).normal(size=(4000, DIMENSION)).astype(np.float32)
    source.add(np.arange(1000), keys[:1000])
    building, go_on = threading.Event(), threading.Event()

    def build(parts: Parts, cancelled: Cancelled) -> KeyedIndex | None:
        building.set()
        assert go_on.wait(300)
        return copied(parts, cancelled)

    move = Move(source, build, background=True)
    assert building.wait(300)
    live = dict(enumerate(keys[:1000]))
    rng = np.random.default_rng(9)
    for turn in range(3000):
        slot = int(rng.integers(0, 1500))
        if slot in live:
            source.remove(np.array([slot]))
            move.removed(np.array([slot]))
            del live[slot]
        else:
            key = keys[1000 + turn][None]
            source.add(np.array([slot]), key)
            move.added(np.array([slot]), key)
            live[slot] = key[0]
        if turn == 1500:
            go_on.set()  # the second half while it is built
    move.join(300)
    while (target := move.finish()) is None:
        pass
    assert sorted(target.slots().tolist()) == sorted(live)
    slots = np.array(sorted(live))
    np.testing.assert_array_equal(target.keys(slots), np.stack([live[slot] for slot in slots.tolist()]))


def test_a_scan_that_is_read_elsewhere_is_not_copied_when_a_key_goes() -> None:
    """Copying is a pause of the loop; keys that stay are read right all the same, wherever they were moved."""
    index = ExactIndex(DIMENSION)
    every = keys(3000)
    index.add(np.arange(2000), every[:2000])
    parts = index.snapshot(100)
    reading = iter(parts)
    seen = dict(zip(*(each.tolist() for each in next(reading)), strict=True))
    array = index._keys
    for turn, slot in enumerate(range(0, 900, 3)):
        index.remove(np.array([slot]))
        index.add(np.array([5000 + turn]), every[2000 + turn][None])
    assert index._keys is array
    for slots, held in reading:
        seen.update(zip(slots.tolist(), held.tolist(), strict=True))
    assert sorted(seen) == list(range(2000))
    for slot in {*range(2000)} - {*range(0, 900, 3)}:
        np.testing.assert_array_equal(seen[slot], every[slot])
