"""Digests and signatures of entries: exact repeats, and neighbors of one signature alone."""

from __future__ import annotations

import random

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.facts import FACTS
from likewise.lookup.bulk import blocks, insert_block
from likewise.lookup.digests import Digests
from likewise.lookup.interning import MAX_NAMES
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Result


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def space(clock: Clock, entries: int = 2000) -> Namespace:
    return Namespace("f@1", {"a": 2}, entries, 10**7, 60.0, clock, index_options={"background": False})


def entry(id: int, x: float = 0.0, digest: bytes = b"", signature: str = "", ttl_s: float = 60.0) -> Entry:
    key = np.array([x, 0], np.float32)
    return Entry(id, {"a": key}, Result(b"1"), 1.0, 1000.0, 1000.0 + ttl_s, digest=digest, signature=signature)


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_the_newest_of_equal_digests_is_found_and_the_older_behind_it() -> None:
    """Whatever takes an entry out, takes its digest out."""
    made = space(Clock())
    assert made.exact(name(1)) == made.exact(b"") == -1
    first, second = made.insert(entry(1, digest=name(7)), 0), made.insert(entry(2, digest=name(7)), 0)
    made.insert(entry(3), 0)
    assert made.exact(name(7)) == second
    made.remove(second)
    assert made.exact(name(7)) == first
    made.invalidate(everything=True)
    assert made.exact(name(7)) == -1
    assert made.exact(b"") == made.exact(bytes(16)) == -1


def test_digests_follow_any_insertions_and_removals() -> None:
    """Beside a dictionary, with few digests and many that begin alike, evictions and expiry included."""
    rng, clock = random.Random(3), Clock()
    made = space(clock, entries=40)
    living: dict[int, bytes] = {}
    for id in range(3000):
        digest = bytes(8) + name(rng.randrange(4))[8:] if rng.random() < 0.15 else name(rng.randrange(1, 30) << 64)
        ttl_s = clock.now - 1000 + rng.choice([5.0, 50.0])
        made.insert(entry(id, id, digest, ttl_s=ttl_s), 0)
        living[id] = digest
        if rng.random() < 0.3:
            made.invalidate(ids=[rng.randrange(id + 1), 10**9])
        clock.now += rng.random()
        living = {id: each for id, each in living.items() if made.slot_of(id) >= 0}
        asked = rng.choice(list(living.values())) if living else name(1)
        fresh = [
            id for id, each in living.items() if each == asked and made.entry(made.slot_of(id)).expires_at > clock.now
        ]
        slot = made.exact(asked)
        if any(asked):
            assert (made.entry_id(slot) if slot >= 0 else None) == (fresh[-1] if fresh else None)


def test_the_expired_is_no_exact_repeat() -> None:
    """It is taken out when it is met, and the one behind it is found."""
    clock = Clock()
    made = space(clock)
    long = made.insert(entry(1, digest=name(1), ttl_s=50), 0)
    made.insert(entry(2, digest=name(1), ttl_s=5), 0)
    clock.now += 10
    assert made.exact(name(1)) == long
    clock.now += 50
    assert made.exact(name(1)) == -1


def test_crafted_digests_that_begin_alike_cost_a_few_steps() -> None:
    """Eight equal bytes can be made; looking one up stays short."""
    table = Digests()
    for slot in range(5000):
        table.put(bytes(8) + slot.to_bytes(8, "big"), slot)
    assert len(list(table.slots(bytes(16)))) == 16
    for slot in random.Random(1).sample(range(5000), 5000):
        table.drop(bytes(8) + slot.to_bytes(8, "big"), slot)
    assert list(table.slots(bytes(16))) == []
    assert not table._older
    assert not table._newer


@pytest.mark.parametrize("digest", [b"x", bytes(15), bytes(17)])
def test_a_digest_of_another_length_is_refused(digest: bytes) -> None:
    """Nothing is kept of such an entry."""
    made = space(Clock())
    with pytest.raises(InvalidValue, match="16 bytes"):
        made.insert(entry(1, digest=digest), 0)
    assert len(made) == 0


