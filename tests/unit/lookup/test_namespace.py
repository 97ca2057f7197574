from __future__ import annotations

import tracemalloc

import numpy as np
import orjson
import pytest

from likewise.errors import InvalidValue, TooLarge, UnknownEntry
from likewise.lookup.interning import MAX_NAMES
from likewise.lookup.namespace import Namespace
from likewise.types import NO_NEIGHBORS, Entry, Result


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Clock, **options: object) -> Namespace:
    settings = {"capacity_entries": 100, "capacity_bytes": 10**6, "ttl_s": 60.0, "index_options": {"background": False}}
    return Namespace("f@1", {"a": 3}, clock=clock, **{**settings, **options})  # type: ignore[arg-type]


def entry(id: int, x: float = 0.0, **facts: object) -> Entry:
    known = {"result": Result(b"{}"), "cost_s": 1.0, "created_at": 1000.0, "expires_at": float("inf")}
    return Entry(id, {"a": np.array([x, 0, 0], np.float32)}, **{**known, **facts})  # type: ignore[arg-type]


def key(x: float) -> np.ndarray:
    return np.array([x, 0, 0], np.float32)


def test_neighbors_carry_plain_distances_labels_and_slots(clock: Clock) -> None:
    """Distances are L2, not squared; labels and slots are those of the entries."""
    space = make(clock)
    slots = [space.insert(entry(id, x), label) for id, x, label in ((1, 0.0, 7), (2, 3.0, 8), (3, 10.0, 9))]
    found = space.lookup("a", key(1.0), 2)
    assert found.distances == pytest.approx([1.0, 2.0])
    assert found.labels == [7, 8]
    assert found.slots == slots[:2]
    assert all(type(slot) is int for slot in found.slots)
    assert space.lookup_many("a", np.stack([key(1.0), key(11.0)]), 1)[1].labels == [9]


def test_an_empty_namespace_has_no_neighbors(clock: Clock) -> None:
    """Nothing in, nothing out."""
    space = make(clock)
    assert space.lookup("a", key(0), 5) == NO_NEIGHBORS
    assert space.lookup_many("a", np.zeros((2, 3), np.float32), 5) == [NO_NEIGHBORS, NO_NEIGHBORS]
    assert space.lookup_many("a", np.zeros((0, 3), np.float32), 5) == []


def test_keys_that_do_not_fit_are_named(clock: Clock) -> None:
    """A wrong dimension and an unknown key type say what the namespace takes."""
    space = make(clock)
    with pytest.raises(InvalidValue, match=r"4 numbers.*takes 3"):
        space.lookup("a", np.zeros(4, np.float32), 1)
    with pytest.raises(InvalidValue, match="no key type `b`; it has `a`"):
        space.lookup("b", key(0), 1)
    with pytest.raises(InvalidValue, match="takes 3"):
        space.lookup_many("a", np.zeros((2, 4), np.float32), 1)
    with pytest.raises(InvalidValue, match="0 numbers"):
        space.insert(Entry(1, {}, Result(b""), 1.0, 0.0, 1.0), 0)
    assert len(space) == 0


def test_an_entry_comes_back_whole(clock: Clock) -> None:
    """What was inserted is what `entry`, `result` and the single facts tell."""
    space = make(clock)
    given = entry(
        5, 2.5, result=Result(b"x", "text/plain"), cost_s=0.25, expires_at=1060.0, tags=("t", "u"), use_count=3
    )
    slot = space.insert(given, 4)
    back = space.entry(slot)
    assert back.keys["a"].tolist() == [2.5, 0, 0]
    assert (back.id, back.result, back.cost_s, back.created_at, back.expires_at, back.tags, back.use_count) == (
        5,
        given.result,
        0.25,
        1000.0,
        1060.0,
        ("t", "u"),
        3,
    )
    clock.now += 10
    assert space.age_s(slot) == 10
    assert space.ttl_s(slot) == 50
    assert (space.label_of(slot), space.entry_id(slot), space.slot_of(5), space.slot_of(6)) == (4, 5, slot, -1)
    clock.now -= 20
    assert space.age_s(slot) == 0


