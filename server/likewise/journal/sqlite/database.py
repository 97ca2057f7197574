"""The SQLite file under a journal: its tables, its versions, and every statement that is run on it.

Rows are only ever added behind the last and taken out, never searched by id: an insert touches the end of one table, so
a million entries take the disk no longer than a thousand. Invalidations are rows of their own, applied by position.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from likewise.errors import JournalError
from likewise.files import file_at
from likewise.journal import codec
from likewise.journal.buffer import Item
from likewise.journal.private import keep_private
from likewise.records import Learned

APPLICATION_ID = 0x4C4B5753  # "LKWS"
HEADER_BYTES = 100
"""A file with fewer holds no database."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE entries(position INTEGER PRIMARY KEY, function TEXT NOT NULL, id INTEGER NOT NULL, "
        "expires_at REAL NOT NULL, frame BLOB NOT NULL)",
        "CREATE TABLE invalidations(position INTEGER PRIMARY KEY, function TEXT NOT NULL, frame BLOB NOT NULL)",
        "CREATE TABLE learned(function TEXT NOT NULL, key_type TEXT NOT NULL, position INTEGER NOT NULL, "
        "frame BLOB NOT NULL, PRIMARY KEY(function, key_type))",
        "CREATE TABLE quarantine(number INTEGER PRIMARY KEY, at REAL NOT NULL, source TEXT NOT NULL, "
        "position INTEGER NOT NULL, reason TEXT NOT NULL, frame BLOB)",
        "CREATE TABLE facts(name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
        "INSERT INTO facts VALUES('last_position', 0)",
    ),
)
"""Statements that lead from each format version to the next; `PRAGMA user_version` says which have been run."""

# One statement for many rows: the interpreter's lock is given up once for all of them, not once for each.
_ROWS_AT_ONCE = (256, 64, 16, 4, 1)
_INSERT = {n: "INSERT OR REPLACE INTO entries VALUES" + ",".join(["(?,?,?,?,?)"] * n) for n in _ROWS_AT_ONCE}
_READ_BYTES = 16 * 2**20
_FETCH = 256


class Row(NamedTuple):
    """One kept record."""

    position: int
    frame: bytes


