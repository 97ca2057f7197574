"""The learned projection end to end: devices look vectors up and insert what they compute; the server finds out."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from likewise.errors import InvalidFunction
from likewise.function.assembly import Assembler, Defaults
from likewise.function.function import Function
from likewise.function.registry import Registry
from likewise.index.projected import ProjectedIndex
from likewise.inference.workers import Workers
from likewise.journal.memory import MemoryJournal
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.pipeline import Pipeline
from likewise.ports import Journal
from likewise.replication import Keeper
from likewise.requests import Answer, Asked
from likewise.types import Entry, Neighbors, Result

DIMENSION = 40
REQUESTS = 1500
Build = Callable[..., Function]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Build a function of 40-d vectors whose results devices compute; `keys` adds to its only key type."""
    with ThreadPoolExecutor(1) as executor:
        assembler = Assembler(
            Defaults(accuracy_target=0.9), Workers(executor, 1), executor, time.time, random.Random(7).random
        )

        def make(keys: str = "", reuse: str = "", metric: str = "l2") -> Function:
            folder = tmp_path / "vectors"
            folder.mkdir(exist_ok=True)
            (folder / "function.toml").write_text(
                '[input]\nkind = "array"\n'
                f'[[keys]]\nname = "v"\nextractor = "vector"\ndimension = {DIMENSION}\nmetric = "{metric}"\n'
                f"{keys}\n{reuse}\n"
            )
            return assembler.build(folder)

        yield make


def requests(labels: int, noise: float, count: int = REQUESTS) -> Iterator[tuple[np.ndarray, int]]:
    """Yield keys whose first 8 numbers tell labels apart; noise of that size lies on the other 32."""
    rng = np.random.default_rng(11)
    centers = rng.normal(size=(labels, 8))
    for _ in range(count):
        label = int(rng.integers(labels))
        key = 0.15 * rng.normal(size=DIMENSION)
        key[:8] += centers[label]
        key[8:] += noise * rng.normal(size=DIMENSION - 8)
        yield key.astype(np.float32), label


def settle(fn: Function) -> None:
    """Let what is being learned and re-embedded be taken over, so that the stream sees it at the same place always."""
    deadline = time.monotonic() + 300
    while any(projector.learning for projector in fn.projectors.values()):
        fn.tend()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    index = fn.namespace._indexes["v"]
    if isinstance(index, ProjectedIndex):
        index.settle(30)


def neighbors(fn: Function, key: np.ndarray) -> Neighbors:
    return fn.neighbors.look_up(Asked(fn.key_type, key))


def play(fn: Function, stream: Iterator[tuple[np.ndarray, int]], journal: Journal | None = None) -> SimpleNamespace:
    """Look up, and compute and insert where nothing is safe to reuse; count hits and false ones."""
    pipeline = Pipeline(journal or MemoryJournal(), time.time, 1 << 20)
    hits = false_hits = 0
    for key, label in stream:
        found = pipeline.lookup(fn, key)
        if isinstance(found, Answer):
            hits += 1
            false_hits += json.loads(found.result.body)["label"] != label
            continue
        result = Result(json.dumps({"label": label}).encode())
        entry = Entry(secrets.randbits(63), {"v": key}, result, 0.1, time.time(), time.time() + 3600)
        pipeline.insert(fn, entry, found.token)
        settle(fn)
    return SimpleNamespace(hits=hits, false_hits=false_hits)


def test_it_turns_on_and_raises_hits_where_noise_hides_what_matters(build: Build) -> None:
    """With the same stream, far more is reused than with the setting off, and the accuracy target holds."""
    fn = build()
    learned = play(fn, requests(labels=24, noise=0.8))
    plain = play(build('projection = "off"'), requests(labels=24, noise=0.8))
    assert fn.projectors["v"].projection is not None
    assert fn.statistics()["projections"] == {"v": 23}
    assert fn.statistics()["indexes"] == {"v": "exact"}
    assert learned.hits > plain.hits + REQUESTS // 10
    assert learned.false_hits <= 0.1 * REQUESTS
    sent = {key.tobytes() for key, _ in requests(labels=24, noise=0.8)}
    assert all(entry.keys["v"].tobytes() in sent for entry in fn.namespace.page(REQUESTS).entries)


@pytest.mark.parametrize(
    ("labels", "noise"),
    [pytest.param(24, 0.0, id="nothing hides it"), pytest.param(8, 0.3, id="few labels")],
)
def test_it_stays_off_where_there_is_nothing_to_gain(build: Build, labels: int, noise: float) -> None:
    """The evidence is weighed, the keys stay as they are, and hits are those of the setting off."""
    fn = build()
    for key, label in requests(labels, noise, 300):
        result = Result(json.dumps({"label": label}).encode())
        fn.keep(Entry(secrets.randbits(63), {"v": key}, result, 0.1, 0.0, 1e12), fn.labels.label(result))
        settle(fn)
    assert fn.projectors["v"].fits == 3
    assert fn.statistics()["projections"] == {"v": None}


@pytest.mark.parametrize(
    ("keys", "reuse"),
    [
        pytest.param('projection = "off"', "", id="off"),
        pytest.param("", '[reuse]\npolicy = "fixed"\n[reuse.options]\nthreshold = 0.2', id="a threshold of its own"),
    ],
)
def test_it_is_not_learned_where_it_may_not_be(build: Build, keys: str, reuse: str) -> None:
    """Switched off, or under a policy whose threshold holds for keys as they are."""
    fn = build(keys, reuse)
    assert fn.projectors == {}
    assert fn.statistics()["projections"] == {}


