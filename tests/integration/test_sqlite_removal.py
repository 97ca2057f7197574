"""The SQLite journal when others empty, remove or replace its file, and starts that a place refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from journals import FUNCTION, make_entry, rebuild, until

from likewise.errors import JournalError
from likewise.journal.blocks import block_of
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.records import Inserted, Invalidated


async def opened(path: Path) -> SqliteJournal:
    journal = SqliteJournal(path, commit_interval_s=0.005, retry_s=(0.01, 0.05))
    await journal.start()
    return journal


async def filled(path: Path, entries: int) -> SqliteJournal:
    """Return a journal with so many entries, each durable and in a transaction of its own."""
    journal = await opened(path)
    for i in range(entries):
        journal.append(Inserted(FUNCTION, make_entry(i)))
        await journal.flush()
    return journal


async def all_of(journal: SqliteJournal) -> set[int]:
    ids = {one for block in [block async for block in journal.blocks()] for one in block.ids.tolist()}
    return ids | set((await rebuild(journal.replay())).ids)


async def kept(path: Path) -> set[int]:
    """Return what a server that starts with a copy of the files would have, as after kill -9."""
    copy = path.with_name("copy")
    shutil.copytree(path.parent, copy, ignore=lambda *_: ["copy"])
    journal = await opened(copy / path.name)
    found = await all_of(journal)
    await journal.close()
    shutil.rmtree(copy)
    return found


async def sealed(path: Path, entries: int = 50) -> None:
    """Leave a journal with a snapshot, of which entry 3 is invalidated afterwards."""
    journal = await opened(path)
    given = [make_entry(i) for i in range(entries)]
    for entry in given:
        journal.append(Inserted(FUNCTION, entry))
    await journal.seal([block_of(FUNCTION, given)])
    journal.append(Invalidated(FUNCTION, 2000.0, ids=(3,)))
    await journal.close()


@pytest.mark.parametrize("size", [0, 1, 15, 99, 100, 4096])
async def test_a_journal_that_was_emptied_goes_on_from_its_snapshot(tmp_path: Path, size: int) -> None:
    """However little is left of it; what was invalidated stays out, and whoever asks is told."""
    path = tmp_path / "journal.sqlite"
    await sealed(path)
    os.truncate(path, size)
    journal = await opened(path)
    assert await all_of(journal) == set(range(50)) - {3}
    assert "its snapshot of 50 is good" in journal.damage
    await journal.close()


async def test_an_empty_file_that_never_was_more_is_no_damage(tmp_path: Path) -> None:
    """A first start that was cut short leaves one."""
    path = tmp_path / "journal.sqlite"
    path.touch()
    journal = await opened(path)
    assert journal.damage == ""
    assert journal.statistics()["rescues"] == 0
    await journal.close()


async def test_a_rescue_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    """The damaged file was moved aside, what could be read of it not yet put in its place."""
    path = tmp_path / "journal.sqlite"
    await sealed(path)
    path.rename(path.with_name(path.name + ".rescued"))
    path.with_name(path.name + "-wal").write_bytes(b"of the damaged file")
    journal = await opened(path)
    assert await all_of(journal) == set(range(50)) - {3}
    await journal.close()


async def test_a_rescue_that_the_folder_refuses_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """Something stands where it would write."""
    path = tmp_path / "journal.sqlite"
    await sealed(path)
    os.truncate(path, 0)
    path.with_name(path.name + ".rescued").mkdir()
    with pytest.raises(JournalError, match=r"journal\.sqlite\.rescued.*Move it by hand"):
        await opened(path)


def the_file(path: Path) -> None:
    path.unlink()


def its_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def all_files(path: Path) -> None:
    for each in path.parent.iterdir():
        each.unlink()


def the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("removes", [the_file, its_log, all_files, the_folder])
async def test_what_is_durable_outlives_a_journal_that_is_removed_in_use(
    tmp_path: Path, removes: Callable[[Path], None]
) -> None:
    """It is written anew with all that it held, and nobody else may have it."""
    path = tmp_path / "data" / "journal.sqlite"
    journal = await filled(path, 20)
    removes(path)
    journal.append(Inserted(FUNCTION, make_entry(20)))
    journal.append(Invalidated(FUNCTION, 2000.0, ids=(3,)))
    await journal.flush()
    assert await kept(path) == set(range(21)) - {3}
    assert ("was removed" in journal.damage) == (removes is not its_log)
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(JournalError, match="Another process"):
        await opened(path)
    await journal.close()
    assert await kept(path) == set(range(21)) - {3}


async def test_a_journal_that_is_emptied_in_use_takes_what_comes(tmp_path: Path) -> None:
    """From then on what is durable is."""
    path = tmp_path / "data" / "journal.sqlite"
    journal = await opened(path)
    os.truncate(path, 0)
    journal.append(Inserted(FUNCTION, make_entry(20)))
    await journal.flush()
    assert await kept(path) == {20}
    assert "was damaged" in journal.damage
    await journal.close()


def its_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(4096))


def all_of_it(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def its_log_cut(path: Path) -> None:
    os.truncate(path.with_name(path.name + "-wal"), 5000)


def its_log_emptied(path: Path) -> None:
    os.truncate(path.with_name(path.name + "-wal"), 0)


@pytest.mark.parametrize("damages", [its_head, all_of_it, its_log_cut, its_log_emptied])
async def test_a_journal_that_is_damaged_in_use_takes_what_comes(
    tmp_path: Path, damages: Callable[[Path], None]
) -> None:
    """Noticed at the next commit, so that memory can be written anew, and what is durable from then on is."""
    path = tmp_path / "data" / "journal.sqlite"
    journal = await filled(path, 20)
    damages(path)
    journal.append(Inserted(FUNCTION, make_entry(20)))
    await journal.flush()
    assert "was damaged" in journal.damage
    assert 20 in await kept(path)
    await journal.close()
    assert 20 in await kept(path)


async def test_another_journal_in_its_place_is_left_alone(tmp_path: Path) -> None:
    """What is to be durable is refused meanwhile; once the other is gone all is written."""
    path, other = tmp_path / "data" / "journal.sqlite", tmp_path / "other"
    journal = await opened(path)
    other.write_bytes(b"of somebody else")
    other.replace(path)
    journal.append(Inserted(FUNCTION, make_entry(1)))
    with pytest.raises(JournalError, match="another file is in its place"):
        await journal.flush()
    assert path.read_bytes() == b"of somebody else"
    assert "another file" in journal.failure
    path.unlink()
    await until(lambda: not journal.failure)
    await journal.flush()
    assert await kept(path) == {1}
    await journal.close()


async def test_a_link_that_leads_nowhere_in_its_place_is_left_alone(tmp_path: Path) -> None:
    """As when the disk that it leads to is gone: whoever reads is told what to do."""
    path = tmp_path / "data" / "journal.sqlite"
    journal = await opened(path)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    journal.append(Inserted(FUNCTION, make_entry(1)))
    with pytest.raises(JournalError, match=r"another file is in its place. Restart .*, or remove it"):
        await journal.flush()
    path.unlink()
    await until(lambda: not journal.failure)
    await journal.flush()
    assert await kept(path) == {1}
    await journal.close()


def test_what_is_in_memory_comes_back_after_a_journal_was_emptied_in_use(live, tmp_path: Path) -> None:
    """A snapshot is written at once: memory has more than the file. `/readyz` says what happened."""
    first = live(journal="sqlite")

    def insert(number: int) -> None:
        entry = {"keys": {"v": [100.0 * number, 0.0, 0.0, 0.0]}, "result": {"n": number}}
        answer = first.http.post("/v1/functions/devices/entries", params={"durable": "true"}, json={"entries": [entry]})
        assert answer.status_code == 201

    for number in range(5):
        insert(number)
    path = tmp_path / "data/journal.sqlite"
    os.truncate(path, 0)
    os.truncate(path.with_name(path.name + "-wal"), 0)
    insert(5)
    while "damage" not in first.http.get("/readyz").json()["degraded"]:
        pass
    snapshot = path.with_name(path.name + ".snapshot")
    while not snapshot.exists():
        first.http.get("/livez")
    copy = tmp_path / "copy"
    shutil.copytree(path.parent, copy)
    second = live(journal="sqlite", data_dir=copy)
    while not second.http.get("/readyz").json()["ready"]:
        pass
    assert second.http.get("/v1/functions/devices").json()["entries"] == 6


@pytest.mark.parametrize("place", ["journal.sqlite", "journal.sqlite.lock", "journal.sqlite-wal"])
def test_a_start_that_a_place_refuses_says_so_in_one_line(functions_dir: Path, tmp_path: Path, place: str) -> None:
    """No traceback, and what to do."""
    (tmp_path / "data" / place).mkdir(parents=True)
    words = ("--functions", str(functions_dir), "--data-dir", str(tmp_path / "data"), "--port", "0")
    done = subprocess.run(
        [sys.executable, "-m", "likewise", "serve", *words, "--journal", "sqlite"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = [each for each in done.stderr.splitlines() if "journal.sqlite" in each]
    assert "cannot be opened" in line
    assert "Choose a folder" in line


def count_elsewhere(path: Path) -> str:
    """Return how many entries another process finds in a journal, as an operator may look at it."""
    read = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); print(*db.execute('SELECT count(*) FROM entries'))"
    command = [sys.executable, "-c", f"{read}; db.close()", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


async def test_who_reads_the_journal_beside_the_server_leaves_its_log_alone(tmp_path: Path) -> None:
    """The last one that closes a database removes its log; that the server has it open is told by locks."""
    path = tmp_path / "journal.sqlite"
    journal = await filled(path, 3)
    log = path.with_name(path.name + "-wal").stat()
    assert count_elsewhere(path) == "(3,)"
    now = path.with_name(path.name + "-wal").stat()
    assert (now.st_ino, now.st_size) == (log.st_ino, log.st_size)
    await journal.close()
