"""Indexes kept beside the snapshot: the same neighbors at once after a restart, or built anew as ever."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
from kept_indexes import COUNT, DIGEST, Linear, entry, filled, found, kept, keys, restarted, share, truth

from likewise.index import links
from likewise.lookup.bulk import release
from likewise.lookup.saved import save


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf-sq8"])
def test_neighbors_are_the_same_at_once(tmp_path: Path, kind: str) -> None:
    """What searched before the restart searches after it, without a trial or a build.

    Lists that are looked through in part have their keys in another order, without those that were removed.
    """
    source = filled(kind)
    kept(source, tmp_path / "indexes")
    target, count = restarted(source, tmp_path / "indexes", kind=kind, measure=lambda *_: 1 / 0)
    assert count == 1
    assert target.kinds() == {"v": kind}
    queries = keys(200, 3)
    if kind == "hnsw":
        assert found(target, queries) == found(source, queries)
    else:
        right = truth(source, queries)
        assert share(found(target, queries), right) > share(found(source, queries), right) - 0.02
    release(target)
    assert target.kinds() == {"v": kind}
    assert target._indexes["v"].effort == source._indexes["v"].effort
    for number, key in enumerate(keys(200, 4)):
        target.insert(entry(10**7 + number, key), 0)
    assert [each[0] for each in found(target, keys(200, 4))] == [10**7 + number for number in range(200)]


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf-sq8"])
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
