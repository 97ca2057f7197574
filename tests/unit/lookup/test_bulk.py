"""Many entries at once: the same as one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.index.exact import ExactIndex
from likewise.lookup.bulk import blocks, hold, insert_block, release
from likewise.lookup.namespace import Namespace
from likewise.records import EntryBlock
from likewise.types import Entry, Result

NAMES = ("id", "result", "cost_s", "created_at", "expires_at", "tags", "use_count")


def space(entries: int = 1000, size: int = 1 << 20, **more: object) -> Namespace:
    """Return an empty namespace whose time stands still."""
    return Namespace("f@1", {"v": 3}, entries, size, 60.0, lambda: 100.0, index_options={"background": False}, **more)


def filled(count: int, start: int = 0) -> Namespace:
    """Return a namespace filled one by one."""
    made = space()
    for i in range(start, start + count):
        key = np.array([i, i % 7, 1], np.float32)
        tags = ("odd",) if i % 2 else ()
        entry = Entry(i + 1, {"v": key}, Result(b"%d" % i, f"text/{i % 3}"), 0.5, 50.0, 200.0 + i, tags, i)
        made.insert(entry, i % 5)
    return made


def load(target: Namespace, source: Namespace, rows: int = 64) -> int:
    """Insert all blocks of one namespace into another."""
    return sum(load_block(target, block) for block in blocks(source, rows))


def load_block(target: Namespace, block: EntryBlock) -> int:
    raw, ends = block.bodies.tobytes(), block.body_ends.tolist()
    bodies = [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return insert_block(target, block, bodies, [(id - 1) % 5 for id in block.ids.tolist()])


def facts(of: Namespace) -> list[tuple[object, ...]]:
    """Return everything that is kept of each entry, in order."""
    return [
        (*(getattr(e, name) for name in NAMES), e.keys["v"].tolist(), of.label_of(of.slot_of(e.id)))
        for e in of.page(2000).entries
    ]


def test_blocks_carry_every_fact_over() -> None:
    """Out of one namespace and into another: the same entries in the same order, found by key, id and tag."""
    source, target = filled(300), space()
    assert load(target, source) == 300
    assert facts(target) == facts(source)
    assert target.statistics()["bytes"] == source.statistics()["bytes"]
    key = np.array([17, 3, 1], np.float32)
    assert target.entry_id(target.lookup("v", key, 1).slots[0]) == 18
    assert len(target.invalidate(tag="odd")) == 150


def test_what_is_there_already_and_what_expired_is_left_out() -> None:
    """An id comes in once, also within one block; nothing comes in past its time."""
    target = space()
    assert load(target, filled(20)) == 20
    assert load(target, filled(30)) == 10
    (block,) = blocks(filled(2, 500))
    twice = replace(block, facts={**block.facts, "id": np.array([900, 900])})
    assert load_block(target, twice) == 1
    block.facts["expires_at"][:] = 99.0
    assert load_block(target, block) == 0


def test_free_slots_are_used_again() -> None:
    """What was removed leaves room for what comes in."""
    target = filled(50)
    target.invalidate(ids=range(1, 26))
    assert load(target, filled(40, 100)) == 40
    assert len(target) == 65
    assert len(set(target._columns.live().tolist())) == 65
    assert target._columns.high <= 65


def test_bounds_hold_and_the_newest_stay() -> None:
    """A namespace too small for all keeps to its capacity in entries and in bytes."""
    small = space(entries=10)
    load(small, filled(100), rows=32)
    assert len(small) == 10
    assert small.slot_of(100) >= 0
    tight = space(size=100)
    load(tight, filled(100), rows=32)
    assert 0 < tight.statistics()["bytes"] <= 100


def test_keys_that_do_not_fit_are_refused() -> None:
    """The message names the function and the key type."""
    (block,) = blocks(filled(2))
    other = Namespace("g@1", {"w": 3}, 10, 1 << 20, 60.0, lambda: 100.0)
    with pytest.raises(InvalidValue, match="w"):
        load_block(other, block)


def test_entries_that_go_while_blocks_are_drawn_are_left_out() -> None:
    """Those of later blocks that were removed, or whose slot was given away, are not in them."""
    source = filled(100)
    drawn = blocks(source, 40)
    next(drawn)
    source.invalidate(ids=[60])
    source.insert(Entry(777, {"v": np.ones(3, np.float32)}, Result(b"x"), 0.1, 50.0, 900.0), 0)
    rest = [id for block in drawn for id in block.ids.tolist()]
    assert rest == [id for id in range(41, 101) if id != 60]
    drawn = blocks(source, 40)
    next(drawn)
    source.invalidate(everything=True)
    assert list(drawn) == []


def test_a_held_index_becomes_a_graph_when_the_load_is_over() -> None:
    """While it is held nothing is built; afterwards everything is found as before."""
    target = space(index_kind="auto")
    target._indexes["v"]._exact_limit = 64
    hold(target)
    load(target, filled(300))
    assert target._indexes["v"].kind == "exact"
    release(target)
    assert target._indexes["v"].kind == "hnsw"
    assert target.entry_id(target.lookup("v", np.array([17, 3, 1], np.float32), 1).slots[0]) == 18


@pytest.mark.parametrize("change", ["add", "remove", "both"])
def test_a_snapshot_of_a_scan_has_what_stays(change: str) -> None:
    """Whatever is added and removed while it is read; a key that goes meanwhile may be any."""
    index = ExactIndex(2)
    keys = np.arange(40, dtype=np.float32).reshape(20, 2)
    index.add(np.arange(20), keys)
    parts = iter(index.snapshot(7))
    found = [next(parts)]
    gone = [19, 0, 12] if change != "add" else []
    index.remove(np.array(gone, np.int64))
    if change != "remove":
        index.add(np.arange(100, 600), np.full((500, 2), -1, np.float32))
    found += parts
    slots = np.concatenate([each for each, _ in found])
    assert slots.tolist() == list(range(20))
    stays = np.setdiff1d(slots, gone)
    assert np.array_equal(np.concatenate([each for _, each in found])[stays], keys[stays])