def test_a_free_slot_has_no_entry(clock: Clock) -> None:
    """Asking for an entry that is gone says so; removing it again is a no-op."""
    space = make(clock)
    slot = space.insert(entry(1), 0)
    space.remove(slot)
    space.remove(slot)
    space.remove(99)
    for gone in (slot, -1, 99):
        with pytest.raises(UnknownEntry):
            space.result(gone)
    assert space.statistics() == {"entries": 0, "bytes": 0, "evictions": 0, "expirations": 0, "insertions": 1}


def test_the_same_id_replaces_its_older_entry(clock: Clock) -> None:
    """An id is in the namespace once."""
    space = make(clock)
    space.insert(entry(1, 0.0), 0)
    slot = space.insert(entry(1, 5.0), 1)
    assert len(space) == 1
    assert space.slot_of(1) == slot
    assert space.lookup("a", key(0), 5).labels == [1]


def test_the_least_important_goes_when_entries_are_many(clock: Clock) -> None:
    """Cost times uses over size decides: the cheap, the large and the unused go first."""
    space = make(clock, capacity_entries=4)
    space.insert(entry(1, 1, cost_s=9.0), 0)
    space.insert(entry(2, 2, cost_s=0.1), 0)
    space.insert(entry(3, 3, cost_s=1.0, result=Result(bytes(1000))), 0)
    used = space.insert(entry(4, 4, cost_s=0.1), 0)
    for _ in range(50):
        space.touch(used)
    gone = []
    for id in (5, 6):
        before = {each.id for each in space.page().entries}
        space.insert(entry(id, id, cost_s=5.0), 0)
        gone += before - {each.id for each in space.page().entries}
    assert gone == [3, 2]
    assert space.statistics()["evictions"] == 2


def test_bytes_are_bounded_as_entries_are(clock: Clock) -> None:
    """A large result pushes out as many as it needs; one larger than everything is refused."""
    space = make(clock, capacity_bytes=1000)
    for id in range(8):
        space.insert(entry(id, id, result=Result(bytes(100))), 0)
    space.insert(entry(100, 50, result=Result(bytes(700))), 0)
    counters = space.statistics()
    assert counters["bytes"] <= 1000
    assert space.slot_of(100) >= 0
    with pytest.raises(TooLarge, match="raise its capacity"):
        space.insert(entry(200, result=Result(bytes(1000))), 0)
    assert space.slot_of(100) >= 0


def test_the_expired_are_never_found(clock: Clock) -> None:
    """Entries past their time are passed over, and the living behind them come up."""
    space = make(clock)
    for id in range(20):
        space.insert(entry(id, id, expires_at=1010.0 if id < 15 else 2000.0), id)
    assert space.lookup("a", key(0), 3).labels == [0, 1, 2]
    clock.now = 1010.0
    assert space.lookup("a", key(0), 3).labels == [15, 16, 17]
    assert [each.labels for each in space.lookup_many("a", np.stack([key(0), key(19)]), 2)] == [[15, 16], [19, 18]]
    assert len(space) == 5
    assert space.statistics()["expirations"] == 15


def test_sweeping_is_bounded_and_gets_everywhere(clock: Clock) -> None:
    """Each call looks at so many slots; together they find every expired entry."""
    space = make(clock)
    for id in range(90):
        space.insert(entry(id, id, expires_at=1010.0 if id % 2 else float("inf")), 0)
    assert space.expire(10) == 0
    clock.now = 1011.0
    assert space.page(100).entries[0].id == 0
    assert len(space.page(100).entries) == 45
    assert [space.expire(30) for _ in range(3)] == [15, 15, 15]
    assert space.expire(1000) == 0
    assert len(space) == 45


def test_insertions_sweep_too(clock: Clock) -> None:
    """A namespace that is only written to rids itself of the expired."""
    space = make(clock)
    for id in range(100):
        space.insert(entry(id, id, expires_at=1010.0), 0)
    clock.now = 1011.0
    space.insert(entry(1000), 0)
    space.insert(entry(1001), 0)
    assert len(space) == 2
    assert space.statistics()["evictions"] == 0


def test_invalidates_by_id_tag_or_everything(clock: Clock) -> None:
    """Exactly one selector; the ids that were here come back."""
    space = make(clock)
    for id in range(10):
        space.insert(entry(id, id, tags=("even",) if id % 2 == 0 else ("odd", "all")), 0)
    assert space.invalidate(ids=[3, 3, 77]) == [3]
    assert sorted(space.invalidate(tag="even")) == [0, 2, 4, 6, 8]
    assert space.invalidate(tag="even") == []
    assert sorted(space.invalidate(everything=True)) == [1, 5, 7, 9]
    assert len(space) == 0
    assert space.statistics()["bytes"] == 0
    assert space.invalidate(tag="odd") == []
    for wrong in ({}, {"ids": [1], "tag": "x"}, {"tag": "x", "everything": True}):
        with pytest.raises(InvalidValue):
            space.invalidate(**wrong)  # type: ignore[arg-type]


