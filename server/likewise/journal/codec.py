"""Records as bytes: a versioned frame with a checksum. Nothing is ever unpickled.

A frame, little-endian throughout:

```text
0   2  magic "LJ"
2   1  version of the codec that can write it: 1, 2 or 3
3   1  kind: 1 inserted, 2 invalidated, 3 learned; since version 2: 4 observed, 5 registered, 6 unregistered
4   4  length of the body in bytes
8   4  CRC-32 of the eight bytes before it and of the body
12  -  body
```

The body of *inserted* is in `entry_codec.py`.
*Observed* is a fixed head (three lengths), a JSON list `[function, key type, evidence_schema, node,
number]`, then a float32 table with a row for each sample: evidence, probability, scale, wrong (0 or 1). *Registered* is
a fixed head (a length), a JSON list `[function, at, spec, [[file, size], ...]]` with the generation behind it where
there is one, then the files. The others are JSON.

A frame carries the lowest version that knows what is in it, so that a node of the version before reads all that it can
while nodes are upgraded one after the other, and skips the rest.

Every length is bounded before anything is allocated for it, and whatever is wrong with a frame, decoding it
raises JournalError and nothing else. CRC-32 finds every error burst of up to 32 bits.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

import numpy as np
import orjson

from likewise.errors import JournalError
from likewise.journal.entry_codec import FLOAT32, decode_entry, encode_entry, text
from likewise.journal.limits import DEFAULT_LIMITS, Limits
from likewise.records import Inserted, Invalidated, Learned, Observed, Record, Registered, Unregistered
from likewise.types import Sample

MAGIC = b"LJ"
VERSION = 3

INSERTED = 1
INVALIDATED = 2
LEARNED = 3
OBSERVED = 4
REGISTERED = 5
UNREGISTERED = 6

_SINCE = {INSERTED: 1, INVALIDATED: 1, LEARNED: 1, OBSERVED: 2, REGISTERED: 2, UNREGISTERED: 2}
"""The version that each kind came with."""

_FRAME = struct.Struct("<2sBBI")
_CHECK = struct.Struct("<I")
_SAMPLES = struct.Struct("<III")
_FILES = struct.Struct("<I")
_HEAD_BYTES = _FRAME.size + _CHECK.size


def encode(record: Record, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the frame of one record.

    Raises JournalError for a record that breaks a limit or holds what cannot be written.
    """
    if isinstance(record, Inserted):
        body, version = encode_entry(record, limits)
        return _frame(INSERTED, body, limits, version)
    if isinstance(record, Invalidated):
        return _frame(INVALIDATED, _encode_invalidated(record, limits), limits)
    if isinstance(record, Learned):
        return _frame(LEARNED, _encode_learned(record), limits)
    if isinstance(record, Observed):
        return _frame(OBSERVED, _encode_observed(record, limits), limits)
    if isinstance(record, Registered):
        return _frame(REGISTERED, _encode_registered(record, limits), limits)
    return _frame(UNREGISTERED, _json((record.function, record.at)), limits)


def decode(frame: bytes, limits: Limits = DEFAULT_LIMITS) -> Record:
    """Return the record of one frame. Raises JournalError for anything that `encode` cannot have written."""
    if len(frame) < _HEAD_BYTES:
        raise JournalError(f"A journal frame of {len(frame)} bytes is shorter than its own head; it was cut off.")
    magic, version, kind, length = _FRAME.unpack_from(frame)
    if magic != MAGIC:
        raise JournalError("These bytes are no journal frame: the first two are wrong.")
    if not 1 <= version <= VERSION:
        raise JournalError(f"Journal frame of version {version}; this server reads up to {VERSION}. Upgrade it.")
    longest = limits.registered_bytes if kind == REGISTERED else limits.frame_bytes
    if length != len(frame) - _HEAD_BYTES or len(frame) > longest:
        raise JournalError(f"A journal frame says {length} bytes and has {len(frame) - _HEAD_BYTES}, or is too long.")
    (expected,) = _CHECK.unpack_from(frame, _FRAME.size)
    if crc32(memoryview(frame)[_HEAD_BYTES:], crc32(frame[: _FRAME.size])) != expected:
        raise JournalError("A journal frame does not match its checksum: it was damaged where it was kept.")
    if version < _SINCE.get(kind, VERSION + 1):
        raise JournalError(f"A journal frame of version {version} is of kind {kind}, which it does not have.")
    try:
        return _DECODERS[kind](frame, limits)
    except (ValueError, TypeError, KeyError, struct.error, RecursionError) as error:
        raise JournalError(f"A journal frame does not hold what its head promises: {error}.") from error