def test_only_neighbors_of_the_signature_are_found() -> None:
    """Many nearer ones of another do not hide them; without any, there are none."""
    made = space(Clock())
    for id in range(200):
        made.insert(entry(id, 1 + id / 1000, signature="f4[2,2]"), 0)
    assert made.lookup("a", np.zeros(2, np.float32), 3).slots == []
    assert made.lookup("a", np.zeros(2, np.float32), 3, "f4[2,2]").labels == [0, 0, 0]
    for id in range(200, 205):
        made.insert(entry(id, id, signature="f4[4]"), 1)
    made.insert(entry(300, 9.0), 2)
    key = np.zeros(2, np.float32)
    found = made.lookup("a", key, 3, "f4[4]")
    assert (found.labels, [made.entry_id(slot) for slot in found.slots]) == ([1, 1, 1], [200, 201, 202])
    assert made.lookup("a", key, 9, "f4[4]").labels == [1] * 5
    assert made.lookup("a", key, 2).labels == [2]
    assert made.lookup("a", key, 2, "other").slots == []
    many = made.lookup_many("a", np.stack([key, key]), 2, "f4[4]")
    assert [each.labels for each in many] == [[1, 1], [1, 1]]
    made.invalidate(ids=[*range(200), 300])
    assert made.lookup("a", key, 2, "f4[4]").labels == [1, 1]


def test_signatures_are_bounded_and_freed() -> None:
    """A device that sends an array of each shape fills nothing but its own entries, and turns nobody away."""
    made = space(Clock())
    for id in range(5):
        made.insert(entry(10_000 + id, signature="f4[honest]"), 0)
    for id in range(3 * MAX_NAMES):
        made.insert(entry(id, signature=f"f4[{id}]"), 0)
    names = made._columns.names["signature"].number_of
    assert len(names) == MAX_NAMES
    assert all(made.slot_of(10_000 + id) >= 0 for id in range(5))
    assert made.slot_of(3 * MAX_NAMES - 1) >= 0
    assert made.slot_of(0) < 0
    assert len(made) == MAX_NAMES + 4
    made.insert(entry(20_000, signature="f4[late]"), 0)
    assert made.slot_of(20_000) >= 0
    with pytest.raises(InvalidValue, match="too long"):
        made.insert(entry(20_001, signature="f" * 300), 0)
    made.invalidate(everything=True)
    assert made.insert(entry(5000, signature="f4[5000]"), 0) >= 0


def test_every_fact_travels_in_blocks() -> None:
    """Into a namespace and out again, whatever the table holds."""
    source, target = space(Clock()), space(Clock())
    for id in range(50):
        source.insert(entry(id, id, name(id % 9), ("", "f4[2]", "i8[3]")[id % 3]), id)
    for block in blocks(source, 16):
        assert set(block.facts) == {fact.name for fact in FACTS}
        assert insert_block(target, block, [b"1"] * len(block), block.ids.tolist()) == len(block)
    for one in source.page(100).entries:
        other = target.entry(target.slot_of(one.id))
        assert all(fact.of(one) == fact.of(other) for fact in FACTS)
    assert target.entry_id(target.exact(name(5))) == 41


def test_a_block_with_more_names_than_fit_leaves_out_the_rest() -> None:
    """What is left out holds nothing."""
    source = [space(Clock()) for _ in range(2)]
    target = space(Clock())
    for id in range(1500):
        source[id % 2].insert(entry(id, signature=f"s{id}"), 0)
    came = sum(
        insert_block(target, block, [b"1"] * len(block), [0] * len(block)) for each in source for block in blocks(each)
    )
    assert came == len(target) == MAX_NAMES
    target.invalidate(ids=range(1500))
    assert len(target._columns.names["signature"].number_of) == 0
