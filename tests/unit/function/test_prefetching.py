"""What goes to a device before it asks: near entries and those used most, each once, and nothing that is too large."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest

from likewise.decision import Budget
from likewise.decision.leases import Lease, Leases, Purse
from likewise.function.leasing import PREFETCH_BYTES, Grant, Leasing, Reach
from likewise.function.prefetching import RANKED, RANKED_S, Prefetch
from likewise.http.pack import small_pack
from likewise.learning.lda import Projection as Linear
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Neighbors, Result


class Stage:
    """Ten entries on a line, a unit apart, each reusable near its key."""

    def __init__(self, prefetch: int = 4, entries: int = 10) -> None:
        self.now = 100.0
        self.space = Namespace("f@1", {"v": 2}, 5000, 1 << 24, 1e9, lambda: 0.0, index_kind="exact")
        budget = Budget(0.9)
        leases = Leases(budget, 0.1, lambda: f"lease-{self.space}", seconds=60.0)
        self.leasing = Leasing(
            leases, self.space, "v", 4, self.confident, lambda: self.now, exact=True, prefetch=prefetch
        )
        for id in range(1, entries + 1):
            self.put(id)

    @staticmethod
    def confident(neighbors: Neighbors, _: object) -> bool:
        return neighbors.distances[0] <= 0.25

    def put(self, id: int, body: bytes = b"{}", signature: str = "") -> None:
        key = np.array([id, 0.0], np.float32)
        entry = Entry(id, {"v": key}, Result(body), 0.1, 0.0, math.inf, signature=signature)
        self.space.insert(entry, id)

    def use(self, id: int) -> None:
        self.space.use(self.space.slot_of(id))

    def lease(self, device: str = "phone") -> Lease:
        lease, _ = self.leasing.open("", "", device, False)
        assert lease is not None
        return lease

    def sent(self, lease: Lease, entry_id: int = -1, wanted: int = 8) -> list[int]:
        return [each.id for each in self.leasing.prefetch(lease, entry_id, wanted)]


def test_those_used_most_come_first_and_none_twice() -> None:
    stage = Stage()
    for _ in range(3):
        stage.use(7)
    stage.use(2)
    lease = stage.lease()
    first, second = stage.sent(lease), stage.sent(lease)
    assert first[:2] == [7, 2]
    assert len(first) == len(second) == 4
    assert len({*first, *second, *stage.sent(lease)}) == 10
    assert stage.sent(lease) == []
    assert len(stage.sent(stage.lease("another"))) == 4


def test_half_are_near_to_what_was_asked_for_and_none_is_the_answer_itself() -> None:
    stage = Stage()
    for _ in range(3):
        stage.use(1)
    lease = stage.lease()
    sent = stage.sent(lease, 9)
    assert {8, 10} <= set(sent)
    assert 1 in sent
    assert 9 not in {*sent, *stage.sent(lease), *stage.sent(lease)}


@pytest.mark.parametrize(("prefetch", "wanted"), [(0, 8), (4, 0)])
def test_nobody_gets_what_it_does_not_want_or_the_operator_does_not_give(prefetch: int, wanted: int) -> None:
    stage = Stage(prefetch)
    assert stage.sent(stage.lease(), 3, wanted) == []


def test_what_is_new_is_sent_once_the_ranking_is_old() -> None:
    stage = Stage()
    lease = stage.lease()
    while stage.sent(lease):
        pass
    stage.put(11)
    stage.now += RANKED_S
    assert stage.sent(lease) == [11]
    stage.space.remove(stage.space.slot_of(3))
    assert stage.sent(stage.lease("another"), wanted=2)


def test_a_device_is_known_by_its_next_lease() -> None:
    stage = Stage()
    lease = stage.lease()
    before = stage.sent(lease)
    lease.told = True
    stage.leasing.leases.give_back(lease)
    after, _ = stage.leasing.open(lease.id, "", "phone", True)
    assert after is not None
    assert after is not lease
    assert not set(before) & set(stage.sent(after))


def test_large_results_stay_where_they_are() -> None:
    stage = Stage(entries=0)
    for id in range(1, 9):
        stage.put(id, b"x" * (PREFETCH_BYTES if id % 2 else PREFETCH_BYTES // 3))
    lease, sent = stage.lease(), []
    for _ in range(2):  # four of them are too large for any answer, of the others two fit into one
        granted = stage.leasing.prefetch(lease, -1, 8)
        assert len(granted) == 2
        assert sum(each.result.size_bytes for each in granted) <= PREFETCH_BYTES
        sent += [each.id for each in granted]
    assert sorted(sent) == [2, 4, 6, 8]


def test_a_device_is_sent_what_is_of_the_type_and_shape_that_it_asked_about() -> None:
    stage = Stage(entries=0)
    for id in range(1, 9):
        stage.put(id, signature="wide" if id % 2 else "tall")
    lease = stage.lease()
    assert sorted([*stage.sent(lease, 1), *stage.sent(lease, 1)]) == [3, 5, 7]
    assert sorted(stage.sent(lease, 2)) == [4, 6, 8]


def test_one_is_one() -> None:
    stage = Stage()
    assert len(stage.sent(stage.lease(), 5, 1)) == 1


def test_what_may_be_reused_nowhere_is_not_sent() -> None:
    stage = Stage()
    stage.leasing._confident = lambda neighbors, ledger: False
    assert stage.sent(stage.lease(), 3) == []


def test_what_is_remembered_of_a_device_is_bounded_and_goes_with_it() -> None:
    stage = Stage(entries=30)
    prefetch, purse = Prefetch(stage.space, lambda: stage.now), Purse()
    for id in range(10 * RANKED):
        prefetch.note(purse, id)
    assert len(prefetch._sent[purse]) <= 2 * RANKED
    del purse
    assert len(prefetch._sent) == 0


def test_rounded_keys_reach_no_farther_than_they_did() -> None:
    """Whatever lies within the radius that is sent lies within the entry's own."""
    rng = np.random.default_rng(4)
    for scale in (1e-3, 1.0, 300.0, 1e6):
        key = (scale * rng.normal(size=40)).astype(np.float32)
        granted = Grant(5, Reach(key, 0.2 * scale), Result(b"{}"), 9.0, 1.0)
        arrays = unpacked(small_pack([granted]))
        sent, radius = arrays["keys"][0], float(arrays["radii"][0])
        assert 0.9 * 0.2 * scale < radius <= 0.2 * scale
        assert radius + float(np.linalg.norm(sent.astype(np.float64) - key)) <= 0.2 * scale * (1 + 1e-9)


