"""The SQLite journal's upkeep: bounds, compaction, snapshots, migrations, time."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from journals import FUNCTION, make_entry, rebuild, until

from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.blocks import block_of
from likewise.journal.buffer import Item
from likewise.journal.sqlite.database import MIGRATIONS, Database
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.records import Inserted, Invalidated
from likewise.types import Result

Open = Callable[..., Awaitable[SqliteJournal]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def start(**options: object) -> SqliteJournal:
            given = {"commit_interval_s": 0.001, **options}
            journal = SqliteJournal(tmp_path / "journal.sqlite", **given)  # type: ignore[arg-type]
            await journal.start()
            stack.push_async_callback(journal.close)
            return journal

        yield start


def rows(journal: SqliteJournal, table: str) -> int:
    database = sqlite3.connect(journal.path)
    try:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        database.close()


async def test_expired_entries_are_not_replayed(opened: Open) -> None:
    """By the clock that was given; a clock that jumps back brings them back, until they are deleted."""
    now = [1000.0]
    journal = await opened(clock=lambda: now[0])
    for i in range(10):
        journal.append(Inserted(FUNCTION, make_entry(i, expires_at=2000.0 + i)))
    await journal.flush()
    now[0] = 2004.5
    assert (await rebuild(journal.replay())).ids == [5, 6, 7, 8, 9]
    now[0] = 1.0
    assert len((await rebuild(journal.replay())).ids) == 10


async def test_the_file_stays_within_its_bound_and_the_newest_stay(opened: Open) -> None:
    """The oldest entries go, and the space goes back to the disk."""
    journal = await opened(max_bytes=3 * 2**20)
    for i in range(6000):
        journal.append(Inserted(FUNCTION, make_entry(i, result=Result(bytes(1000)))))
        if i % 500 == 0:
            await journal.flush()
    await journal.flush()
    await until(lambda: journal.statistics()["bytes"] <= 3 * 2**20)
    ids = (await rebuild(journal.replay())).ids
    assert ids
    assert ids[-1] == 5999
    assert ids == list(range(ids[0], 6000))
    assert journal.statistics()["removed"] >= ids[0]
    await until(lambda: journal.path.stat().st_size < 5 * 2**20)


async def test_the_space_goes_back_after_a_reader_that_was_in_the_way(opened: Open) -> None:
    """Without another commit: the log cannot be folded past what somebody still reads."""
    journal = await opened(max_bytes=3 * 2**20)
    for i in range(3000):
        journal.append(Inserted(FUNCTION, make_entry(i, result=Result(bytes(1000)))))
    await journal.flush()
    reader = sqlite3.connect(journal.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM entries").fetchone()
    for i in range(3000, 6000):
        journal.append(Inserted(FUNCTION, make_entry(i, result=Result(bytes(1000)))))
    await journal.flush()
    await until(lambda: journal.statistics()["bytes"] <= 3 * 2**20 and not journal._writer._chores)
    await until(lambda: journal._writer._syncer._half_folded)
    reader.close()
    await until(lambda: journal.path.stat().st_size < 5 * 2**20)


async def test_dead_rows_are_deleted_once_there_are_enough(opened: Open) -> None:
    """Invalidations do not gather for ever, nor what they took out."""
    journal = await opened(compact_after=5)
    for i in range(20):
        journal.append(Inserted(FUNCTION, make_entry(i, tags=("x",) if i < 3 else ())))
    journal.append(Invalidated(FUNCTION, 1.0, tag="x"))
    for i in range(10, 15):
        journal.append(Invalidated(FUNCTION, 1.0, ids=(i,)))
    await journal.flush()
    await until(lambda: rows(journal, "entries") == 12 and rows(journal, "invalidations") == 0)
    assert len((await rebuild(journal.replay())).ids) == 12


async def test_sealing_prunes_what_was_evicted(opened: Open) -> None:
    """What the namespaces no longer hold leaves the file; other functions and later entries stay."""
    journal = await opened()
    entries = [make_entry(i) for i in range(50)]
    for entry in entries:
        journal.append(Inserted(FUNCTION, entry))
        journal.append(Inserted("other@1", entry))

    def blocks():
        yield block_of(FUNCTION, entries[30:40])
        journal.append(Inserted(FUNCTION, make_entry(99)))
        yield block_of(FUNCTION, entries[40:])

    await journal.seal(blocks())
    await until(lambda: rows(journal, "entries") == 50 + 20 + 1)
    model = await rebuild(journal.replay())
    assert [one for function, one in model.entries if function == FUNCTION] == [*range(30, 50), 99]


async def test_sealing_without_pruning_deletes_nothing(opened: Open) -> None:
    """A snapshot of a part is allowed then."""
    journal = await opened()
    for i in range(10):
        journal.append(Inserted(FUNCTION, make_entry(i)))
    await journal.seal([block_of(FUNCTION, [make_entry(1)])], prune=False)
    await journal.flush()
    assert rows(journal, "entries") == 10


async def test_invalidations_outlive_a_compaction_while_a_snapshot_needs_them(opened: Open) -> None:
    """An entry in the snapshot that was invalidated behind it stays out."""
    journal = await opened(compact_after=2)
    entries = [make_entry(i) for i in range(10)]
    for entry in entries:
        journal.append(Inserted(FUNCTION, entry))
    await journal.seal([block_of(FUNCTION, entries)])
    for i in range(5):
        journal.append(Invalidated(FUNCTION, 1.0, ids=(i,)))
    await journal.flush()
    await until(lambda: rows(journal, "entries") == 5)
    await journal.close()
    journal = await opened()
    found = [one async for block in journal.blocks() for one in block.ids.tolist()]
    assert found == [5, 6, 7, 8, 9]


async def test_an_expired_entry_of_a_snapshot_stays_out(opened: Open) -> None:
    """The snapshot is filtered as the rows are."""
    now = [0.0]
    journal = await opened(clock=lambda: now[0])
    entries = [make_entry(i, expires_at=10.0 + i) for i in range(4)]
    await journal.seal([block_of(FUNCTION, entries)])
    await journal.close()
    now[0] = 11.5
    journal = await opened(clock=lambda: now[0])
    assert [one async for block in journal.blocks() for one in block.ids.tolist()] == [2, 3]


async def test_many_who_flush_share_a_sync(opened: Open) -> None:
    """A thousand durable inserts at once take the disk a few times."""
    journal = await opened()

    async def insert(i: int) -> None:
        journal.append(Inserted(FUNCTION, make_entry(i)))
        await journal.flush()

    await asyncio.gather(*(insert(i) for i in range(1000)))
    assert journal.statistics()["written"] == 1000
    assert journal.statistics()["syncs"] < 100


async def test_what_nobody_flushes_reaches_the_disk_by_itself(opened: Open) -> None:
    """Within the commit interval for this process's death, within the sync interval for the machine's."""
    journal = await opened(sync_interval_s=0.01)
    journal.append(Inserted(FUNCTION, make_entry(1)))
    await until(lambda: journal.statistics()["written"] == 1)
    await until(lambda: journal.statistics()["syncs"] == 1)


async def test_a_flush_tells_of_entries_that_the_buffer_dropped(opened: Open) -> None:
    """Durable means all of them."""
    journal = await opened(buffer_records=2)
    gate, reached = threading.Event(), threading.Event()
    held = asyncio.create_task(journal._writer.work(lambda database: reached.set() or gate.wait(300)))
    await until(reached.is_set)
    waiting = asyncio.create_task(journal.flush())
    await asyncio.sleep(0)
    for i in range(100):
        journal.append(Inserted(FUNCTION, make_entry(i)))
    gate.set()
    with pytest.raises(JournalError, match="overflowed"):
        await waiting
    await held


async def test_an_older_format_is_migrated_in_place(tmp_path: Path) -> None:
    """Each version adds its statements to the last; what is kept stays."""
    path = tmp_path / "journal.sqlite"
    old = Database(path)
    epoch = old.epoch
    old.close()
    new = Database(path, migrations=[*MIGRATIONS, ["ALTER TABLE entries ADD COLUMN owner TEXT"]])
    assert new.epoch == epoch
    new.close()
    with pytest.raises(JournalError, match="format 2"):
        Database(path)


async def test_a_failed_migration_leaves_the_old_format(tmp_path: Path) -> None:
    """All of a step or nothing of it."""
    path = tmp_path / "journal.sqlite"
    Database(path).close()
    broken = [*MIGRATIONS, ["ALTER TABLE entries ADD COLUMN owner TEXT", "nonsense"]]
    with pytest.raises(sqlite3.OperationalError):
        Database(path, migrations=broken)
    Database(path).close()


async def test_work_before_the_start_is_refused(tmp_path: Path) -> None:
    """With the remedy."""
    journal = SqliteJournal(tmp_path / "j")
    with pytest.raises(JournalError, match="Start it first"):
        await journal.flush()
    assert [batch async for batch in journal.follow()] == []
    journal.supply(lambda function: [])
    assert journal.failure == ""


def test_pages_are_given_back_many_at_once(tmp_path: Path) -> None:
    """A step of tidying up frees as many as it says, not one."""
    database = Database(tmp_path / "journal.sqlite")
    frame = bytes(3000)
    database.write([Item(i, codec.INSERTED, FUNCTION, i, 1e9, frame) for i in range(1, 1001)])
    database.remove(list(range(1, 1001)))
    before = database.used_bytes()[1]
    database.give_back(200)
    assert before - database.used_bytes()[1] == 200 * 4096
    database.close()


async def test_a_wall_clock_that_is_set_ahead_deletes_nothing(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be set back again: what is not over by both clocks stays in the file."""
    ahead = [0.0]
    wall = time.time
    monkeypatch.setattr("likewise.journal.sqlite.journal.time.time", lambda: wall() + ahead[0])
    journal = await opened(compact_after=1, clock=time.time)
    for i in range(10):
        journal.append(Inserted(FUNCTION, make_entry(i, expires_at=wall() + 60.0)))
    await journal.flush()
    ahead[0] = 3600.0
    journal.append(Invalidated(FUNCTION, wall(), ids=(3,)))
    await journal.flush()
    await until(lambda: journal.statistics()["removed"] >= 1)
    await journal._writer.work(lambda _: None)
    assert rows(journal, "entries") == 9
