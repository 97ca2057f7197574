"""The SQLite journal when things go wrong: kill -9, torn and damaged files, full disks, folders that refuse."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from journals import FUNCTION, make_entry, rebuild, same, until

from likewise.errors import JournalError
from likewise.journal.blocks import block_of
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.records import Inserted, Invalidated

SUPPORT = Path(__file__).parents[1] / "support"

WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from journals import FUNCTION, make_entry
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.records import Inserted

async def main():
    journal = SqliteJournal(Path(sys.argv[1]), commit_interval_s=0.002)
    await journal.start()
    done = 0
    async for batch in journal.replay():
        done = max([done, *(record.entry.id for record in batch)])
    print("ready", done, flush=True)
    while True:
        for _ in range(7):
            done += 1
            journal.append(Inserted(FUNCTION, make_entry(done)))
        await journal.flush()
        print("flushed", done, flush=True)

asyncio.run(main())
"""


async def opened(path: Path, **options: object) -> SqliteJournal:
    journal = SqliteJournal(path, **{"commit_interval_s": 0.005, "retry_s": (0.01, 0.05), **options})  # type: ignore[arg-type]
    await journal.start()
    return journal


async def filled(path: Path, entries: int = 500) -> None:
    journal = await opened(path)
    for i in range(entries):
        journal.append(Inserted(FUNCTION, make_entry(i)))
    await journal.close()


def cut_off(path: Path, length: int) -> None:
    os.truncate(path, path.stat().st_size - length)


def damaged_files(folder: Path) -> list[Path]:
    return list(folder.glob("*.damaged-*"))


def moved_aside(folder: Path) -> int:
    return len(damaged_files(folder))


