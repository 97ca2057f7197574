"""Indexes kept beside the snapshot: the same neighbors at once after a restart, or built anew as ever."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from likewise.index import links
from likewise.index.saved import _MAGIC, _TRAILER
from likewise.index.trials import Measure, Measured
from likewise.lookup.bulk import blocks, hold, insert_block, release
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
    return lambda each, index, questions: Measured(1.0, 0.5 if each == kind else 2.0, None)


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


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_neighbors_are_the_same_at_once(tmp_path: Path, kind: str) -> None:
    """What searched before the restart searches after it, without a trial or a build."""
    source = filled(kind)
    kept(source, tmp_path / "indexes")
    target, count = restarted(source, tmp_path / "indexes", kind=kind, measure=lambda *_: 1 / 0)
    assert count == 1
    assert target.kinds() == {"v": kind}
    assert found(target, keys(200, 3)) == found(source, keys(200, 3))
    release(target)
    assert target.kinds() == {"v": kind}
    assert target._indexes["v"].effort == source._indexes["v"].effort
    for number, key in enumerate(keys(200, 4)):
        target.insert(entry(10**7 + number, key), 0)
    assert [each[0] for each in found(target, keys(200, 4))] == [10**7 + number for number in range(200)]


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
@pytest.mark.parametrize(("less", "more"), [(300, 0), (0, 300), (200, 200)])
def test_entries_that_went_and_came_meanwhile_are_made_up_for(tmp_path: Path, kind: str, less: int, more: int) -> None:
    """Those that went are never found, those that came are, and the others are found as well as before."""
    source = filled(kind)
    kept(source, tmp_path / "indexes")
    target, count = restarted(source, tmp_path / "indexes", kind=kind, less=less, more=more)
    assert count == 1
    queries = keys(200, 3)
    answers, right = found(target, queries), truth(target, queries)
    assert {id for each in answers for id in each} <= set(target._columns.ids[target._columns.live()].tolist())
    assert share(answers, right) > share(found(source, queries), truth(source, queries)) - 0.03
    every = target._columns.live()
    np.testing.assert_array_equal(
        target._indexes["v"].keys(every), np.stack([target.entry(slot).keys["v"] for slot in every.tolist()])
    )
    assert [each[0] for each in found(target, keys(more, 9))] == [10**6 + number for number in range(more)]


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_graphs_of_rounded_keys_are_kept(tmp_path: Path, precision: str) -> None:
    """With what was rounded how: keys come back as they were held."""
    source = filled(precision=precision)
    kept(source, tmp_path / "indexes")
    target, count = restarted(source, tmp_path / "indexes", precision=precision)
    assert count == 1
    assert share(found(target, keys(200, 3)), found(source, keys(200, 3))) > 0.99
    ids = [1 + number for number in range(COUNT) if number % 10]
    ours, theirs = (of._indexes["v"].keys(np.array([of.slot_of(id) for id in ids])) for of in (target, source))
    assert ours == pytest.approx(theirs, abs=0.05)
    assert restarted(source, tmp_path / "indexes")[1] == 0  # a graph of another precision is not believed


def test_a_projected_key_type_is_kept_with_its_projection(tmp_path: Path) -> None:
    """Where the same projection is in use again; by another, or none, it is built anew."""
    source = filled()
    source.project("v", Linear())
    source.settle()
    assert source.kinds() == {"v": "hnsw"}
    kept(source, tmp_path / "indexes")
    target, count = restarted(source, tmp_path / "indexes", projection=Linear(), measure=lambda *_: 1 / 0)
    assert count == 1
    assert target.kinds() == {"v": "hnsw"}
    assert found(target, keys(100, 3)) == found(source, keys(100, 3))
    assert np.array_equal(target.entry(target.slot_of(7)).keys["v"], keys(COUNT)[6])
    for other in (Linear(seed=1), Linear(3), None):
        assert restarted(source, tmp_path / "indexes", projection=other)[1] == 0


def test_a_graph_in_the_background_is_in_use_when_restoring_returns(tmp_path: Path) -> None:
    """Nobody has to look something up for that."""
    source = filled()
    kept(source, tmp_path / "indexes")
    target, count = restarted(source, tmp_path / "indexes", background=True)
    assert count == 1
    assert target.kinds() == {"v": "hnsw"}
    target.close()


def test_what_does_not_fit_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another snapshot's, too many entries gone, no file at all: scanned until a trial, with one line in the log."""
    source = filled()
    assert restarted(source, tmp_path / "indexes")[1] == 0
    assert caplog.text == ""
    kept(source, tmp_path / "indexes")
    assert restarted(source, tmp_path / "indexes", digest="d2")[1] == 0
    assert "another snapshot" in caplog.text
    caplog.clear()
    target, count = restarted(source, tmp_path / "indexes", less=900)
    assert count == 0
    assert len(caplog.records) == 1
    assert found(target, keys(20, 3)) == truth(target, keys(20, 3))
    assert restarted(filled(count=600), tmp_path / "indexes", more=4000)[1] == 0