class Database:
    """One connection to the file. Not safe between threads: each thread has its own.

    Raises JournalError where the file is another application's or of a newer format, sqlite3.Error otherwise:
    `sqlite.py` knows which of those are damage and which are passing.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        migrations: Sequence[Sequence[str]] = MIGRATIONS,
        busy_timeout_s: float = 5.0,
    ) -> None:
        self.path, self.log_path = path, path.with_name(path.name + "-wal")
        if not read_only:
            _keep_private(path)  # SQLite gives its side files the mode of the file
        self._db = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
        self._db.text_factory = lambda raw: raw.decode("utf-8", "replace")  # a damaged name must not stop a query
        try:
            if read_only:
                self._db.execute("PRAGMA query_only=ON")
            else:
                self._prepare(migrations)
                self._fact("epoch")  # raises where the file is damaged
            self._files = self._files_now()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, migrations: Sequence[Sequence[str]]) -> None:
        version = int(self._value("PRAGMA user_version"))
        application = int(self._value("PRAGMA application_id"))
        tables = int(self._value("SELECT count(*) FROM sqlite_master"))
        if application != APPLICATION_ID and (application or version or tables):
            raise JournalError(f"{self.path} is a database of another application. Choose another journal path.")
        if version > len(migrations):
            raise JournalError(
                f"The journal {self.path} has format {version}; this server knows {len(migrations)}. "
                "Upgrade the server, or choose another journal path."
            )
        if version == 0 and not tables:
            self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(f"PRAGMA journal_size_limit={16 * 2**20}")
        self._db.execute("PRAGMA wal_autocheckpoint=4000")  # pages; `Syncer` is there before that, beside commits
        while version < len(migrations):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for statement in migrations[version]:
                    self._db.execute(statement)
                version += 1
                if version == 1:
                    self._db.execute("INSERT INTO facts VALUES('epoch', ?)", (uuid.uuid4().hex,))
                self._db.execute(f"PRAGMA user_version={version}")
                self._db.execute(f"PRAGMA application_id={APPLICATION_ID}")
                self._db.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    @property
    def epoch(self) -> str:
        """Names this journal: a snapshot that says another one is not its own."""
        return str(self._fact("epoch"))

    @property
    def newest_entry(self) -> int:
        """The largest position of an entry that is kept; 0 without any."""
        return self._value("SELECT coalesce(max(position), 0) FROM entries")

    @property
    def last_position(self) -> int:
        """The last position ever written, whether it is still kept or not."""
        return int(str(self._fact("last_position")))

    def write(self, items: Sequence[Item]) -> None:
        """Commit records in one transaction; `Syncer` brings it to the disk."""
        if not items:
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._insert([item for item in items if item.kind == codec.INSERTED])
            for item in items:
                if item.kind == codec.INVALIDATED:
                    row = (item.position, item.function, item.frame)
                    self._db.execute("INSERT OR REPLACE INTO invalidations VALUES(?,?,?)", row)
                elif item.kind == codec.LEARNED:
                    record = codec.decode(item.frame)
                    assert isinstance(record, Learned)
                    self._db.execute(
                        "INSERT OR REPLACE INTO learned VALUES(?,?,?,?)",
                        (item.function, record.key_type, item.position, item.frame),
                    )
            self.set_fact("last_position", items[-1].position)
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _insert(self, items: Sequence[Item]) -> None:
        at = 0
        for rows in _ROWS_AT_ONCE:
            while len(items) - at >= rows:
                values: list[object] = []
                for item in items[at : at + rows]:
                    values += (item.position, item.function, item.entry_id, item.expires_at, item.frame)
                self._db.execute(_INSERT[rows], values)
                at += rows

    def read(self, after: int, until: int, now: float, max_rows: int) -> list[Row]:
        """Return the next unexpired entries with positions in (after, until]; empty when there are no more."""
        cursor = self._db.execute(
            "SELECT position, CAST(frame AS BLOB) FROM entries WHERE position > ? AND position <= ? AND expires_at > ? "
            "ORDER BY position LIMIT ?",
            (after, until, now, max_rows),
        )
        rows: list[Row] = []
        size = 0
        while size < _READ_BYTES and (some := cursor.fetchmany(_FETCH)):
            rows.extend(map(Row._make, some))
            size += sum(len(frame) for _, frame in some)
        cursor.close()
        return rows

    def count(self, after: int, now: float) -> int:
        """Return how many unexpired entries stand behind a position."""
        query = "SELECT count(*) FROM entries WHERE position > ? AND expires_at > ?"
        return int(self._value(query, (after, now)))

    def invalidations(self, after: int = 0) -> list[tuple[int, str, bytes]]:
        """Return position, function and frame of the invalidations behind a position, in order."""
        query = "SELECT position, function, CAST(frame AS BLOB) FROM invalidations WHERE position > ? ORDER BY position"
        return self._db.execute(query, (after,)).fetchall()

    def learned(self) -> list[Row]:
        """Return the newest learned state of each function and key type."""
        return [
            Row(*row) for row in self._db.execute("SELECT position, CAST(frame AS BLOB) FROM learned ORDER BY position")
        ]

    def heads(self, after: int, rows: int) -> list[tuple[int, str, int, float]]:
        """Return position, function, id and expiry of the next entries behind a position."""
        query = "SELECT position, function, id, expires_at FROM entries WHERE position > ? ORDER BY position LIMIT ?"
        return self._db.execute(query, (after, rows)).fetchall()

    def frame(self, position: int) -> bytes:
        """Return the frame of one entry, empty if it is gone."""
        row = self._db.execute("SELECT CAST(frame AS BLOB) FROM entries WHERE position = ?", (position,)).fetchone()
        return bytes(row[0]) if row else b""

    def remove(self, positions: Sequence[int]) -> None:
        """Delete entries."""
        with self.transaction():
            self._db.executemany("DELETE FROM entries WHERE position = ?", [(one,) for one in positions])

    def remove_oldest(self, rows: int) -> int:
        """Delete the oldest entries; return how many."""
        with self.transaction():
            return self._db.execute(
                "DELETE FROM entries WHERE position IN (SELECT position FROM entries ORDER BY position LIMIT ?)",
                (rows,),
            ).rowcount

    def remove_invalidations(self, until: int) -> None:
        """Delete invalidations up to a position: nothing that they took out is left."""
        with self.transaction():
            self._db.execute("DELETE FROM invalidations WHERE position <= ?", (until,))

    def quarantine(self, source: str, rows: Sequence[Row], reasons: Sequence[str], at: float, keep: int) -> None:
        """Move damaged rows of a table out of the way, where they can be looked at; the newest `keep` stay."""
        with self.transaction():
            for row, reason in zip(rows, reasons, strict=True):
                self._db.execute(f"DELETE FROM {source} WHERE position = ?", (row.position,))  # noqa: S608 - our names
                self._db.execute(
                    "INSERT INTO quarantine(at, source, position, reason, frame) VALUES(?,?,?,?,?)",
                    (at, source, row.position, reason, row.frame),
                )
            query = "DELETE FROM quarantine WHERE number <= (SELECT max(number) FROM quarantine) - ?"
            self._db.execute(query, (keep,))

    def quarantined(self) -> int:
        """Return how many damaged rows are kept aside."""
        return int(self._value("SELECT count(*) FROM quarantine"))

    def used_bytes(self) -> tuple[int, int]:
        """Return the bytes in use and the bytes that are free inside the file."""
        page = int(self._value("PRAGMA page_size"))
        pages, free = int(self._value("PRAGMA page_count")), int(self._value("PRAGMA freelist_count"))
        return (pages - free) * page, free * page

    def give_back(self, pages: int) -> None:
        """Return at most so many free pages to the file system."""
        # a row without columns stands for each page; `execute` takes it for the end after the first
        self._db.executescript(f"PRAGMA incremental_vacuum({pages})")

    def set_fact(self, name: str, value: str | int) -> None:
        """Remember one value under a name."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES(?, ?)", (name, value))

    @property
    def removed(self) -> bool:
        """Whether the file that is open is no longer the one at its path: others removed or replaced it."""
        return file_at(self.path) != self._files[0]

    @property
    def in_place(self) -> bool:
        """Whether the file and its write-ahead log are still those that are open."""
        return self._files_now() == self._files

    def copy_to(self, path: Path) -> None:
        """Write all of it into a new file at a path. Raises sqlite3.Error where there is one."""
        _keep_private(path)
        self._db.execute("VACUUM INTO ?", (str(path),))

    def transaction(self) -> _Transaction:
        """Return a context in which statements are one transaction."""
        return _Transaction(self._db, self._roll_back)

    def close(self) -> None:
        """Close the connection; the last one to close folds the write-ahead log into the file."""
        self._db.close()

    def _files_now(self) -> list[tuple[int, int] | None]:
        return [file_at(self.path), file_at(self.log_path)]

    def _fact(self, name: str) -> object:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"the fact {name!r} is missing")
        return row[0]

    def _value(self, query: str, values: Sequence[object] = ()) -> int:
        row = self._db.execute(query, tuple(values)).fetchone()
        return int(row[0])

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:  # the failure that brought us here ended the transaction already
                return


def _keep_private(path: Path) -> None:
    try:
        keep_private(path)
    except OSError as error:
        raise sqlite3.OperationalError(error.strerror) from error


class _Transaction:
    def __init__(self, db: sqlite3.Connection, roll_back: object) -> None:
        self._db = db
        self._roll_back = roll_back

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")


def is_damage(error: sqlite3.Error) -> bool:
    """Say whether an error means that the file itself is damaged, not that the moment is bad."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return type(error) is sqlite3.DatabaseError
    # A missing table or column in a file with our mark is damage as well: no statement here asks for another.
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH)


def readable(database: Database, first: int, last: int) -> Iterator[Row]:
    """Yield every entry with a position in [first, last] that can be read from a damaged file, in order.

    Ranges that cannot be read are halved until what is lost is down to single rows.
    """
    ranges = [(first, last)]
    while ranges:
        low, high = ranges.pop()
        try:
            at = low - 1
            while rows := database.read(at, high, -1.0, 1000):
                yield from rows
                at = rows[-1].position
        except sqlite3.Error:
            # What was yielded of this range is not yielded again: go on behind it.
            low = at + 1
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]