def test_every_acknowledged_record_survives_kill_9(tmp_path: Path) -> None:
    """A writer is killed at random moments under load; what it had flushed is there each time, and nothing is torn."""
    path = tmp_path / "journal.sqlite"
    rng = random.Random(3)
    acknowledged = 0
    for _ in range(5):
        command = [sys.executable, "-c", WRITER, str(path), str(SUPPORT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            word, _, number = process.stdout.readline().partition(" ")
            assert word == "ready"
            assert int(number) >= acknowledged, "an acknowledged record is gone"
            lines = [process.stdout.readline() for _ in range(rng.randrange(3, 60))]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        acknowledged = max(int(line.split()[1]) for line in whole)

    async def check() -> None:
        journal = await opened(path)
        model = await rebuild(journal.replay())
        assert model.ids == list(range(1, len(model.ids) + 1))
        assert len(model.ids) >= acknowledged > 0
        assert all(same(entry, make_entry(entry.id)) for entry in model.entries.values())
        assert journal.statistics()["quarantined"] == 0
        await journal.close()

    asyncio.run(check())


async def test_a_torn_last_commit_is_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    """A write-ahead log that was cut off in the middle loses its last commits, not the file."""
    path, copy = tmp_path / "journal.sqlite", tmp_path / "torn" / "journal.sqlite"
    copy.parent.mkdir()
    journal = await opened(path)
    for i in range(50):
        journal.append(Inserted(FUNCTION, make_entry(i)))
        await journal.flush()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    await journal.close()
    wal = Path(f"{copy}-wal")
    cut_off(wal, 2000)
    journal = await opened(copy)
    model = await rebuild(journal.replay())
    assert model.ids == list(range(len(model.ids)))
    assert 40 <= len(model.ids) < 50
    await journal.close()


async def test_a_damaged_row_is_quarantined_and_reported(tmp_path: Path) -> None:
    """A row whose bytes have changed is moved to a table of its own; all others are replayed."""
    path = tmp_path / "journal.sqlite"
    await filled(path, 100)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE entries SET frame = substr(frame, 1, 200) || x'00' WHERE id = 7")
        database.execute("UPDATE entries SET frame = 'text' WHERE id = 9")
    database.close()
    journal = await opened(path)
    assert set((await rebuild(journal.replay())).ids) == set(range(100)) - {7, 9}
    assert journal.statistics()["quarantined"] == 2
    await journal.close()
    journal = await opened(path)
    assert journal.statistics()["quarantined"] == 2
    assert len((await rebuild(journal.replay())).ids) == 98
    await journal.close()


@pytest.mark.parametrize("damage", [b"not a database at all", b""], ids=["garbage", "empty"])
async def test_a_file_that_is_no_database_is_moved_aside_and_a_new_one_begun(tmp_path: Path, damage: bytes) -> None:
    """The server starts, and the damaged file can be looked at."""
    path = tmp_path / "journal.sqlite"
    await filled(path)
    path.write_bytes(damage * 1000)
    journal = await opened(path)
    assert (await rebuild(journal.replay())).ids == []
    journal.append(Inserted(FUNCTION, make_entry(1)))
    await journal.flush()
    assert (await rebuild(journal.replay())).ids == [1]
    assert moved_aside(tmp_path) == bool(damage)
    assert journal.statistics()["rescues"] == bool(damage)
    await journal.close()


@pytest.mark.parametrize("first", range(1, 13))
async def test_whichever_page_is_damaged_the_journal_starts(tmp_path: Path, first: int) -> None:
    """Each table has its root among the first pages; what is in one that cannot be read is given up."""
    path = tmp_path / "journal.sqlite"
    await filled(path)
    with path.open("r+b") as file:
        file.seek(first * 4096)
        file.write(b"\xff" * 4096)
    journal = await opened(path)
    before = (await rebuild(journal.replay())).ids
    journal.append(Inserted(FUNCTION, make_entry(9999)))
    await journal.close()
    journal = await opened(path)
    assert (await rebuild(journal.replay())).ids == [*before, 9999]
    await journal.close()


async def test_what_can_be_read_of_a_damaged_file_is_carried_over(tmp_path: Path) -> None:
    """Pages in the middle are overwritten: the entries of the others are there, and invalidated ones stay out."""
    path = tmp_path / "journal.sqlite"
    journal = await opened(path)
    for i in range(2000):
        journal.append(Inserted(FUNCTION, make_entry(i)))
    journal.append(Invalidated(FUNCTION, 2000.0, ids=(3,)))
    await journal.close()
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for page in range(40, 44):
            assert (page + 1) * 4096 < size
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    journal = await opened(path)
    model = await rebuild(journal.replay())
    assert 1800 < len(model.ids) < 1999
    assert 3 not in model.ids
    assert all(same(entry, make_entry(entry.id)) for entry in model.entries.values())
    assert journal.statistics()["rescues"] == 1
    journal.append(Inserted(FUNCTION, make_entry(9999)))
    await journal.close()
    journal = await opened(path)
    assert (await rebuild(journal.replay())).ids == [*model.ids, 9999]
    assert journal.statistics()["rescues"] == 0
    await journal.close()


async def test_damage_that_shows_while_writing_is_mended_too(tmp_path: Path) -> None:
    """The writer replaces the file under its own hands, and what was appended is in the new one."""
    path = tmp_path / "journal.sqlite"
    await filled(path, 2000)
    journal = await opened(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    for i in range(3000, 3100):
        journal.append(Inserted(FUNCTION, make_entry(i)))
    await journal.flush()
    await journal.close()
    journal = await opened(path)
    model = await rebuild(journal.replay())
    assert set(range(3000, 3100)) <= set(model.ids)
    await journal.close()


async def test_an_unreadable_invalidation_takes_out_all_that_is_older(tmp_path: Path) -> None:
    """It might have meant anything, and a wrong result is worse than none."""
    path = tmp_path / "journal.sqlite"
    journal = await opened(path)
    journal.append(Inserted(FUNCTION, make_entry(1)))
    journal.append(Inserted("other@1", make_entry(2)))
    journal.append(Invalidated(FUNCTION, 2000.0, tag="x"))
    journal.append(Inserted(FUNCTION, make_entry(3)))
    await journal.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE invalidations SET frame = x'00'")
    database.close()
    journal = await opened(path)
    assert (await rebuild(journal.replay())).ids == [2, 3]
    await journal.close()


async def test_a_damaged_snapshot_costs_time_and_nothing_else(tmp_path: Path) -> None:
    """Cut off, or with a wrong byte: the journal has everything."""
    path = tmp_path / "journal.sqlite"
    journal = await opened(path)
    entries = [make_entry(i) for i in range(100)]
    for entry in entries:
        journal.append(Inserted(FUNCTION, entry))
    await journal.seal([block_of(FUNCTION, entries)])
    await journal.close()
    whole = journal.snapshot_path.read_bytes()
    for damaged in (whole[:-1], whole[:-500], b"", whole[:300] + b"\xff" + whole[301:]):
        journal.snapshot_path.write_bytes(damaged)
        journal = await opened(path)
        assert [len(block) async for block in journal.blocks()] == []
        assert len((await rebuild(journal.replay())).ids) == 100
        await journal.close()


async def test_a_snapshot_of_another_journal_is_not_used(tmp_path: Path) -> None:
    """Whoever deletes the database and leaves the snapshot begins anew."""
    path = tmp_path / "journal.sqlite"
    journal = await opened(path)
    journal.append(Inserted(FUNCTION, make_entry(1)))
    await journal.seal([block_of(FUNCTION, [make_entry(1)])])
    await journal.close()
    path.unlink()
    journal = await opened(path)
    assert [block async for block in journal.blocks()] == []
    assert (await rebuild(journal.replay())).ids == []
    await journal.close()


FULL = """
import asyncio, resource, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from journals import FUNCTION, make_entry, until
from likewise.errors import JournalError
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.records import Inserted

async def main():
    journal = SqliteJournal(Path(sys.argv[1]), commit_interval_s=0.002, retry_s=(0.01, 0.05), buffer_records=400)
    await journal.start()
    journal.append(Inserted(FUNCTION, make_entry(0)))
    await journal.flush()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    for i in range(1, 1001):
        journal.append(Inserted(FUNCTION, make_entry(i)))
    try:
        await journal.flush()
    except JournalError as error:
        assert "cannot be written" in error.detail, error.detail
    else:
        raise SystemExit("a flush to a full disk succeeded")
    assert journal.statistics()["up"] == 0 and journal.failure
    journal.append(Inserted(FUNCTION, make_entry(2000)))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    await until(lambda: journal.statistics()["pending"] == 0)
    await journal.flush()
    statistics = journal.statistics()
    assert statistics["up"] == 1 and statistics["write_failures"] > 0 and statistics["dropped"] > 0, statistics
    kept = 0
    async for batch in journal.replay():
        kept += len(batch)
    assert kept + statistics["dropped"] == 1002, (kept, statistics)
    await journal.close()
    print("well")

asyncio.run(main())
"""


def test_a_full_disk_stops_nothing_and_is_told(tmp_path: Path) -> None:
    """Records wait, the oldest are dropped and counted, a flush says why; then all that waits is written."""
    path = tmp_path / "journal.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(SUPPORT)], capture_output=True, text=True, timeout=600
    )
    assert done.stdout == "well\n", done.stderr


async def test_a_snapshot_that_the_disk_does_not_take_leaves_the_last_one(tmp_path: Path) -> None:
    """A failed seal is an error with a remedy, and removes its unfinished file."""
    path = tmp_path / "journal.sqlite"
    journal = await opened(path)
    for i in range(10):
        journal.append(Inserted(FUNCTION, make_entry(i)))
    await journal.seal([block_of(FUNCTION, [make_entry(i) for i in range(10)])])
    before = journal.snapshot_path.read_bytes()
    (tmp_path / "journal.sqlite.snapshot.unfinished").mkdir()
    with pytest.raises(JournalError, match="cannot be written"):
        await journal.seal([block_of(FUNCTION, [make_entry(1)])])
    assert journal.snapshot_path.read_bytes() == before
    await journal.close()


REFUSED = """
import asyncio, concurrent.futures.thread, os, sys
from pathlib import Path
from likewise.errors import JournalError
from likewise.journal.sqlite.journal import SqliteJournal

if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    asyncio.run(SqliteJournal(Path(sys.argv[1])).start())
except JournalError as error:
    print(error.detail)
"""


@pytest.mark.parametrize("name", ["journal.sqlite", "deeper/journal.sqlite"])
def test_a_folder_that_refuses_is_an_error_with_a_remedy(tmp_path: Path, name: str) -> None:
    """Without rights on the folder the journal cannot start, and says what to do."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    for parent in (tmp_path, *tmp_path.parents[:3]):
        if parent.stat().st_uid == os.getuid() and parent != Path(parent.anchor):
            parent.chmod(parent.stat().st_mode | 0o055)
    folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, str(folder / name)], capture_output=True, text=True, timeout=600
    )
    assert "cannot be opened" in done.stdout, done.stderr
    assert "Choose a folder" in done.stdout


async def test_a_second_process_is_told_to_share_another_way(tmp_path: Path) -> None:
    """One file is one process's; the lock goes with its owner."""
    path = tmp_path / "journal.sqlite"
    first = await opened(path)
    with pytest.raises(JournalError, match="Redis journal"):
        await opened(path)
    await first.close()
    await (await opened(path)).close()


async def test_another_applications_database_is_left_alone(tmp_path: Path) -> None:
    """It is refused, not moved aside."""
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE precious(value)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="another application"):
        await opened(path)
    assert path.read_bytes() == before


async def test_a_file_of_a_newer_version_is_refused_and_untouched(tmp_path: Path) -> None:
    """Going back to an older server must not cost the cache."""
    path = tmp_path / "journal.sqlite"
    await filled(path, 3)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(JournalError, match="Upgrade"):
        await opened(path)
    assert moved_aside(tmp_path) == 0


async def test_a_flush_that_outlives_the_writer_ends(tmp_path: Path) -> None:
    """Whoever waits while the journal closes gets an answer, and afterwards an error at once."""
    journal = await opened(tmp_path / "journal.sqlite", commit_interval_s=5.0)
    journal.append(Inserted(FUNCTION, make_entry(1)))
    waiting = asyncio.create_task(journal.flush())
    await asyncio.sleep(0)
    await journal.close()
    await asyncio.wait_for(asyncio.gather(waiting, return_exceptions=True), 10)
    with pytest.raises(JournalError, match="not open"):
        await journal.flush()
    await until(lambda: journal.statistics()["up"] == 0)


def ruin(path: Path, pages: range) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)