def kind_of(record: Record) -> int:
    """Return the kind under which a record is written."""
    return _KINDS[type(record)]


_KINDS: Mapping[type, int] = {
    Inserted: INSERTED,
    Invalidated: INVALIDATED,
    Learned: LEARNED,
    Observed: OBSERVED,
    Registered: REGISTERED,
    Unregistered: UNREGISTERED,
}


def _frame(kind: int, body: bytes, limits: Limits, version: int = 0) -> bytes:
    longest = limits.registered_bytes if kind == REGISTERED else limits.frame_bytes
    if len(body) + _HEAD_BYTES > longest:
        raise JournalError(
            f"A record of {len(body)} bytes is over the journal's limit of {longest}. "
            "Lower the function's max_bytes, or raise the journal's limit."
        )
    head = _FRAME.pack(MAGIC, version or _SINCE[kind], kind, len(body))
    return b"".join((head, _CHECK.pack(crc32(body, crc32(head))), body))


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError) as error:
        raise JournalError(f"A record cannot be written to the journal: {error}.") from error


def _encode_invalidated(record: Invalidated, limits: Limits) -> bytes:
    if (bool(record.ids) + (record.tag is not None) + record.everything) != 1:
        raise JournalError("An invalidation names ids, or one tag, or everything: exactly one of the three.")
    if len(record.ids) > limits.ids:
        raise JournalError(f"An invalidation names {len(record.ids)} ids, over the limit of {limits.ids}. Split it.")
    value = {
        "function": record.function,
        "at": record.at,
        "ids": record.ids,
        "tag": record.tag,
        "everything": record.everything,
    }
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError) as error:
        raise JournalError(f"An invalidation cannot be written to the journal: {error}.") from error


def _decode_invalidated(frame: bytes, limits: Limits) -> Invalidated:
    value = orjson.loads(memoryview(frame)[_HEAD_BYTES:])
    ids, tag, everything, at = value["ids"], value["tag"], value["everything"], value["at"]
    if len(ids) > limits.ids or any(type(one) is not int or not 0 <= one < 2**63 for one in ids):
        raise ValueError("an id is out of range, or there are too many")
    if type(everything) is not bool or (bool(ids) + (tag is not None) + everything) != 1:
        raise ValueError("not exactly one selector")
    if type(at) not in (int, float) or not math.isfinite(at):
        raise ValueError("its time is no number")
    return Invalidated(text(value["function"]), float(at), tuple(ids), None if tag is None else text(tag), everything)


