"""What the codec refuses, and says so."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from journals import FUNCTION, make_entry

from likewise.errors import JournalError
from likewise.journal.codec import Limits, decode, encode
from likewise.records import Inserted, Invalidated, Learned, Observed, Registered, Unregistered
from likewise.types import Sample

SAMPLE = Sample((1.0, 0.5), True, 0.25, 2.0)
WIDER = Sample((1.0, 0.5, 0.25), True, 0.25, 2.0)


def framed(kind: int, body: bytes, version: int = 1) -> bytes:
    head = struct.pack("<2sBBI", b"LJ", version, kind, len(body))
    return head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body


def observed_frame(row: list[float], number: bytes = b"0") -> bytes:
    described = b'["f","k","m","n",' + number + b"]"
    head = struct.pack("<III", len(described), 1, 1)
    return framed(4, head + described + np.array(row, "<f4").tobytes(), 2)


def registered_frame(described: bytes, files: bytes) -> bytes:
    return framed(5, struct.pack("<I", len(described)) + described + files, 2)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(b"LJ", "cut off", id="shorter than a head"),
        pytest.param(b"XX" + bytes(20), "no journal frame", id="wrong magic"),
        pytest.param(framed(1, b"", version=4), "version 4", id="newer version"),
        pytest.param(framed(1, b"abc")[:-1], "too long", id="wrong length"),
        pytest.param(framed(1, b"abc")[:-1] + b"x", "checksum", id="wrong byte"),
        pytest.param(framed(9, b""), "kind 9", id="unknown kind"),
        pytest.param(framed(1, b"abc"), "cut off", id="entry's head cut off"),
        pytest.param(framed(2, b"[]"), "promises", id="no object"),
        pytest.param(framed(2, b'{"function":"f","at":"x","ids":[],"tag":null,"everything":true}'), "time", id="time"),
        pytest.param(framed(2, b'{"function":"f","at":1,"ids":[-1],"tag":null,"everything":false}'), "id", id="id"),
        pytest.param(framed(2, b'{"function":3,"at":1,"ids":[1],"tag":null,"everything":false}'), "text", id="name"),
        pytest.param(framed(2, b'{"function":"f","at":1,"ids":[1],"tag":"x","everything":false}'), "one", id="two"),
        pytest.param(framed(3, b'{"function":"f","key_type":"k","state":[]}'), "object", id="state"),
        pytest.param(framed(3, b"[" * 100_000), "promises", id="bottomless"),
        pytest.param(framed(4, bytes(12)), "does not have", id="kind newer than the version"),
        pytest.param(framed(4, bytes(11), 2), "promises", id="samples' head cut off"),
        pytest.param(framed(4, struct.pack("<III", 2, 9999, 5) + b"[]", 2), "more samples", id="too many samples"),
        pytest.param(observed_frame([1.0, 0.5, 1.0]), "add up", id="samples missing"),
        pytest.param(observed_frame([float("nan"), 0.5, 1.0, 0.0]), "NaN", id="sample not a number"),
        pytest.param(observed_frame([1.0, 0.5, 1.0, 0.0], b'"x"'), "number", id="sample without a number"),
        pytest.param(registered_frame(b'["f@1",1,"",[["m",3]]]', b"ab"), "bytes", id="file cut off"),
        pytest.param(registered_frame(b'["f@1",1,"",[["m",1],["m",1]]]', b"ab"), "twice", id="file twice"),
        pytest.param(registered_frame(b'["f@1",1,"",[["m",1]]]', b"ab"), "add up", id="more than the files"),
        pytest.param(registered_frame(b'["f@1",null,"",[]]', b""), "time", id="registered at no time"),
        pytest.param(framed(6, b'["f@1"]', 2), "promises", id="removed at no time"),
    ],
)
def test_a_wrong_frame_says_what_is_wrong(frame: bytes, reason: str) -> None:
    """Each kind of damage has its own sentence."""
    with pytest.raises(JournalError, match=reason):
        decode(frame)


def entry_frame(shapes: bytes, floats: list[float], entry_id: int = 1, created_at: float = 0.0) -> bytes:
    description = b'["f","t",[],' + shapes + b"]"
    head = struct.pack("<QdddIIII", entry_id, created_at, 1.0, 0.0, 0, len(description), len(floats), 0)
    return framed(1, head + description + np.array(floats, "<f4").tobytes())


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(entry_frame(b'[["k",2]]', [1.0]), "add up", id="missing floats"),
        pytest.param(entry_frame(b'[["k",1]]', [float("nan")]), "NaN", id="not a number"),
        pytest.param(entry_frame(b'[["k",-1],["l",2]]', [1.0]), "dimension -1", id="negative dimension"),
        pytest.param(entry_frame(b'[["k",1],["k",0]]', [1.0]), "twice", id="key type twice"),
        pytest.param(entry_frame(b'[["k",1]]', [1.0], entry_id=2**63), "range", id="id too large"),
        pytest.param(entry_frame(b'[["k",1]]', [1.0], created_at=float("inf")), "range", id="no time"),
    ],
)
def test_an_impossible_entry_is_refused(frame: bytes, reason: str) -> None:
    """A right checksum does not make it right."""
    with pytest.raises(JournalError, match=reason):
        decode(frame)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        pytest.param(Inserted(FUNCTION, make_entry(1, keys={"k": np.zeros((2, 2), np.float32)})), "shape", id="matrix"),
        pytest.param(Inserted(FUNCTION, make_entry(1, tags=("t",) * 5000)), "tags", id="tags"),
        pytest.param(Inserted(FUNCTION, make_entry(-1)), "cannot be written", id="negative id"),
        pytest.param(Inserted("\ud800", make_entry(1)), "cannot be written", id="no text"),
        pytest.param(Inserted("f" * 2**21, make_entry(1)), "names and tags", id="endless name"),
        pytest.param(Invalidated(FUNCTION, 1.0, ids=(1,), everything=True), "exactly one", id="two selectors"),
        pytest.param(Invalidated(FUNCTION, 1.0, ids=(2**70,)), "cannot be written", id="id too large"),
        pytest.param(Invalidated(FUNCTION, 1.0, ids=tuple(range(2**20 + 1))), "Split", id="too many ids"),
        pytest.param(Learned(FUNCTION, "k", {"x": object()}), "JSON-able", id="no JSON"),
        pytest.param(Observed(FUNCTION, "k", "m", "n", 0, (SAMPLE,) * 5000), "Split", id="too many samples"),
        pytest.param(Observed(FUNCTION, "k", "m", "n", 0, (SAMPLE, WIDER)), "one width", id="two widths"),
        pytest.param(Registered(FUNCTION, 1.0, "", dict.fromkeys(map(str, range(300)), b"")), "files", id="files"),
        pytest.param(Unregistered("\ud800", 1.0), "cannot be written", id="removed name no text"),
    ],
)
def test_what_cannot_be_read_back_is_not_written(record: object, reason: str) -> None:
    """The one who appends is told, not the one who replays."""
    with pytest.raises(JournalError, match=reason):
        encode(record)  # type: ignore[arg-type]


def test_a_record_over_the_limit_names_the_remedy() -> None:
    """Large results are the usual reason."""
    with pytest.raises(JournalError, match="max_bytes"):
        encode(Inserted(FUNCTION, make_entry(1)), Limits(frame_bytes=100))


def test_numpy_values_in_a_state_become_plain_ones() -> None:
    """Policies compute with NumPy and need not convert."""
    state = {"a": np.float64(1.5), "b": np.arange(3), "c": np.bool_(True), "d": {"e": np.int64(7)}}
    back = decode(encode(Learned(FUNCTION, "k", state)))
    assert isinstance(back, Learned)
    assert back.state == {"a": 1.5, "b": [0, 1, 2], "c": True, "d": {"e": 7}}


def test_what_the_version_before_knew_is_written_as_it_knew_it() -> None:
    """So nodes can be upgraded one after the other; and what it wrote is read."""
    records = [
        Inserted(FUNCTION, make_entry(1)), Invalidated(FUNCTION, 1.0, ids=(1,)), Learned(FUNCTION, "k", {}),
        Observed(FUNCTION, "k", "m", "n", 0, (SAMPLE,)), Registered(FUNCTION, 1.0, "", {}), Unregistered(FUNCTION, 1.0),
    ]  # fmt: skip
    assert [encode(record)[2] for record in records] == [1, 1, 1, 2, 2, 2]
    assert decode(framed(3, b'{"function":"f","key_type":"k","state":{"a":1}}')) == Learned("f", "k", {"a": 1})
    assert decode(entry_frame(b'[["k",1]]', [2.0])).entry.keys["k"].tolist() == [2.0]  # type: ignore[union-attr]


def test_entries_without_later_facts_are_frames_that_every_version_reads() -> None:
    """The version says what is in a frame, so nodes can be upgraded one after the other."""
    plain = encode(Inserted(FUNCTION, make_entry(1)))
    full = encode(Inserted(FUNCTION, make_entry(1, digest=bytes(range(16)), signature="f4[2,3]", origin="head")))
    assert (plain[2], full[2]) == (1, 3)
    entry = decode(full).entry  # type: ignore[union-attr]
    assert (entry.digest, entry.signature, entry.origin) == (bytes(range(16)), "f4[2,3]", "head")
    before = decode(plain).entry  # type: ignore[union-attr]
    assert (before.digest, before.signature, before.origin) == (b"", "", "")


def test_facts_of_a_version_to_come_are_left_out() -> None:
    """Their sizes are in the frame, so what is behind them is still found."""
    import orjson

    described = orjson.dumps(["f", "text/plain", [], [["k", 1]], {"mood": "good"}, [["weight", 3], ["digest", 16]]])
    head = struct.pack("<QdddIIII", 5, 1.0, 2.0, 0.5, 0, len(described), 1, 2)
    body = head + described + b"abc" + bytes(range(16)) + np.ones(1, "<f4").tobytes() + b"ok"
    entry = decode(framed(1, body, version=3)).entry  # type: ignore[union-attr]
    assert (entry.digest, entry.result.body, entry.keys["k"].tolist()) == (bytes(range(16)), b"ok", [1.0])


def test_a_digest_of_another_length_is_refused() -> None:
    """As any fact that does not fit its column."""
    with pytest.raises(JournalError, match="16 bytes"):
        encode(Inserted(FUNCTION, make_entry(1, digest=b"short")))
