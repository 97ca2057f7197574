"""SQLite against a plain model: any sequence of records, restarts, snapshots and compactions gives the same entries."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from journals import FUNCTION, Model, make_entry

from likewise.journal.blocks import block_of, entries_of
from likewise.journal.sqlite.journal import SqliteJournal
from likewise.records import Inserted, Invalidated

TAGS = ("a", "b")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.sets(st.sampled_from(TAGS))),
        st.tuples(st.just("ids"), st.sets(st.integers(0, 25), min_size=1, max_size=4)),
        st.tuples(st.just("tag"), st.sampled_from(TAGS)),
        st.tuples(st.sampled_from(["everything", "restart", "seal", "flush"]), st.none()),
    ),
    max_size=25,
)


async def run(script: list[tuple[str, object]], path: Path) -> None:
    async def opened() -> SqliteJournal:
        journal = SqliteJournal(path, commit_interval_s=0.0, compact_after=3, replay_batch=4)
        await journal.start()
        return journal

    model = Model()
    journal = await opened()
    inserted = 0
    try:
        for action, value in script:
            if action == "insert":
                entry = make_entry(inserted, tags=tuple(sorted(value)))  # type: ignore[call-overload]
                inserted += 1
                record: Inserted | Invalidated = Inserted(FUNCTION, entry)
            elif action == "ids":
                record = Invalidated(FUNCTION, 1.0, ids=tuple(value))  # type: ignore[arg-type]
            elif action == "tag":
                record = Invalidated(FUNCTION, 1.0, tag=str(value))
            elif action == "everything":
                record = Invalidated(FUNCTION, 1.0, everything=True)
            else:
                if action == "seal":
                    await journal.seal([block_of(FUNCTION, list(model.entries.values()))])
                elif action == "flush":
                    await journal.flush()
                else:
                    await journal.close()
                    journal = await opened()
                continue
            model.apply([record])
            journal.append(record)
        await journal.close()
        for with_blocks in (True, False):
            journal = await opened()
            rebuilt = Model()
            if with_blocks:
                async for block in journal.blocks():
                    rebuilt.apply(Inserted(block.function, entry) for entry in entries_of(block))
            async for batch in journal.replay():
                rebuilt.apply(batch)
            assert rebuilt.ids == model.ids
            await journal.close()
    finally:
        await journal.close()


@settings(max_examples=25, deadline=None)
@given(steps)
def test_any_history_replays_to_the_entries_that_are_live(script: list[tuple[str, object]]) -> None:
    """From the snapshot or without it, after any number of restarts."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(script, Path(folder) / "journal.sqlite"))
