"""What a node lets in of a stream, and how it sees that it lost its place."""

from __future__ import annotations

import time
from typing import Any

import pytest
from journals import FUNCTION, make_entry

from likewise.clocks import SteadyClock
from likewise.errors import UNFIT
from likewise.journal.codec import encode
from likewise.journal.redis.streams import START, Names, Stream, StreamId, StreamStatus
from likewise.journal.withdrawals import Withdrawals
from likewise.records import Inserted, Invalidated, Record


def entry(number: int, record: Record, origin: str = "other", **fields: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    more = {name.encode(): value for name, value in fields.items()}
    return b"%d-0" % number, {b"n": origin.encode(), b"r": encode(record), **more}


def ids(records: list[Record]) -> list[int]:
    return [record.entry.id for record in records if isinstance(record, Inserted)]


def test_stream_ids_are_ordered_as_numbers() -> None:
    """Not as text."""
    assert StreamId.parse(b"9-1") < StreamId.parse("10-0") < StreamId.parse("10-2") < StreamId.parse(b"10-10")
    assert StreamId.parse("5") == (5, 0)
    assert str(StreamId(7, 3)) == "7-3"


@pytest.mark.parametrize("raw", [b"", b"x", b"-1-2", b"1--2", b"\xff", b"18446744073709551616-0", b"0-%d" % 2**64])
def test_what_redis_itself_would_refuse_is_no_stream_id(raw: bytes) -> None:
    """A node that took it for its position would be refused each time that it asks for what is behind it."""
    with pytest.raises(ValueError):  # noqa: PT011 - the library's own as well
        StreamId.parse(raw)


def test_all_keys_of_a_function_share_a_hash_tag() -> None:
    """So a cluster keeps them in one slot."""
    names = Names("p")
    keys = [names.stream("f@1"), names.epoch("f@1"), names.learned("f@1", "n")]
    assert all("{f@1}" in key and key.startswith("p:") for key in keys)
    assert len(set(keys)) == 3


def test_ones_own_records_and_other_functions_stay_out() -> None:
    """A node knows what it inserted."""
    stream = Stream(FUNCTION, "me", Withdrawals(SteadyClock(time.time)))
    news = stream.admit(
        [
            entry(1, Inserted(FUNCTION, make_entry(1)), "me"),
            entry(2, Inserted(FUNCTION, make_entry(2))),
            entry(3, Inserted("other@1", make_entry(3))),
            (b"4-0", None),
        ]
    )
    assert ids(news) == [2]
    assert stream.position == StreamId(4, 0)


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param((7, {}), id="a number for an id"),
        pytest.param(entry(2, Inserted(FUNCTION, make_entry(3))), id="the same place again"),
        pytest.param((b"4-0", {b"r": 7}), id="a number for a record"),
        pytest.param((b"4-0", [b"r"]), id="a list for fields"),
        pytest.param(b"4-0", id="no fields"),
    ],
)
def test_of_an_answer_that_is_no_stream_nothing_is_let_in(strange: Any) -> None:
    """What is good in it is read again: the position is where it was."""
    stream = Stream(FUNCTION, "me", Withdrawals(SteadyClock(time.time)))
    good = [entry(number, Inserted(FUNCTION, make_entry(number))) for number in (1, 2)]
    stream.admit(good[:1])
    with pytest.raises(UNFIT):
        stream.admit([good[1], strange])
    assert ids(stream.admit(good[1:])) == [2]


def test_a_node_that_dropped_everything_takes_its_own_back() -> None:
    """Until it has caught up, also what it sent meanwhile; from then on its own are no news again."""
    stream = Stream(FUNCTION, "me", Withdrawals(SteadyClock(time.time)))
    stream.rewind(StreamStatus("e", StreamId(1, 0), StreamId(2, 0), False))
    stream.wiped = True
    news = stream.admit([entry(i, Inserted(FUNCTION, make_entry(i)), "me") for i in (1, 2, 3)])
    assert ids(news) == [1, 2, 3]
    stream.wiped = False
    assert ids(stream.admit([entry(4, Inserted(FUNCTION, make_entry(4)), "me")])) == []


def test_a_lost_stream_is_searched_for_what_it_has() -> None:
    """One's own too, so that they are not sent twice; they are no news."""
    stream = Stream(FUNCTION, "me", Withdrawals(SteadyClock(time.time)))
    stream.emptied = True
    news = stream.admit(
        [entry(1, Inserted(FUNCTION, make_entry(1)), "me"), entry(2, Inserted(FUNCTION, make_entry(2)))]
    )
    assert ids(news) == [2]
    assert stream.seen == {1, 2}


def test_an_invalidation_told_again_is_no_news_and_a_new_one_is() -> None:
    """Applying it twice would take out what came in between."""
    stream = Stream(FUNCTION, "me", Withdrawals(SteadyClock(time.time)))
    record = Invalidated(FUNCTION, 5.0, tag="x")
    assert stream.admit([entry(1, record)]) == [record]
    assert stream.admit([entry(2, record, a=b"1")]) == []
    assert stream.admit([entry(3, record)]) == [record]


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (StreamStatus("e", StreamId(1, 0), StreamId(9, 0), True), ""),
        (StreamStatus("e", StreamId(6, 0), StreamId(9, 0), False), "trimmed"),
        (StreamStatus("e", StreamId(1, 0), StreamId(4, 0), False), "lost"),
        (StreamStatus("e", StreamId(1, 0), StreamId(9, 0), False), "lost"),
        (StreamStatus("e", None, None, False), "lost"),
        (StreamStatus("f", StreamId(1, 0), StreamId(9, 0), True), "lost"),
    ],
    ids=["all well", "trimmed", "rewound", "rewound and written to", "emptied", "begun anew"],
)
def test_a_node_sees_what_became_of_its_stream(status: StreamStatus, verdict: str) -> None:
    """From the epoch, the ends, and whether its own place is still there."""
    stream = Stream(FUNCTION, "me", Withdrawals(SteadyClock(time.time)))
    stream.rewind(StreamStatus("e", None, None, False))
    stream.position = StreamId(5, 0)
    assert stream.judge(status) == verdict


def test_a_stream_that_was_never_read_has_lost_nothing() -> None:
    """A new node begins at the start."""
    stream = Stream(FUNCTION, "me", Withdrawals(SteadyClock(time.time)))
    assert stream.judge(StreamStatus("e", StreamId(50, 0), StreamId(60, 0), False)) == ""
    assert stream.position == START
    assert stream.caught_up
