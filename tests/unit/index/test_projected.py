"""An index that searches projections: the same keys in and out, other neighbors."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.index.make import make_index
from likewise.index.projected import ProjectedIndex
from likewise.index.store import ROWS, KeyStore
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Result

DIMENSION = 6


class Linear:
    """key -> key @ matrix."""

    def __init__(self, dimension=2, seed=0):
        self.dimension = dimension
        self.matrix = np.random.default_rng(seed).normal(size=(DIMENSION, dimension)).astype(np.float32)

    def one(self, key):
        return key @ self.matrix

    def many(self, keys):
        return np.ascontiguousarray(keys @ self.matrix)


class Held(Linear):
    """Waits for a signal when it projects many keys, but not the single row of zeros that is tried first."""

    def __init__(self):
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def many(self, keys):
        if keys.any():
            self.entered.set()
            assert self.go_on.wait(300)
        return super().many(keys)


def wrap(*, background=False, kind="auto", **options):
    def make(dimension):
        return make_index(kind, dimension, **options)

    return ProjectedIndex(make(DIMENSION), make, background=background)


def random_keys(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)


def slots_of(*slots):
    return np.array(slots, np.int64)


def nearest(keys, query, projection, k=5):
    far = ((projection.many(keys) - projection.one(query)) ** 2).sum(axis=1)
    order = np.argsort(far, kind="stable")[:k]
    return far[order], order


@pytest.mark.parametrize("kind", ["auto", "exact", "hnsw", "ivf", "ivf-sq8", "alsh"])
@pytest.mark.parametrize("background", [False, True], ids=["inline", "background"])
def test_neighbors_are_those_of_the_projections(kind, background):
    """After a projection, distances and order are those between projected keys; keys come out as they went in."""
    index, keys, projection = wrap(background=background, kind=kind), random_keys(300), Linear()
    index.add(np.arange(300), keys)
    index.project(projection)
    index.settle()
    assert index.projection is projection
    assert not index.moving
    assert index.dimension == DIMENSION
    assert len(index) == 300
    for query in random_keys(20, 2):
        far, order = nearest(keys, query, projection)
        l2_sq, slots = index.search_one(query, 5)
        many_l2_sq, many = index.search(query[None], 5)
        if kind in ("auto", "exact"):
            assert slots == order.tolist() == many[0].tolist()
            assert l2_sq == pytest.approx(far.tolist(), rel=1e-3, abs=1e-5)
            assert many_l2_sq[0] == pytest.approx(far, rel=1e-3, abs=1e-5)
        else:
            assert l2_sq == pytest.approx(
                ((projection.many(keys[slots]) - projection.one(query)) ** 2).sum(axis=1).tolist(), rel=1e-3, abs=1e-5
            )
    assert np.array_equal(index.keys(slots_of(7, 299, 0)), keys[[7, 299, 0]])
    assert sorted(index.slots().tolist()) == list(range(300))


def test_it_goes_back_to_the_keys_as_they_are():
    """None takes a projection off again; nothing was lost."""
    index, keys = wrap(), random_keys(50)
    index.add(np.arange(50), keys)
    index.project(Linear())
    index.project(Linear(3, seed=5))
    index.remove(slots_of(4))
    index.project(None)
    assert index.projection is None
    far = ((keys - keys[9]) ** 2).sum(axis=1)
    far[4] = np.inf
    assert index.search_one(keys[9], 4)[1] == np.argsort(far)[:4].tolist()


def test_lookups_go_on_while_entries_are_re_embedded():
    """Until all is projected lookups see the old index; what came and went meanwhile is in the new one."""
    index, keys, projection = wrap(background=True), random_keys(60), Held()
    index.add(np.arange(40), keys[:40])
    index.project(projection)
    assert projection.entered.wait(300)
    index.add(np.arange(40, 60), keys[40:])
    index.remove(slots_of(3, 41, 999))
    index.add(slots_of(3), keys[5:6])
    assert index.moving
    assert index.projection is None
    assert index.search_one(keys[50], 1)[1] == [50]
    assert set(index.search_one(keys[5], 2)[1]) == {3, 5}
    assert index.search(keys[50:51], 1)[1].tolist() == [[50]]
    projection.go_on.set()
    index.settle(20)
    assert index.projection is projection
    assert len(index) == 59
    assert 41 not in index.search_one(keys[41], 59)[1]
    assert set(index.search_one(keys[5], 2)[1]) == {3, 5}
    assert np.array_equal(index.keys(slots_of(3, 50)), keys[[5, 50]])


def test_the_last_projection_wins():
    """A projection that comes while another is on its way takes its place; closing gives up."""
    index, keys, slow, quick = wrap(background=True), random_keys(20), Held(), Linear(1, seed=3)
    index.add(np.arange(20), keys)
    index.project(slow)
    assert slow.entered.wait(300)
    index.project(quick)
    slow.go_on.set()
    index.settle(20)
    assert index.projection is quick
    index.project(None)
    index.close()
    assert not index.moving


def test_a_projection_that_breaks_leaves_all_as_it_was(caplog):
    """What fails in the background is logged, and lookups go on by what they had."""

    class Broken(Linear):
        def many(self, keys):
            if keys.any():
                raise ValueError("no")
            return super().many(keys)

    index, keys = wrap(background=True), random_keys(20)
    index.add(np.arange(20), keys)
    index.project(Broken())
    index.settle(20)
    assert index.projection is None
    assert index.search_one(keys[3], 1)[1] == [3]
    assert "could not be built" in caplog.text


def test_a_projection_of_other_keys_is_refused():
    """One that promises another dimension than it makes is told at once."""
    odd = Linear(2)
    odd.dimension = 3
    with pytest.raises(InvalidValue, match="fit anew"):
        wrap().project(odd)


def test_it_can_be_measured_and_copied():
    """Memory counts both sorts of keys and comes back; a snapshot has the keys as they came."""
    index, keys = wrap(), random_keys(3 * ROWS)
    index.add(np.arange(3 * ROWS), keys)
    index.project(Linear())
    full = index.memory_bytes()
    assert full > keys.nbytes
    assert not index.worn
    copied = {slot: key for slots, part in index.snapshot(100) for slot, key in zip(slots, part, strict=True)}
    assert all(np.array_equal(copied[slot], keys[slot]) for slot in range(0, 3 * ROWS, 97))
    index.remove(np.arange(3 * ROWS))
    assert len(index) == 0
    assert index.memory_bytes() < full / 2
    with pytest.raises(InvalidValue, match="shape"):
        index.add(slots_of(1), np.zeros((1, 2), np.float32))
    index.add(slots_of(8), keys[:1])
    with pytest.raises(InvalidValue, match="already"):
        index.add(slots_of(8), keys[1:2])
    assert np.array_equal(index.keys(slots_of(8)), keys[:1])


def test_the_store_gives_blocks_back():
    """A block is there while a slot of it is in use."""
    store = KeyStore(2)
    assert store.nbytes == 0
    store.put(slots_of(5, 5 + 2 * ROWS), np.array([[1, 2], [3, 4]], np.float32))
    assert store.nbytes == 2 * ROWS * 8 + 3 * ROWS
    store.drop(5)
    assert store.nbytes == ROWS * 8 + 3 * ROWS
    assert store.get(slots_of(5 + 2 * ROWS, 5, ROWS)).tolist() == [[3, 4], [0, 0], [0, 0]]


def entry(number, key):
    return Entry(number, {"a": key, "b": key[:2]}, Result(b"{}"), 0.1, 0.0, float("inf"))


@pytest.fixture
def space():
    options = {"index_options": {"background": False}}
    return Namespace("f@1", {"a": DIMENSION, "b": 2}, 40, 1 << 20, 60.0, lambda: 1.0, **options)


def test_a_namespace_looks_up_by_projections(space):
    """One key type's neighbors change, the other's and the entries stay; so it is after all were taken out."""
    keys, projection = random_keys(40), Linear()
    for number, key in enumerate(keys):
        space.insert(entry(number, key), number % 3)
    before = space.lookup("b", keys[0][:2], 5)
    space.project("a", projection)
    assert space.lookup("a", keys[7], 5).slots == nearest(keys, keys[7], projection)[1].tolist()
    assert space.lookup_many("a", keys[7:9], 5)[1].slots == nearest(keys, keys[8], projection)[1].tolist()
    assert space.lookup("b", keys[0][:2], 5) == before
    assert np.array_equal(space.entry(7).keys["a"], keys[7])
    assert space.memory_bytes() > 0
    space.invalidate(everything=True)
    for number, key in enumerate(keys):
        space.insert(entry(number, key), 0)
    assert space.lookup("a", keys[7], 5).slots == nearest(keys, keys[7], projection)[1].tolist()
    with pytest.raises(InvalidValue, match="no key type `c`"):
        space.project("c", None)


def test_the_newest_entries_are_what_is_learned_from(space):
    """Keys and labels of the last entries in the order in which they came, evicted ones left out."""
    keys = random_keys(50)
    for number, key in enumerate(keys):
        space.insert(entry(number, key), number)
    space.project("a", Linear())
    found, labels = space.newest("a", 10)
    assert labels.tolist() == list(range(40, 50))
    assert np.array_equal(found, keys[40:])
    found, labels = space.newest("b", 1000)
    assert len(labels) == 40
    assert np.array_equal(found, keys[labels][:, :2])


def test_empty_namespaces_have_nothing_to_learn_from(space):
    """No entries: no rows, of the right width."""
    found, labels = space.newest("a", 10)
    assert found.shape == (0, DIMENSION)
    assert labels.shape == (0,)