async def sealed_and_more(path: Path) -> None:
    """Leave a journal with a snapshot of 500 entries, of which one is invalidated afterwards, and 100 entries more."""
    journal = await opened(path)
    entries = [make_entry(i) for i in range(500)]
    for entry in entries:
        journal.append(Inserted(FUNCTION, entry))
    await journal.seal([block_of(FUNCTION, entries)])
    journal.append(Invalidated(FUNCTION, 2000.0, ids=(3,)))
    for i in range(500, 600):
        journal.append(Inserted(FUNCTION, make_entry(i)))
    await journal.close()


async def all_of(journal: SqliteJournal) -> set[int]:
    ids = {one for block in [block async for block in journal.blocks()] for one in block.ids.tolist()}
    return ids | set((await rebuild(journal.replay())).ids)


@pytest.mark.parametrize("pages", [range(1), *(range(n, n + 1) for n in range(1, 13)), range(13)], ids=str)
async def test_whichever_page_is_damaged_what_the_snapshot_holds_goes_on(tmp_path: Path, pages: range) -> None:
    """What was invalidated since stays out; the damaged file is kept aside, and whoever asks is told where."""
    path = tmp_path / "journal.sqlite"
    await sealed_and_more(path)
    ruin(path, pages)
    journal = await opened(path)
    found = await all_of(journal)
    assert set(range(500)) - {3} <= found <= set(range(600)) - {3}
    if journal.statistics()["rescues"]:
        (aside,) = {one.name.removesuffix("-wal").removesuffix("-shm") for one in damaged_files(tmp_path)}
        assert str(tmp_path / aside) in journal.damage
        assert "its snapshot of 500 is good" in journal.damage
    journal.append(Inserted(FUNCTION, make_entry(9999)))
    journal.append(Invalidated(FUNCTION, 2000.0, ids=(4,)))
    await journal.close()
    journal = await opened(path)
    assert journal.damage == ""
    assert await all_of(journal) == (found | {9999}) - {4}
    await journal.close()


