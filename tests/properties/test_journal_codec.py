"""The codec under random records and random damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from journals import same

from likewise.errors import JournalError
from likewise.journal.codec import MAGIC, Limits, decode, encode
from likewise.records import Inserted, Invalidated, Learned, Observed, Record, Registered, Unregistered
from likewise.types import Entry, Result, Sample

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
seconds = st.floats(0, 1e12)
ids = st.integers(0, 2**63 - 1)
keys = arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
entries = st.builds(
    Entry,
    id=ids,
    keys=st.dictionaries(texts, keys, max_size=3),
    result=st.builds(Result, st.binary(max_size=200), texts),
    cost_s=seconds,
    created_at=seconds,
    expires_at=seconds | st.just(float("inf")),
    tags=st.lists(texts, max_size=4).map(tuple),
    use_count=st.integers(0, 2**32 - 1),
)
invalidations = st.one_of(
    st.builds(Invalidated, texts, seconds, ids=st.lists(ids, min_size=1, max_size=20).map(tuple)),
    st.builds(Invalidated, texts, seconds, tag=texts),
    st.builds(Invalidated, texts, seconds, everything=st.just(True)),
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
learned = st.builds(Learned, texts, texts, st.dictionaries(texts, plain, max_size=4))
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


def samples(width: int) -> st.SearchStrategy[tuple[Sample, ...]]:
    """Some samples whose evidence has so many numbers."""
    evidence = st.lists(numbers, min_size=width, max_size=width).map(tuple)
    return st.lists(st.builds(Sample, evidence, st.booleans(), numbers, numbers), max_size=4).map(tuple)


observed = st.builds(Observed, texts, texts, texts, texts, st.integers(0, 2**53), st.integers(0, 6).flatmap(samples))
registered = st.builds(Registered, texts, seconds, texts, st.dictionaries(texts, st.binary(max_size=50), max_size=3))
records = st.one_of(
    st.builds(Inserted, texts, entries),
    invalidations,
    learned,
    observed,
    registered,
    st.builds(Unregistered, texts, seconds),
)


@given(records)
def test_a_record_survives_encoding_and_decoding(record: Record) -> None:
    """What comes out is what went in."""
    back = decode(encode(record))
    if isinstance(record, Inserted):
        assert isinstance(back, Inserted)
        assert back.function == record.function
        assert same(back.entry, record.entry)
        assert all(key.dtype == np.float32 and key.flags.c_contiguous for key in back.entry.keys.values())
    else:
        assert back == record


@given(records, st.data())
def test_a_flipped_bit_is_found(record: Record, data: st.DataObject) -> None:
    """No single wrong bit passes, wherever it is."""
    frame = bytearray(encode(record))
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[bit // 8] ^= 1 << bit % 8
    with pytest.raises(JournalError):
        decode(bytes(frame))


@given(records, st.data())
def test_a_cut_or_extended_frame_is_found(record: Record, data: st.DataObject) -> None:
    """A torn record is no record, nor is one with something behind it."""
    frame = encode(record)
    with pytest.raises(JournalError):
        decode(frame[: data.draw(st.integers(0, len(frame) - 1))])
    with pytest.raises(JournalError):
        decode(frame + data.draw(st.binary(min_size=1, max_size=9)))


@given(st.binary(max_size=300))
def test_garbage_is_refused(garbage: bytes) -> None:
    """Random bytes raise the journal's error and no other."""
    with pytest.raises(JournalError):
        decode(garbage)
    with pytest.raises(JournalError):
        decode(MAGIC + garbage)


@given(st.integers(0, 3), st.integers(0, 8), st.binary(max_size=120))
def test_a_wrong_body_under_a_right_checksum_is_refused(version: int, kind: int, body: bytes) -> None:
    """Someone who can compute a checksum still cannot make the decoder raise anything else, or decode forever."""
    import struct
    import zlib

    head = struct.pack("<2sBBI", MAGIC, version, kind, len(body))
    frame = head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body
    try:
        record = decode(frame)
    except JournalError:
        return
    assert encode(record)


@given(st.builds(Inserted, texts, entries))
def test_limits_hold_on_both_sides(record: Inserted) -> None:
    """What the limits do not let in is refused when writing and when reading."""
    frame = encode(record)
    tight = Limits(frame_bytes=len(frame) - 1)
    with pytest.raises(JournalError):
        encode(record, tight)
    with pytest.raises(JournalError):
        decode(frame, tight)