def test_rounded_keys_reach_no_farther_where_they_are_projected() -> None:
    """What lies between the keys as they are says nothing of that."""
    rng = np.random.default_rng(4)
    projection = Linear(np.zeros(40, np.float32), (rng.normal(size=(40, 6)) * 50).astype(np.float32))
    for _ in range(20):
        key = rng.normal(size=40).astype(np.float32)
        arrays = unpacked(small_pack([Grant(5, Reach(key, 0.2), Result(b"{}"), 9.0, 1.0)], projection))
        off = float(np.linalg.norm(projection.one(arrays["keys"][0]) - projection.one(key)))
        assert 0.19 <= float(arrays["radii"][0]) <= (0.2 - off) * (1 + 1e-6)


def test_a_small_pack_is_small() -> None:
    rng = np.random.default_rng(4)
    keys = rng.normal(size=(6, 104)).astype(np.float32)
    entries = [Grant(at, Reach(key, 3.0), Result(b'{"label": "seven"}'), 9.0, 1.0) for at, key in enumerate(keys)]
    assert len(small_pack(entries)) < 0.9 * keys.nbytes


def unpacked(content: bytes) -> dict[str, np.ndarray]:
    from likewise_client._device.pack import _parts

    return _parts(zlib.decompress(content))[1]