@pytest.mark.parametrize("harm", ["gone", "head", "middle", "torn", "of another journal"])
async def test_without_all_invalidations_a_snapshot_is_not_believed(tmp_path: Path, harm: str) -> None:
    """One of its entries may have been taken out since; only an end that was never acknowledged may be missing."""
    path = tmp_path / "journal.sqlite"
    await sealed_and_more(path)
    ruin(path, range(13))
    log = path.with_name(path.name + ".snapshot.invalidated")
    whole = log.read_bytes()
    changed = {
        "head": b"\xff" + whole[1:],
        "middle": whole[:60] + b"\xff" + whole[61:],
        "torn": whole + whole[52:-1],
        "of another journal": whole[:8] + b"0" * 32 + whole[40:],
    }
    if harm == "gone":
        log.unlink()
    else:
        log.write_bytes(changed[harm])
    journal = await opened(path)
    assert await all_of(journal) == (set(range(500)) - {3} if harm == "torn" else set())
    assert "was damaged" in journal.damage
    await journal.close()


async def test_a_snapshot_stays_good_where_the_file_is_damaged_while_it_is_written(tmp_path: Path) -> None:
    """Also for a start afterwards: the new file is of the same history."""
    path = tmp_path / "journal.sqlite"
    await sealed_and_more(path)
    journal = await opened(path)
    await all_of(journal)
    journal.append(Invalidated(FUNCTION, 2000.0, ids=(5,)))
    await journal.flush()
    ruin(path, range(13))
    for i in range(3000, 3100):
        journal.append(Inserted(FUNCTION, make_entry(i)))
    await journal.flush()
    await journal.close()
    journal = await opened(path)
    found = await all_of(journal)
    assert set(range(500)) - {3, 5} <= found
    assert not found & {3, 5}
    await journal.close()


