"""Snapshots: of versions before a fact was known, and for nobody else to read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from journals import FUNCTION, make_entry

from likewise.facts import FACTS
from likewise.journal.blocks import block_of, entries_of
from likewise.journal.sqlite import snapshot
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.journal.sqlite.snapshot import SnapshotWriter, open_snapshot
from likewise.records import Inserted

ENTRIES = [
    make_entry(id, digest=bytes([id + 1] * 16), signature=f"f4[{id % 3}]", origin="head" if id % 2 else "")
    for id in range(10)
]


def write(path: Path) -> None:
    with SnapshotWriter(path, "epoch", 7) as writer:
        writer.add(block_of(FUNCTION, ENTRIES))
        writer.seal()


def test_every_fact_comes_back(tmp_path: Path) -> None:
    """Bit by bit."""
    write(tmp_path / "s")
    kept = open_snapshot(tmp_path / "s")
    assert kept
    found = [entry for block in kept.blocks() for entry in entries_of(block)]
    assert [[fact.of(entry) for fact in FACTS] for entry in found] == [
        [fact.of(entry) for fact in FACTS] for entry in ENTRIES
    ]


def test_a_snapshot_from_before_a_fact_reads_as_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost in an upgrade."""
    with monkeypatch.context() as before:
        before.setattr(snapshot, "FACTS", tuple(fact for fact in FACTS if not fact.later))
        write(tmp_path / "s")
    kept = open_snapshot(tmp_path / "s")
    assert kept
    found = [entry for block in kept.blocks() for entry in entries_of(block)]
    assert [entry.id for entry in found] == list(range(10))
    assert {(entry.digest, entry.signature, entry.origin) for entry in found} == {(b"", "", "")}


@pytest.mark.parametrize("older", [False, True], ids=["made now", "made readable by all before"])
async def test_files_of_a_journal_are_for_their_user_alone(tmp_path: Path, older: bool) -> None:
    """The file, its side files, the lock and the snapshot."""
    path = tmp_path / "data" / "journal.sqlite"
    if older:
        path.parent.mkdir()
        for name in ("journal.sqlite", "journal.sqlite.lock", "journal.sqlite.snapshot.unfinished"):
            (path.parent / name).touch(0o644)
    journal = SqliteJournal(path)
    await journal.start()
    journal.append(Inserted(FUNCTION, ENTRIES[0]))
    await journal.flush()
    await journal.seal([block_of(FUNCTION, ENTRIES)])
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    await journal.close()
    assert set(modes.values()) == {0o600}
    assert {"journal.sqlite", "journal.sqlite-wal", "journal.sqlite.lock", "journal.sqlite.snapshot"} <= set(modes)
