"""The journal that keeps nothing."""

from __future__ import annotations

from journals import FUNCTION, make_entry

from likewise.journal.memory import MemoryJournal
from likewise.records import Inserted


async def test_alone_it_counts_and_forgets() -> None:
    """No replay, no peers, no snapshot, and no error."""
    journal = MemoryJournal()
    await journal.start()
    journal.append(Inserted(FUNCTION, make_entry(1)))
    await journal.flush()
    await journal.seal([])
    journal.supply(lambda function: [])
    assert [batch async for batch in journal.replay()] == []
    assert [batch async for batch in journal.follow()] == []
    assert [block async for block in journal.blocks()] == []
    assert journal.statistics()["appended"] == 1
    await journal.close()
    assert journal.statistics()["up"] == 0
