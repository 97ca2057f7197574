"""When a projection is learned, taken over, taken off, and what outlives a restart."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.learning import projections
from likewise.learning.projections import LONGEST_WAIT, Projector, learning_executor
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Result

DIMENSION = 40


def labeled(count, labels=30, noise=1.0, seed=3):
    """Return keys of 40 numbers: labels differ in the first 8, noise of that size lies on the others."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(labels, 8))
    ids = rng.integers(0, labels, count)
    keys = 0.15 * rng.normal(size=(count, DIMENSION))
    keys[:, :8] += centers[ids]
    keys[:, 8:] += noise * rng.normal(size=(count, DIMENSION - 8))
    return keys.astype(np.float32), ids


def namespace(dimension=DIMENSION, capacity=5000):
    return Namespace("f@1", {"v": dimension}, capacity, 1 << 30, 60.0, lambda: 1.0, index_options={"background": False})


@pytest.fixture
def space():
    return namespace()


def feed(space, projector, keys, labels, first=0):
    for number, (key, label) in enumerate(zip(keys, labels, strict=True), first):
        space.insert(Entry(number, {"v": key}, Result(b"{}"), 0.1, 0.0, float("inf")), int(label))
        projector.tend()


def rightly_answered(space, keys, labels):
    return sum(space.lookup("v", key, 1).labels == [label] for key, label in zip(keys, labels, strict=True))


def test_it_turns_on_where_it_helps(space):
    """From 100 entries on; the nearest neighbor is right far more often than by the keys as they are."""
    keys, labels = labeled(400)
    queries, truth = labeled(100, seed=4)
    projector = Projector(space, "v", None)
    feed(space, projector, keys[:99], labels[:99])
    assert (projector.fits, projector.projection) == (0, None)
    feed(space, projector, keys[99:], labels[99:], 99)
    assert projector.projection is not None
    assert projector.fits == 4  # at 100, 150, 225 and 337
    by_projection = rightly_answered(space, queries, truth)
    space.project("v", None)
    assert by_projection > rightly_answered(space, queries, truth) + 20


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param({"labels": 10}, id="few labels"),
        pytest.param({"noise": 0.0}, id="nothing to gain"),
    ],
)
def test_it_stays_off_where_it_does_not_help(space, stream):
    """Evidence is weighed again and again, and the keys stay as they are."""
    projector = Projector(space, "v", None)
    feed(space, projector, *labeled(400, **stream))
    assert projector.fits == 4
    assert projector.projection is None


def test_it_is_taken_off_where_it_no_longer_helps(space):
    """When keys as they are answer more of what is new, a later fit says so."""
    projector = Projector(space, "v", None, recent=400)
    feed(space, projector, *labeled(400))
    assert projector.projection is not None
    # Three clusters for each label, in all directions: what tells them apart is what differs within a label.
    rng = np.random.default_rng(5)
    at = rng.integers(0, 60, 1000)
    keys = (rng.normal(size=(60, DIMENSION))[at] + 0.7 * rng.normal(size=(1000, DIMENSION))).astype(np.float32)
    feed(space, projector, keys, at % 20, 400)
    assert projector.projection is None
    assert space.lookup("v", keys[-1], 1).distances[0] == pytest.approx(0, abs=1e-3)


def test_learning_happens_beside_the_requests(space):
    """Insertions and lookups go on while the executor learns; what it found is taken over by a later call."""
    keys, labels = labeled(400)
    with ThreadPoolExecutor(1) as executor:
        go_on = threading.Event()
        executor.submit(go_on.wait, 20)
        projector = Projector(space, "v", executor)
        projector.tend()
        assert not projector.learning
        for number, key in enumerate(keys):
            space.insert(Entry(number, {"v": key}, Result(b"{}"), 0.1, 0.0, float("inf")), int(labels[number]))
        projector.tend()
        projector.tend()
        assert projector.learning
        assert projector.projection is None
        assert space.lookup("v", keys[0], 1).distances == [0.0]
        go_on.set()
    projector.tend()
    assert not projector.learning
    assert projector.projection is not None
    assert projector.fits == 1


def test_what_cannot_be_learned_from_leaves_the_keys_as_they_are(space, monkeypatch, caplog):
    """A failure in the executor is logged and costs nothing else."""

    def fail(*_, **__):
        raise np.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(projections, "learn_projection", fail)
    projector = Projector(space, "v", None)
    feed(space, projector, *labeled(100))
    assert (projector.fits, projector.projection) == (1, None)
    assert "did not converge" in caplog.text


def test_it_comes_back_after_a_restart(space):
    """Through JSON; entries that come later are searched by it from the first on."""
    keys, labels = labeled(400)
    projector = Projector(space, "v", None)
    feed(space, projector, keys, labels)
    space.invalidate(ids=range(300))
    kept = json.loads(json.dumps(projector.state()))
    after = namespace()
    again = Projector(after, "v", None)
    feed(after, again, keys[:50], labels[:50])
    again.restore(kept)
    feed(after, again, keys[50:90], labels[50:90], 50)
    assert again.fits == projector.fits == 4  # the 100 entries kept are those that it was learned from
    queries, _ = labeled(20, seed=6)
    expected = again.projection.many(keys[:90]) @ again.projection.many(queries).T
    found = [after.lookup("v", query, 1).slots[0] for query in queries]
    assert found == expected.argmax(axis=0).tolist()
    feed(after, again, *labeled(210, seed=8), 1000)
    assert again.fits == 5  # at 506 insertions in both lives
    again.restore({"fits": 9, "seen": 90, "entries": 90, "projection": None})
    assert (again.fits, again.projection) == (9, None)
    assert after.lookup("v", keys[3], 1).slots == [3]


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"fits": "x", "seen": 1, "entries": 1, "projection": None},
        {"fits": 1, "seen": 1, "entries": 1, "projection": {"mean": [0, 0], "matrix": [[1], [1]]}},
        {"fits": 1, "seen": 1, "entries": 1, "projection": {"mean": [0, 0]}},
    ],
)
def test_a_state_that_does_not_fit_is_refused(space, state):
    """Broken, or of keys of another length: it says so, and nothing changes."""
    projector = Projector(space, "v", None)
    with pytest.raises(InvalidValue, match="learned again"):
        projector.restore(state)
    assert (projector.fits, projector.projection) == (0, None)


def test_it_follows_a_long_stream(monkeypatch, space):
    """However many entries there were, it is learned anew within so many more."""
    weighed = []
    monkeypatch.setattr(projections, "learn_projection", lambda keys, *_, **__: weighed.append(len(keys)))
    space = namespace(dimension=1, capacity=10)
    projector = Projector(space, "v", None, recent=5)
    for inserted in range(20_000, 20_000 + 2 * LONGEST_WAIT + 1, 100):
        monkeypatch.setattr(space, "statistics", lambda count=inserted: {"insertions": count})
        projector.tend()
    assert len(weighed) == 3


def test_the_learning_thread_gives_way():
    """One thread, less urgent than those that answer requests."""
    with learning_executor() as executor:
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        theirs = executor.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result(20)
        assert theirs >= min(19, max(own, 10))
