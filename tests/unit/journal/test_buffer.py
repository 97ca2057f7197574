"""The buffer in front of a journal."""

from __future__ import annotations

import pytest
from journals import FUNCTION, make_entry

from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.buffer import Buffer
from likewise.records import Inserted, Invalidated


def insert(buffer: Buffer, *ids: int) -> None:
    for one in ids:
        buffer.append(Inserted(FUNCTION, make_entry(one)))


def ids_of(buffer: Buffer) -> list[int]:
    return [item.entry_id for item in buffer.take()]


def test_items_come_out_in_order_with_their_positions() -> None:
    """Positions count appended records from one."""
    buffer = Buffer(10, 10**6)
    insert(buffer, 5, 6)
    assert [(item.position, item.entry_id) for item in buffer.take()] == [(1, 5), (2, 6)]
    assert (len(buffer), buffer.pending_bytes) == (0, 0)


def test_only_the_first_append_to_an_empty_buffer_says_so() -> None:
    """Whoever waits for records is woken once, not for each."""
    buffer = Buffer(10, 10**6)
    assert buffer.append(Inserted(FUNCTION, make_entry(1)))
    assert not buffer.append(Inserted(FUNCTION, make_entry(2)))
    buffer.take()
    assert buffer.append(Inserted(FUNCTION, make_entry(3)))


def test_a_full_buffer_drops_the_oldest_entries() -> None:
    """By number and by size alike."""
    buffer = Buffer(3, 10**6)
    insert(buffer, *range(10))
    assert buffer.dropped == 7
    assert ids_of(buffer) == [7, 8, 9]
    size = len(codec.encode(Inserted(FUNCTION, make_entry(1))))
    buffer = Buffer(100, 2 * size)
    insert(buffer, *range(10))
    assert ids_of(buffer) == [8, 9]


def test_a_record_larger_than_the_whole_buffer_is_kept_alone() -> None:
    """There is always room for one."""
    buffer = Buffer(10, 1)
    insert(buffer, 1, 2)
    assert ids_of(buffer) == [2]


def test_invalidations_are_never_dropped_and_keep_their_place() -> None:
    """They stay in front of what was appended after them."""
    buffer = Buffer(2, 10**6)
    insert(buffer, 1)
    buffer.append(Invalidated(FUNCTION, 1.0, ids=(1,)))
    insert(buffer, 2, 3, 4, 5)
    items = buffer.take()
    assert [item.kind for item in items] == [codec.INVALIDATED, codec.INSERTED, codec.INSERTED]
    assert [item.position for item in items] == [2, 5, 6]


def test_too_many_invalidations_become_one_that_takes_everything() -> None:
    """One per function, which is safe and small."""
    buffer = Buffer(1, 10**6, max_invalidations=3)
    for i in range(20):
        buffer.append(Invalidated(f"f{i % 2}@1", float(i), ids=(i,)))
    insert(buffer, 1)
    records = [codec.decode(item.frame) for item in buffer.take()]
    everything = [record for record in records if isinstance(record, Invalidated) and record.everything]
    assert {record.function for record in everything} == {"f0@1", "f1@1"}
    assert len(records) < 8
    assert buffer.pending_bytes == 0
    assert buffer.dropped == 0


def test_what_is_put_back_comes_out_first() -> None:
    """A failed write leaves the order as it was."""
    buffer = Buffer(10, 10**6)
    insert(buffer, 1, 2, 3)
    first = buffer.take(2)
    insert(buffer, 4)
    buffer.put_back(first)
    assert ids_of(buffer) == [1, 2, 3, 4]


def test_what_does_not_fit_back_is_dropped_and_counted() -> None:
    """A long outage keeps the newest."""
    buffer = Buffer(3, 10**6)
    insert(buffer, 1, 2)
    taken = buffer.take()
    insert(buffer, 3, 4)
    buffer.put_back(taken)
    assert buffer.dropped == 1
    assert ids_of(buffer) == [2, 3, 4]


def test_taking_is_bounded_by_number_and_size() -> None:
    """At least one comes, if there is one."""
    buffer = Buffer(10, 10**6)
    insert(buffer, 1, 2, 3)
    assert len(buffer.take(max_items=2)) == 2
    assert len(buffer.take(max_bytes=1)) == 1
    assert buffer.take() == []


def test_a_buffer_without_room_is_refused() -> None:
    """Zero is no bound."""
    with pytest.raises(JournalError, match="at least one"):
        Buffer(0, 1)
