"""One entry as bytes: the body of an *inserted* frame.

```text
head         id, created at, expires at, cost, use count, three lengths
description  JSON: [function, media type, tags, [[key type, dimension], ...]]
             since version 3 two more: {name: fact, ...}, [[name, bytes], ...]
facts        since version 3: those named last, one behind the other
keys         raw float32
result       bytes
```

Facts that came later than the first version are written only where they are not the default, so an entry without them
is a frame of version 1, which every version reads. A version that does not know one of them leaves it out.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson

from likewise.errors import JournalError
from likewise.facts import FACTS, MAX_USE_COUNT
from likewise.journal.limits import Limits
from likewise.records import Inserted
from likewise.types import Entry, Key, Result

FLOAT32 = np.dtype("<f4")
LATER = {fact.name: fact for fact in FACTS if fact.later}
"""Facts that version 1 does not have."""
_HEAD = struct.Struct("<QdddIIII")
_CACHED_BYTES = 512
_MAX_FACT_BYTES = 4096


class _Description(NamedTuple):
    function: str
    media_type: str
    tags: tuple[str, ...]
    shapes: tuple[tuple[str, int], ...]
    floats: int
    named: Mapping[str, Any]
    packed: tuple[tuple[str, int], ...]


def encode_entry(record: Inserted, limits: Limits) -> tuple[bytes, int]:
    """Return the body of a frame, and the lowest version of the codec that can write it. Raises JournalError."""
    entry = record.entry
    shapes: list[tuple[str, int]] = []
    raw: list[bytes] = []
    for name, key in entry.keys.items():
        values = np.ascontiguousarray(key, dtype=FLOAT32)
        if values.ndim != 1 or values.size > limits.dimension:
            raise JournalError(f"A key of type {name!r} has shape {values.shape}; at most ({limits.dimension},) fits.")
        shapes.append((name, values.size))
        raw.append(values.tobytes())
    if len(shapes) > limits.key_types or len(entry.tags) > limits.tags:
        raise JournalError(
            f"An entry has {len(shapes)} key types and {len(entry.tags)} tags; "
            f"the journal takes {limits.key_types} and {limits.tags}."
        )
    try:
        named, packed, version = _later_facts(entry)
        described: list[Any] = [record.function, entry.result.media_type, entry.tags, shapes]
        if named or packed:
            described += [named, [(name, len(value)) for name, value in packed.items()]]
        description = orjson.dumps(described)
        head = _HEAD.pack(
            entry.id,
            entry.created_at,
            entry.expires_at,
            entry.cost_s,
            min(entry.use_count, MAX_USE_COUNT),
            len(description),
            sum(size for _, size in shapes),
            len(entry.result.body),
        )
    except (TypeError, ValueError, struct.error) as error:
        raise JournalError(f"An entry cannot be written to the journal: {error}.") from error
    if len(description) > limits.description_bytes:
        raise JournalError(f"The names and tags of an entry take {len(description)} bytes, over the journal's limit.")
    return b"".join((head, description, *packed.values(), *raw, entry.result.body)), version


def _later_facts(entry: Entry) -> tuple[dict[str, Any], dict[str, bytes], int]:
    """Return those that are not the default: strings for the description, others as bytes; and the version for them."""
    named: dict[str, Any] = {}
    packed: dict[str, bytes] = {}
    version = 1
    for name, fact in LATER.items():
        value = fact.of(entry)
        if value == fact.default:
            continue
        version = max(version, fact.since)
        if fact.interned:
            named[name] = value
        else:
            packed[name] = fact.column_of([value]).tobytes()
    return named, packed, version


def decode_entry(frame: bytes, start: int, limits: Limits) -> Inserted:
    """Return the entry whose body begins at `start`. Raises ValueError, TypeError, KeyError or struct.error."""
    if len(frame) < start + _HEAD.size:
        raise ValueError("the entry's head is cut off")
    entry_id, created_at, expires_at, cost_s, use_count, described, floats, result_bytes = _HEAD.unpack_from(
        frame, start
    )
    start += _HEAD.size
    facts_at = start + described
    if described > limits.description_bytes or facts_at > len(frame):
        raise ValueError("its lengths do not add up")
    if entry_id >= 2**63 or not (math.isfinite(created_at) and math.isfinite(cost_s)) or math.isnan(expires_at):
        raise ValueError("an id or a time is out of range")
    parse = _describe_cached if described <= _CACHED_BYTES else _describe
    about = parse(frame[start:facts_at], limits)
    keys_at = facts_at + sum(size for _, size in about.packed)
    result_at = keys_at + 4 * floats
    if about.floats != floats or result_at + result_bytes != len(frame):
        raise ValueError("its keys do not add up")
    # A copy: a view would pin the whole frame, results and all, for as long as the key lives.
    values = np.frombuffer(frame, dtype=FLOAT32, count=floats, offset=keys_at).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a key holds NaN or infinity")
    later = dict(about.named)
    for name, size in about.packed:
        if name in LATER:
            column = np.frombuffer(frame[facts_at : facts_at + size], LATER[name].dtype)
            (later[name],) = LATER[name].values_of(column)
        facts_at += size
    entry = Entry(
        entry_id,
        _split(values, about.shapes),
        Result(frame[result_at:], about.media_type),
        cost_s,
        created_at,
        expires_at,
        about.tags,
        use_count,
        **later,
    )
    return Inserted(about.function, entry)


def _split(values: Key, shapes: tuple[tuple[str, int], ...]) -> Mapping[str, Key]:
    if len(shapes) == 1:
        return {shapes[0][0]: values}
    keys: dict[str, Key] = {}
    at = 0
    for name, size in shapes:
        keys[name] = values[at : at + size]
        at += size
    return keys


def _describe(raw: bytes, limits: Limits) -> _Description:
    function, media_type, tags, shapes, *later = orjson.loads(raw)
    named, packed = later or ({}, [])
    named = dict(named)
    if len(shapes) > limits.key_types or len(tags) > limits.tags or len(named) + len(packed) > limits.facts:
        raise ValueError("too many key types, tags or facts")
    pairs = [(text(name), size) for name, size in shapes]
    sizes = [(text(name), size) for name, size in packed]
    for what, most, each in (("key", limits.dimension, pairs), ("fact", _MAX_FACT_BYTES, sizes)):
        for _, size in each:
            if type(size) is not int or not 0 <= size <= most:
                raise ValueError(f"a {what} of dimension {size!r}")
        if len(dict(each)) != len(each):
            raise ValueError(f"one {what} type occurs twice")
    return _Description(
        text(function),
        text(media_type),
        tuple(text(tag) for tag in tags),
        tuple(pairs),
        sum(size for _, size in pairs),
        {name: text(value) for name, value in named.items() if name in LATER and LATER[name].interned},
        tuple(sizes),
    )


# Entries of one function differ in little but their keys and results, so the same text is parsed once.
_describe_cached = lru_cache(maxsize=1024)(_describe)


def text(value: object) -> str:
    """Return a string as it is. Raises ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"text expected, not {type(value).__name__}")
    return value
