"""Commits do not wait for the disk, and what has to be on it is."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from journals import FUNCTION, make_entry, until

from likewise.errors import JournalError
from likewise.journal.sqlite import syncer
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.records import Inserted


class Disk:
    """Stands for `os.fsync`: takes as long as it is told, or fails."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.ready.set()
        self.reached = threading.Event()
        self.broken = False
        self._fsync = os.fsync

    def fsync(self, descriptor: int) -> None:
        self.reached.set()
        assert self.ready.wait(300)
        if self.broken:
            raise OSError(errno.EIO, "no such sector")
        self._fsync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(syncer.os, "fsync", made.fsync)
    return made


@pytest.fixture
async def journal(tmp_path: Path, disk: Disk) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path / "journal.sqlite", commit_interval_s=0.001, sync_interval_s=0.01)
    await opened.start()
    yield opened
    disk.ready.set()
    await opened.close()


def committed(path: Path) -> int:
    """Return how many entries another process would find: what a kill -9 leaves."""
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as database:
        (found,) = database.execute("SELECT count(*) FROM entries").fetchone()
    database.close()
    return int(found)


async def test_commits_go_on_while_the_disk_takes_its_time(journal: SqliteJournal, disk: Disk) -> None:
    """A sync that hangs: what is inserted meanwhile survives the death of this process all the same."""
    disk.ready.clear()
    journal.append(Inserted(FUNCTION, make_entry(0)))
    flushed = asyncio.create_task(journal.flush())
    await until(disk.reached.is_set)
    for number in range(1, 50):
        journal.append(Inserted(FUNCTION, make_entry(number)))
        await until(lambda number=number: committed(journal.path) == number + 1)
    assert not flushed.done()
    disk.ready.set()
    await flushed


async def test_a_flush_does_not_share_a_sync_that_began_before_it(journal: SqliteJournal, disk: Disk) -> None:
    """That one may not have had its record in it."""
    disk.ready.clear()
    first = asyncio.create_task(journal.flush())
    await until(disk.reached.is_set)
    journal.append(Inserted(FUNCTION, make_entry(1)))
    second = asyncio.create_task(journal.flush())
    await until(lambda: committed(journal.path) == 1)
    before = journal.statistics()["syncs"]
    disk.ready.set()
    await asyncio.gather(first, second)
    assert journal.statistics()["syncs"] >= before + 2


async def test_a_disk_that_refuses_is_told_and_tried_again(
    journal: SqliteJournal, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever flushes hears of it, the state says so, and it ends by itself; commits go on."""
    monkeypatch.setattr(syncer, "RETRY_S", 0.01)
    disk.broken = True
    journal.append(Inserted(FUNCTION, make_entry(1)))
    with pytest.raises(JournalError, match=r"no such sector.*Check the disk"):
        await journal.flush()
    assert "Check the disk" in journal.failure
    assert journal.statistics()["up"] == 0
    assert committed(journal.path) == 1
    disk.broken = False
    await until(lambda: journal.failure == "")
    await journal.flush()


async def test_the_log_is_folded_into_the_file_beside_commits(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file grows while the journal is open, and the log is begun anew instead of growing for ever."""
    monkeypatch.setattr(syncer, "FOLD_BYTES", 100_000)
    log = journal.path.with_name(journal.path.name + "-wal")
    for start in range(0, 20_000, 500):
        for number in range(start, start + 500):
            journal.append(Inserted(FUNCTION, make_entry(number)))
        await journal.flush()
    assert committed(journal.path) == 20_000
    await until(lambda: journal.path.stat().st_size > 2_000_000)
    assert log.stat().st_size < 32 * 2**20