async def test_where_invalidations_cannot_be_kept_beside_the_snapshot_all_goes_on(tmp_path: Path) -> None:
    """A folder in their place: the journal works, only a damage would cost the snapshot."""
    path = tmp_path / "journal.sqlite"
    path.with_name(path.name + ".snapshot.invalidated").mkdir()
    await sealed_and_more(path)
    journal = await opened(path)
    assert await all_of(journal) == set(range(600)) - {3}
    assert journal.statistics()["write_failures"] == 0
    await journal.close()


def test_an_operator_sees_what_was_damaged_and_entries_are_reused_all_the_same(live, toys, tmp_path: Path) -> None:
    """`/readyz` names the file that was moved aside, `/v1/stats` counts it; the snapshot's entries are hits."""
    png = {"content-type": "image/png"}

    def infer(server, at: int) -> str:
        answer = server.http.post("/v1/functions/quadrants/infer", content=toys.picture(at % 4, at), headers=png)
        return answer.headers["cache-status"]

    first = live(journal="sqlite")
    for at in range(12):
        infer(first, at)
    entries = first.http.get("/v1/functions/quadrants").json()["entries"]
    first.__exit__()
    path = tmp_path / "data/journal.sqlite"
    ruin(path, range(13))
    second = live(journal="sqlite")
    readiness = second.http.get("/readyz").json()
    assert readiness["ready"]
    (aside,) = damaged_files(tmp_path / "data")
    assert str(aside) in readiness["degraded"]["damage"]
    assert second.http.get("/v1/stats").json()["journal"]["rescues"] == 1
    assert second.http.get("/v1/functions/quadrants").json()["entries"] == entries > 0
    assert "hit" in infer(second, 0)
    second.__exit__()
    third = live(journal="sqlite")
    assert third.http.get("/readyz").json()["degraded"] == {}
    assert third.http.get("/v1/functions/quadrants").json()["entries"] >= entries


PLACES = (
    "journal.sqlite.snapshot",
    "journal.sqlite.snapshot.indexes",
    "journal.sqlite.snapshot.invalidated",
    "functions/.lock",
    "functions/quadrants/function.toml",
)


@pytest.mark.parametrize("kind", ["pipe", "endless"])
@pytest.mark.parametrize("place", PLACES)
def test_a_start_waits_for_no_pipe(live, toys, tmp_path: Path, place: str, kind: str) -> None:
    """Whatever stands in the place of a file that the server keeps: it serves."""
    path = tmp_path / "data" / place
    path.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    server = live(journal="sqlite")
    png = {"content-type": "image/png"}
    assert server.http.post("/v1/functions/quadrants/infer", content=toys.picture(0), headers=png).status_code == 200
