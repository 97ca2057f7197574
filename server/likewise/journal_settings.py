"""The settings of the journal, and of what is remembered beside entries."""

from __future__ import annotations

from dataclasses import dataclass

from likewise.setting import row


@dataclass(frozen=True)
class JournalSettings:
    """Part of `Settings`."""

    journal: str = row(
        "sqlite",
        "What survives a restart: memory (nothing), sqlite (everything, on this node) or redis (shared by nodes).",
        choices=("memory", "sqlite", "redis"),
        group="Journal",
    )
    journal_path: str = row("", "File of the SQLite journal; empty: journal.sqlite in the data folder.")
    redis_url: str = row("redis://127.0.0.1:6379/0", "Where the Redis journal is.")
    node: str = row(
        "",
        "Name of this node among those that share, under which it finds again what it learned; empty: drawn once and "
        "kept in the data folder. Worker N is called NODE-N.",
    )
    journal_buffer: int = row(65_536, "Records that may wait to be written; more are dropped and counted.", minimum=1)
    journal_commit_s: float = row(
        0.05,
        "SQLite: what was kept this long ago survives the death of the process (kill -9); `durable` inserts wait for "
        "the disk in any case.",
        unit="seconds",
        minimum=0.001,
        maximum=60,
    )
    journal_sync_s: float = row(
        1.0,
        "SQLite: what was kept this long ago survives the death of the machine (power cut).",
        unit="seconds",
        minimum=0.001,
        maximum=3600,
    )
    journal_bytes: int = row(
        1 << 30, "SQLite: bound on the journal's file; the oldest entries go first.", unit="bytes", minimum=1 << 20
    )
    snapshot_s: float = row(
        300.0,
        "SQLite: time between two snapshots, from which a restart is several times as fast; one is kept at the end "
        "as well.",
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    stream_entries: int = row(
        100_000,
        "Redis: records kept in the stream of each function; a node that was away for longer starts over.",
        minimum=100,
    )
    invalidated_tags: int = row(
        10_000,
        "Tags of each function whose invalidation a node remembers, to keep out late copies; beyond, the oldest keeps "
        "out all late copies that are as old.",
        minimum=1,
    )
    max_devices: int = row(
        10_000,
        "Devices of each function whose last answer is remembered, as evidence for the next; beyond, the one known "
        "longest is forgotten, of the account that has most.",
        minimum=1,
    )