def _encode_learned(record: Learned) -> bytes:
    # The standard library's JSON, because a bar may well be infinite and orjson would write null for it.
    try:
        value = {"function": record.function, "key_type": record.key_type, "state": record.state}
        return json.dumps(value, separators=(",", ":"), default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(f"What a policy learned cannot be written to the journal: {error}.") from error


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON-able")


def _decode_learned(frame: bytes, _: Limits) -> Learned:
    value = json.loads(frame[_HEAD_BYTES:])
    state = value["state"]
    if not isinstance(state, dict):
        raise ValueError("a state that is no object")
    return Learned(text(value["function"]), text(value["key_type"]), state)


def _encode_observed(record: Observed, limits: Limits) -> bytes:
    samples = record.samples
    width = len(samples[0].evidence) if samples else 0
    if len(samples) > limits.samples or width > limits.evidence:
        raise JournalError(f"{len(samples)} samples of {width} numbers are over the journal's limit. Split them.")
    if any(len(each.evidence) != width for each in samples):
        raise JournalError("The samples of one record have to have evidence of one width.")
    rows = [(*each.evidence, each.probability, each.scale, each.wrong) for each in samples]
    described = _json((record.function, record.key_type, record.evidence_schema, record.node, record.number))
    head = _SAMPLES.pack(len(described), len(samples), width)
    return b"".join((head, described, np.array(rows, dtype=FLOAT32).tobytes()))


def _decode_observed(frame: bytes, limits: Limits) -> Observed:
    described, count, width = _SAMPLES.unpack_from(frame, _HEAD_BYTES)
    start = _HEAD_BYTES + _SAMPLES.size
    if count > limits.samples or width > limits.evidence or described > limits.description_bytes:
        raise ValueError("more samples than fit")
    if start + described + 4 * count * (width + 3) != len(frame):
        raise ValueError("its lengths do not add up")
    function, key_type, evidence_schema, node, number = orjson.loads(frame[start : start + described])
    if type(number) is not int or number < 0:
        raise ValueError("its number is none")
    table = np.frombuffer(frame, dtype=FLOAT32, offset=start + described)
    if not np.isfinite(table).all():
        raise ValueError("a sample holds NaN or infinity")
    samples = tuple(
        Sample(tuple(row[:width]), row[-1] != 0.0, row[-3], row[-2]) for row in table.reshape(count, width + 3).tolist()
    )
    if any(len(text(each)) > limits.name_bytes for each in (key_type, evidence_schema, node)):
        raise ValueError("a name is too long")
    return Observed(text(function), key_type, evidence_schema, node, number, samples)


def _encode_registered(record: Registered, limits: Limits) -> bytes:
    if len(record.files) > limits.files:
        raise JournalError(f"A function has {len(record.files)} files; the journal takes {limits.files}.")
    sizes = [(name, len(content)) for name, content in record.files.items()]
    generation = [record.generation] if record.generation else []
    described = _json((record.function, record.at, record.spec, sizes, *generation))
    return b"".join((_FILES.pack(len(described)), described, *record.files.values()))


def _decode_registered(frame: bytes, limits: Limits) -> Registered:
    (described,) = _FILES.unpack_from(frame, _HEAD_BYTES)
    at = _HEAD_BYTES + _FILES.size + described
    if at > len(frame):
        raise ValueError("its description is cut off")
    function, when, spec, sizes, *more = orjson.loads(frame[at - described : at])
    if len(sizes) > limits.files:
        raise ValueError("too many files")
    files: dict[str, bytes] = {}
    for name, size in sizes:
        if type(size) is not int or not 0 <= size <= len(frame) - at or name in files:
            raise ValueError(f"a file of {size!r} bytes, or one named twice")
        files[text(name)] = frame[at : at + size]
        at += size
    if at != len(frame):
        raise ValueError("its files do not add up")
    return Registered(text(function), _moment(when), text(spec), files, text(more[0]) if more else "")


def _decode_unregistered(frame: bytes, _: Limits) -> Unregistered:
    function, at = orjson.loads(memoryview(frame)[_HEAD_BYTES:])
    return Unregistered(text(function), _moment(at))


def _moment(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError("its time is no number")
    return float(value)  # type: ignore[arg-type]


_DECODERS: Mapping[int, Callable[[bytes, Limits], Record]] = {
    INSERTED: lambda frame, limits: decode_entry(frame, _HEAD_BYTES, limits),
    INVALIDATED: _decode_invalidated,
    LEARNED: _decode_learned,
    OBSERVED: _decode_observed,
    REGISTERED: _decode_registered,
    UNREGISTERED: _decode_unregistered,
}
