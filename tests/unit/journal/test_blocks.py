"""Entries as columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from journals import FUNCTION, make_entry, same

from likewise.errors import JournalError
from likewise.journal.blocks import block_of, check, entries_of, select
from likewise.types import Result

ENTRIES = [
    make_entry(i, tags=("x",) if i % 2 else (), result=Result(b"r" * i, f"text/{i % 3}"), use_count=i) for i in range(7)
]


def test_a_block_gives_back_its_entries() -> None:
    """Bit by bit and in order."""
    assert all(same(*pair) for pair in zip(entries_of(block_of(FUNCTION, ENTRIES)), ENTRIES, strict=True))


def test_a_selection_keeps_rows_whole() -> None:
    """Results and keys stay with their entries."""
    keep = np.array([True, False, True, True, False, False, True])
    chosen = select(block_of(FUNCTION, ENTRIES), keep)
    check(chosen)
    assert all(same(*pair) for pair in zip(entries_of(chosen), [ENTRIES[i] for i in (0, 2, 3, 6)], strict=True))


def test_selecting_all_copies_nothing_and_nothing_is_empty() -> None:
    """The usual case is free."""
    block = block_of(FUNCTION, ENTRIES)
    assert select(block, np.ones(7, np.bool_)) is block
    assert len(select(block, np.zeros(7, np.bool_))) == 0
    check(block_of(FUNCTION, []))


def test_entries_that_do_not_match_share_no_block() -> None:
    """Key types and dimensions have to agree."""
    with pytest.raises(JournalError, match="key types"):
        block_of(FUNCTION, [make_entry(1), make_entry(2, keys={})])
    with pytest.raises(JournalError, match="dimensions"):
        block_of(FUNCTION, [make_entry(i, keys={"k": np.zeros(i, np.float32)}) for i in (1, 2)])


@pytest.mark.parametrize(
    "fields",
    [
        {"facts": {"cost_s": np.zeros(3)}},
        {"keys": {"k": np.zeros((3, 2), np.float32)}},
        {"body_ends": np.arange(7)[::-1].astype(np.int64)},
        {"body_ends": np.full(7, 99, np.int64)},
        {"facts": {"media_type": np.full(7, 3)}},
        {"facts": {"tags": np.full(7, -1)}},
    ],
    ids=["short column", "short keys", "results backwards", "results outside", "no such type", "no such tags"],
)
def test_columns_that_do_not_fit_together_are_found(fields: dict) -> None:
    """A damaged snapshot must not become wrong entries."""
    with pytest.raises(JournalError, match="fit together"):
        block = block_of(FUNCTION, ENTRIES)
        check(replace(block, **{**fields, "facts": {**block.facts, **fields.get("facts", {})}}))