def write_projection(tmp_path: Path, kept: int = 8) -> Path:
    """Write a projection to the first numbers of a key into the version's folder."""
    path = tmp_path / "vectors" / "1" / "first.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"mean": [0.0] * DIMENSION, "matrix": np.eye(DIMENSION, kept).tolist()}))
    return path


def test_one_from_a_file_holds_from_the_first_lookup(build: Build, tmp_path: Path) -> None:
    """Noise that would hide the nearest entry is dropped, nothing else is learned, and keys come out as they came."""
    write_projection(tmp_path)
    fn = build('projection = "first.json"')
    assert fn.statistics()["projections"] == {"v": 8}
    assert fn.projectors == {}
    near, far, query = np.zeros((3, DIMENSION), np.float32)
    near[0], near[20], far[1], query[0] = 1.0, 50.0, 1.0, 1.0
    for number, key in enumerate((near, far)):
        fn.namespace.insert(Entry(number, {"v": key}, Result(b"{}"), 0.01, time.time(), time.time() + 60), number)
    settle(fn)
    found = neighbors(fn, query)
    assert found.labels == [0, 1]
    assert found.distances == pytest.approx([0.0, 2**0.5], abs=1e-3)
    assert fn.namespace.newest("v", 2)[0][0] == pytest.approx(near)


def test_one_from_a_file_may_be_a_network_beside_the_keys(build: Build, tmp_path: Path) -> None:
    """Of two keys that are as near, the one that it believes to be of the same class is nearer."""
    matrix = np.zeros((DIMENSION, 2))
    matrix[:3] = [[1, 0], [1, 0], [0, 1]]
    state = {"mean": [0.0] * DIMENSION, "layers": [{"matrix": matrix.tolist(), "bias": [0, 0]}], "weight": 0.5}
    write_projection(tmp_path).write_text(json.dumps(state | {"directions": [[20, 0], [0, 20]]}))
    with pytest.raises(InvalidFunction, match=r"first\.json: has `layers`.* metric l2; give it metric cosine"):
        build('projection = "first.json"')
    fn = build('projection = "first.json"', metric="cosine")
    assert fn.statistics()["projections"] == {"v": DIMENSION + 2}
    alike, other, query = np.eye(DIMENSION, dtype=np.float32)[[1, 2, 0]]
    for number, key in enumerate((other, alike)):
        fn.namespace.insert(Entry(number, {"v": key}, Result(b"{}"), 0.01, time.time(), time.time() + 60), number)
    settle(fn)
    found = neighbors(fn, query)
    assert found.labels == [1, 0]
    assert found.distances == pytest.approx([1.6**0.5, 2**0.5], abs=1e-3)
    assert fn.namespace.newest("v", 2)[0][1] == pytest.approx(alike)


def test_one_from_a_file_is_not_for_policies_with_thresholds(build: Build, tmp_path: Path) -> None:
    """Their distances are those of the keys as they are."""
    write_projection(tmp_path)
    fn = build('projection = "first.json"', '[reuse]\npolicy = "fixed"\n[reuse.options]\nthreshold = 0.2')
    assert fn.statistics()["projections"] == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("{", "holds no projection", id="no JSON"),
        pytest.param("[1]", "holds no projection", id="no object"),
        pytest.param('{"mean": [0, 0], "matrix": [[1], [1e30]]}', "holds no projection", id="too large"),
        pytest.param('{"mean": [0, 0], "matrix": [[], []]}', "holds no projection", id="to nothing"),
        pytest.param('{"layers": []}', "holds no projection, a network needs `mean`", id="half a network"),
        pytest.param('{"mean": [0, 0], "matrix": [[1], [1]]}', "takes keys of 2 numbers, .* has 40", id="other keys"),
        pytest.param(
            json.dumps({"mean": [0] * 40, "matrix": [[0] * 26_215] * 40}),
            "takes 1048600 multiply-adds for a key, the limit is 1048576",
            id="much work",
        ),
    ],
)
def test_a_file_that_holds_none_stops_the_start(build: Build, tmp_path: Path, content: str, message: str) -> None:
    """With the file and what is wrong with it."""
    write_projection(tmp_path).write_text(content)
    with pytest.raises(InvalidFunction, match=f"first.json: {message}"):
        build('projection = "first.json"')


async def test_it_outlives_a_restart(build: Build, tmp_path: Path) -> None:
    """Entries and projection come back from the journal, and lookups find the same neighbors as before."""
    fn, registry, journal = build(), Registry(), SqliteJournal(tmp_path / "journal.db")
    registry.put(fn)
    queries = [key for key, _ in requests(labels=24, noise=0.8, count=20)]
    async with Keeper(registry, journal, {}, {}).running():
        play(fn, requests(labels=24, noise=0.8, count=600), journal)
        assert fn.projectors["v"].projection is not None
        before = [neighbors(fn, query).distances for query in queries]
    again, registry = build(), Registry()
    registry.put(again)
    missing = {"journal": "not replayed yet"}
    async with Keeper(registry, SqliteJournal(tmp_path / "journal.db"), missing, {}).running():
        deadline = time.monotonic() + 300
        while missing:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
        assert again.projectors["v"].projection is not None
        settle(again)
        assert len(again.namespace) == len(fn.namespace)
        for query, distances in zip(queries, before, strict=True):
            assert neighbors(again, query).distances == pytest.approx(distances, abs=1e-3)