def test_writing_that_is_cut_off_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced by a whole one or not at all, and a full disk stops nothing."""
    source, path = filled(), tmp_path / "indexes"
    kept(source, path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("likewise.index.saved.os.fsync", full)
    kept(source, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["indexes"]
    (tmp_path / "indexes.unfinished").write_bytes(before[:1000])  # what a killed process leaves behind
    assert restarted(source, path)[1] == 1


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_no_damage_reaches_a_search(tmp_path: Path, kind: str) -> None:
    """Whatever byte is wrong and wherever the file ends, it is left alone, and answers are right."""
    source, path = filled(kind, 900), tmp_path / "indexes"
    kept(source, path)
    whole = path.read_bytes()
    queries = keys(5, 3)
    rng = np.random.default_rng(5)
    places = [*rng.integers(0, len(whole), 40).tolist(), *range(len(whole) - 30, len(whole)), *range(16)]
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        target, count = restarted(source, path, kind=kind)
        assert count == 0
        assert found(target, queries) == truth(target, queries)
    for length in rng.integers(0, len(whole), 20).tolist():
        path.write_bytes(whole[:length])
        assert restarted(source, path, kind=kind)[1] == 0


def forged(whole: bytes, change: Any) -> bytes:
    """Return a file whose table, columns and checksums are those of somebody who knows the format."""
    offset, length, _, _ = _TRAILER.unpack(whole[-_TRAILER.size :])
    table = json.loads(whole[offset : offset + length])
    facts = table["indexes"][0]
    columns = {
        name: np.frombuffer(whole, column["type"], column["length"], column["offset"]).copy()
        for name, column in facts["columns"].items()
    }
    change(facts, columns)
    body = bytearray(_MAGIC)
    for name, values in columns.items():
        raw = values.tobytes()
        facts["columns"][name] = {
            "type": values.dtype.str, "length": len(values), "offset": len(body), "crc": crc32(raw)
        }  # fmt: skip
        body += raw
    raw = json.dumps(table).encode()
    return bytes(body) + raw + struct.pack("<QQI8s", len(body), len(raw), crc32(raw), _MAGIC[:8])


def _put(name: str, place: int, value: float) -> Any:
    def change(facts: dict[str, Any], columns: dict[str, Any]) -> None:
        columns[name][place] = value

    return change


def _fact(name: str, value: object) -> Any:
    def change(facts: dict[str, Any], columns: dict[str, Any]) -> None:
        facts[name] = value

    return change


def _drop(name: str) -> Any:
    return lambda facts, columns: (columns.pop(name), facts["columns"].pop(name))


def _cut(name: str) -> Any:
    def change(facts: dict[str, Any], columns: dict[str, Any]) -> None:
        columns[name] = columns[name][:-1]

    return change


def _all_up(facts: dict[str, Any], columns: dict[str, Any]) -> None:
    columns["levels"][:] = 200
    columns["links"] = np.zeros(201 * 16 * len(columns["levels"]), np.int32)


def _to_the_ground(facts: dict[str, Any], columns: dict[str, Any]) -> None:
    """Link a node on its second level to one that is not there."""
    levels = columns["levels"].astype(np.int64)
    high, low = int(np.flatnonzero(levels > 1)[0]), int(np.flatnonzero(levels == 1)[0])
    columns["links"][((levels[:high] + 1) * 16).sum() + 32] = low


HOSTILE = {
    "hnsw": [
        _put("links", 5, 2**30), _put("links", 5, -7), _put("links", -1, 900), _put("levels", 3, 0), _all_up,
        _put("levels", 3, 9), _to_the_ground, _cut("links"), _cut("levels"), _cut("ids"), _drop("links"),
        _drop("ids"), _fact("entry", -1), _fact("entry", 10**9), _fact("entry", "x"), _fact("count", 10**12),
        _fact("count", 0), _fact("m", 1), _fact("m", 10**6), _fact("effort", 1e9), _fact("effort", None),
        _fact("dimension", 9), _fact("kind", "tree"), _fact("kind", "ivf"), _fact("kind", None),
        _fact("chosen_at", -5), _put("dead", 0, 10**6), _cut("dead_keys"),
        _put("ids", 5, 12), _fact("projected", 3), _fact("precision", "int4"), _fact("function", 7),
    ],
    "ivf": [
        _put("numbers", 5, 10**6), _put("numbers", 5, -1), _cut("numbers"), _cut("centroids"), _fact("lists", 0),
        _fact("lists", 10**9), _put("centroids", 0, float("nan")), _fact("trained_at", "x"), _fact("least", 0),
        _fact("kind", "hnsw"), _drop("centroids"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, number) for kind in HOSTILE for number in range(len(HOSTILE[kind]))]
)
def test_no_number_in_it_is_believed(tmp_path: Path, kind: str, number: int) -> None:
    """Right checksums do not make a link lead where there is nothing: it is refused before anything follows it."""
    source, path = filled(kind, 900), tmp_path / "indexes"
    kept(source, path)
    whole = path.read_bytes()
    path.write_bytes(forged(whole, lambda *_: None))
    assert restarted(source, path, kind=kind)[1] == 1
    path.write_bytes(forged(whole, HOSTILE[kind][number]))
    target, count = restarted(source, path, kind=kind)
    assert count == 0
    assert found(target, keys(5, 3)) == truth(target, keys(5, 3))
    release(target)
    assert target.kinds() == {"v": kind}


def test_a_graph_that_changes_while_it_is_written_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links to what came later are left out, one by one where they are many; requests go on meanwhile."""
    monkeypatch.setattr(links, "NODES", 64)
    source, path = filled(), tmp_path / "indexes"
    over = threading.Event()

    async def saving() -> None:
        async def inserting() -> None:
            number = 0
            while not over.is_set():
                source.insert(entry(10**8 + number, keys(1, 100 + number)[0]), 0)
                if number % 3 == 0:
                    source.remove(source.slot_of(10**8 + number // 2))
                number += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(inserting())
        for _ in range(3):
            await save([source], path, DIGEST)
        over.set()
        await task

    asyncio.run(saving())
    target, count = restarted(source, path)
    assert count == 1
    queries = keys(100, 3)
    assert share(found(target, queries), truth(target, queries)) > 0.9


def test_an_index_that_is_replaced_while_it_is_gathered_is_left_out(tmp_path: Path) -> None:
    """Its positions would no longer be those of the entries."""
    source, path = filled(), tmp_path / "indexes"

    async def saving() -> None:
        index = source._indexes["v"]
        task = asyncio.create_task(save([source], path, DIGEST))
        await asyncio.sleep(0)
        assert source._indexes["v"] is index
        source.invalidate(everything=True)
        for number, key in enumerate(keys(2000, 5)):
            source.insert(entry(5000 + number, key), 0)
        await task

    asyncio.run(saving())
    assert restarted(source, path)[1] == 0
