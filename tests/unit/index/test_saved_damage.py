"""Files of indexes that are damaged, or made by somebody who means harm."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from kept_indexes import filled, found, kept, keys, restarted, truth

from likewise.index.saved import _MAGIC, _TRAILER
from likewise.lookup.bulk import release


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf-sq8"])
def test_no_damage_reaches_a_search(tmp_path: Path, kind: str) -> None:
    """Whatever byte is wrong and wherever the file ends, it is left alone, and answers are right."""
    source, path = filled(kind, 900), tmp_path / "indexes"
    kept(source, path)
    whole = path.read_bytes()
    queries = keys(5, 3)
    rng = np.random.default_rng(5)
    places = [*rng.integers(0, len(whole), 40).tolist(), *range(len(whole) - 30, len(whole)), *range(16)]
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        target, count = restarted(source, path, kind=kind)
        assert count == 0
        assert found(target, queries) == truth(target, queries)
    for length in rng.integers(0, len(whole), 20).tolist():
        path.write_bytes(whole[:length])
        assert restarted(source, path, kind=kind)[1] == 0


def forged(whole: bytes, change: Any) -> bytes:
    """Return a file whose table, columns and checksums are those of somebody who knows the format."""
    offset, length, _, _ = _TRAILER.unpack(whole[-_TRAILER.size :])
    table = json.loads(whole[offset : offset + length])
    facts = table["indexes"][0]
    columns = {
        name: np.frombuffer(whole, column["type"], column["length"], column["offset"]).copy()
        for name, column in facts["columns"].items()
    }
    change(facts, columns)
    body = bytearray(_MAGIC)
    for name, values in columns.items():
        raw = values.tobytes()
        facts["columns"][name] = {
            "type": values.dtype.str, "length": len(values), "offset": len(body), "crc": crc32(raw)
        }  # fmt: skip
        body += raw
    raw = json.dumps(table).encode()
    return bytes(body) + raw + struct.pack("<QQI8s", len(body), len(raw), crc32(raw), _MAGIC[:8])


def _put(name: str, place: int, value: float) -> Any:
    def change(facts: dict[str, Any], columns: dict[str, Any]) -> None:
        columns[name][place] = value

    return change


def _fact(name: str, value: object) -> Any:
    def change(facts: dict[str, Any], columns: dict[str, Any]) -> None:
        facts[name] = value

    return change


def _drop(name: str) -> Any:
    return lambda facts, columns: (columns.pop(name), facts["columns"].pop(name))


def _cut(name: str) -> Any:
    def change(facts: dict[str, Any], columns: dict[str, Any]) -> None:
        columns[name] = columns[name][:-1]

    return change


def _all_up(facts: dict[str, Any], columns: dict[str, Any]) -> None:
    columns["levels"][:] = 200
    columns["links"] = np.zeros(201 * 16 * len(columns["levels"]), np.int32)


def _to_the_ground(facts: dict[str, Any], columns: dict[str, Any]) -> None:
    """Link a node on its second level to one that is not there."""
    levels = columns["levels"].astype(np.int64)
    high, low = int(np.flatnonzero(levels > 1)[0]), int(np.flatnonzero(levels == 1)[0])
    columns["links"][((levels[:high] + 1) * 16).sum() + 32] = low


HOSTILE = {
    "hnsw": [
        _put("links", 5, 2**30), _put("links", 5, -7), _put("links", -1, 900), _put("levels", 3, 0), _all_up,
        _put("levels", 3, 9), _to_the_ground, _cut("links"), _cut("levels"), _cut("ids"), _drop("links"),
        _drop("ids"), _fact("entry", -1), _fact("entry", 10**9), _fact("entry", "x"), _fact("count", 10**12),
        _fact("count", 0), _fact("m", 1), _fact("m", 10**6), _fact("effort", 1e9), _fact("effort", None),
        _fact("dimension", 9), _fact("kind", "tree"), _fact("kind", "ivf"), _fact("kind", None),
        _fact("chosen_at", -5), _put("dead", 0, 10**6), _cut("dead_keys"),
        _put("ids", 5, 12), _fact("projected", 3), _fact("precision", "int4"), _fact("function", 7),
    ],
    "ivf": [
        _put("numbers", 5, 10**6), _put("numbers", 5, -1), _cut("numbers"), _cut("centroids"), _fact("lists", 0),
        _fact("lists", 10**9), _put("centroids", 0, float("nan")), _fact("trained_at", "x"), _fact("least", 0),
        _fact("kind", "hnsw"), _drop("centroids"),
    ],
    "ivf-sq8": [
        _put("coding", 5, float("inf")), _put("coding", -1, -1.0), _cut("coding"), _drop("coding"), _fact("lists", 0),
        _put("numbers", 5, 10**6), _fact("kind", "hnsw"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, number) for kind in HOSTILE for number in range(len(HOSTILE[kind]))]
)
def test_no_number_in_it_is_believed(tmp_path: Path, kind: str, number: int) -> None:
    """Right checksums do not make a link lead where there is nothing: it is refused before anything follows it."""
    source, path = filled(kind, 900), tmp_path / "indexes"
    kept(source, path)
    whole = path.read_bytes()
    path.write_bytes(forged(whole, lambda *_: None))
    assert restarted(source, path, kind=kind)[1] == 1
    path.write_bytes(forged(whole, HOSTILE[kind][number]))
    target, count = restarted(source, path, kind=kind)
    assert count == 0
    assert found(target, keys(5, 3)) == truth(target, keys(5, 3))
    release(target)
    assert target.kinds() == {"v": kind}