def test_pages_follow_insertion_order_across_changes(clock: Clock) -> None:
    """Entries that go between two pages hide no others, and reused slots do not come early."""
    space = make(clock)
    for id in range(10):
        space.insert(entry(id, id), 0)
    first = space.page(4)
    assert [each.id for each in first.entries] == [0, 1, 2, 3]
    space.invalidate(ids=[2, 3, 5])
    space.insert(entry(50), 0)
    second = space.page(4, first.next_after)
    assert [each.id for each in second.entries] == [4, 6, 7, 8]
    last = space.page(4, second.next_after)
    assert [each.id for each in last.entries] == [9, 50]
    assert last.next_after is None
    assert space.page(5, 10**9).entries == []


def test_several_key_types_share_one_result(clock: Clock) -> None:
    """An entry is found by each of its keys, in the index of that type."""
    space = Namespace("f@1", {"a": 3, "b": 1}, 10, 1000, 60.0, clock, index_kind={"b": "exact"})
    both = Entry(1, {"a": key(5), "b": np.array([9], np.float32)}, Result(b"r"), 1.0, 1000.0, 2000.0)
    slot = space.insert(both, 3)
    assert space.lookup("a", key(5), 1).slots == space.lookup("b", np.array([8], np.float32), 1).slots == [slot]
    space.remove(slot)
    assert space.lookup("b", np.array([8], np.float32), 1) == NO_NEIGHBORS


def test_media_types_are_bounded_and_freed(clock: Clock) -> None:
    """A device that invents media types fills no memory; those of the fewest entries make room, the oldest first."""
    space = make(clock, capacity_entries=2000)
    for number in range(MAX_NAMES):
        space.insert(entry(number, result=Result(b"", f"text/x{number}")), 0)
    space.insert(entry(10**6, result=Result(b"", "text/x0")), 0)
    with pytest.raises(InvalidValue, match="too long"):
        space.insert(entry(10**6 + 1, result=Result(b"", "text/" + "x" * 300)), 0)
    slot = space.insert(entry(10**6 + 1, result=Result(b"", "text/one-more")), 0)
    assert space.result(slot).media_type == "text/one-more"
    assert space.slot_of(0) >= 0
    assert space.slot_of(1) < 0
    assert space.result(space.slot_of(8)).media_type == "text/x8"
    space.invalidate(ids=[7])
    space.insert(entry(10**6 + 2, result=Result(b"", "text/another")), 0)
    assert space.slot_of(2) >= 0


@pytest.mark.parametrize(
    "options",
    [
        {"capacity_entries": 0},
        {"capacity_entries": 10**12},
        {"capacity_bytes": 0},
        {"ttl_s": 0.0},
        {"ttl_s": float("nan")},
        {"eviction": "random"},
        {"index_kind": "tree"},
        {"index_options": {"branches": 3}},
    ],
)
def test_refuses_settings_that_cannot_be_used(clock: Clock, options: dict[str, object]) -> None:
    """Each setting out of range is refused when the namespace is made."""
    with pytest.raises(InvalidValue):
        make(clock, **options)


def test_counts_the_memory_it_holds(clock: Clock) -> None:
    """The estimate grows with what is inserted."""
    space = make(clock)
    empty = space.memory_bytes()
    for id in range(50):
        space.insert(entry(id, id, result=Result(bytes(1000)), tags=("t",)), 0)
    assert space.memory_bytes() > empty + 50_000
    space.close()


def test_a_result_takes_no_more_memory_than_its_bytes(clock: Clock) -> None:
    """What an encoder returns may sit in a far larger buffer; what is kept does not."""
    space = make(clock, capacity_entries=3000)
    space.insert(entry(1), 0)
    tracemalloc.start()
    try:
        for id in range(2, 2002):
            body = orjson.dumps({"label": "cat", "number": id})
            space.insert(entry(id, float(id), result=Result(body)), 0)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / 2000 < 600
