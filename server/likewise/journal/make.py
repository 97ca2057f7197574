"""Which journals there are, by name."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from likewise.errors import SettingsError
from likewise.journal.memory import MemoryJournal
from likewise.journal.redis.journal import RedisJournal
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.ports import Journal

KINDS = ("memory", "sqlite", "redis")


def open_journal(
    kind: str, *, path: Path | None = None, redis_url: str | None = None, node: str | None = None, **options: Any
) -> Journal:
    """Return a journal that is not started yet.

    kind: "memory", "sqlite" (needs `path`, a file) or "redis" (needs `redis_url`).
    node: this process's name, unique among all that share; drawn at random where there is none. What a node
    learned is found again only under the same name.
    options: whatever else the constructor of that journal takes.
    Raises SettingsError for an unknown kind, a missing place or an unknown option.
    """
    try:
        if kind == "memory":
            return MemoryJournal(node=node or "", **options)
        if kind == "sqlite":
            if path is None:
                raise SettingsError("The SQLite journal needs a path; set journal_path to a file.")
            return SqliteJournal(Path(path), **options)
        if kind == "redis":
            if not redis_url:
                raise SettingsError("The Redis journal needs a URL; set redis_url, such as redis://127.0.0.1:6379/0.")
            return RedisJournal(redis_url, node=node or uuid.uuid4().hex[:12], **options)
    except TypeError as error:
        raise SettingsError(f"The {kind} journal does not take these options: {error}.") from error
    raise SettingsError(f"There is no journal {kind!r}. Choose one of {', '.join(KINDS)}.")
