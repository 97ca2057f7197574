"""Journals by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from likewise.errors import SettingsError
from likewise.journal.make import open_journal
from likewise.journal.memory import MemoryJournal
from likewise.journal.redis.journal import RedisJournal
from likewise.journal.sqlite.journal import SqliteJournal


def test_each_kind_has_its_journal(tmp_path: Path) -> None:
    """Nothing is opened before the start."""
    assert isinstance(open_journal("memory"), MemoryJournal)
    assert isinstance(open_journal("sqlite", path=tmp_path / "j"), SqliteJournal)
    assert isinstance(open_journal("redis", redis_url="redis://127.0.0.1:1/0"), RedisJournal)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("postgres", {}, "memory, sqlite, redis"),
        ("sqlite", {}, "path"),
        ("redis", {}, "redis_url"),
        ("memory", {"colour": 1}, "colour"),
    ],
)
def test_what_is_missing_or_unknown_is_named(kind: str, options: dict, reason: str) -> None:
    """A wrong setting ends the start with a sentence."""
    with pytest.raises(SettingsError, match=reason):
        open_journal(kind, **options)
