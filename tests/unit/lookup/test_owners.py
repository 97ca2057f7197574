"""Accounts share the room for entries: what one brings beyond its share takes the place of its own."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from likewise.lookup.bulk import blocks, insert_block
from likewise.lookup.namespace import Namespace
from likewise.lookup.owners import SCANNED
from likewise.types import Entry, Result

POLICIES = ("importance", "lru", "lfu", "s3-fifo")


def make(capacity: int, share: float = 0.5, eviction: str = "importance", capacity_bytes: int = 1 << 24) -> Namespace:
    return Namespace(
        "f@1", {"v": 2}, capacity, capacity_bytes, 1e6, lambda: 1000.0, eviction,
        account_share=share, index_options={"background": False},
    )  # fmt: skip


class Shared:
    """A namespace, and what each account has in it."""

    def __init__(self, space: Namespace) -> None:
        self.space = space
        self.last = 0
        self._by: dict[int, str] = {}

    def bring(self, account: str, count: int, cost_s: float = 0.1, body: bytes = b"1", uses: int = 0) -> None:
        for _ in range(count):
            self.last += 1
            entry = Entry(self.last, {"v": np.full(2, self.last, np.float32)}, Result(body), cost_s, 1000.0, 1e9)
            slot = self.space.insert(entry, 0, account)
            self._by[self.last] = account
            for _ in range(uses):
                self.space.touch(slot)

    def counts(self) -> Counter[str]:
        return Counter(self._by[entry.id] for entry in self.space.page(10_000).entries)


@pytest.mark.parametrize("eviction", POLICIES)
@pytest.mark.parametrize("capacity", [40, SCANNED + 100])
def test_one_account_cannot_evict_all_that_others_brought(capacity: int, eviction: str) -> None:
    """However dear and well used it says that its entries are."""
    shared = Shared(make(capacity, eviction=eviction))
    shared.bring("honest", capacity // 2)
    shared.bring("greedy", 3 * capacity, cost_s=1e5, uses=5)
    assert shared.counts() == {"honest": capacity // 2, "greedy": capacity - capacity // 2}


def test_alone_an_account_has_all() -> None:
    """And what is worth least goes, as ever; the same where there are no accounts."""
    for account in ("a", ""):
        shared = Shared(make(20))
        shared.bring(account, 60)
        assert shared.counts() == {account: 20}


def test_bytes_are_shared_as_entries_are() -> None:
    """A few large ones take no more than their share either; one that is larger than that is still kept."""
    shared = Shared(make(1000, capacity_bytes=100_000))
    shared.bring("honest", 40, body=b"1" * 1000)
    shared.bring("greedy", 30, body=b"1" * 9000)
    found = shared.counts()
    assert found["honest"] == 40
    assert 4 <= found["greedy"] <= 6
    shared.bring("greedy", 1, body=b"1" * 70_000)
    assert shared.counts()["greedy"] == 1


def test_a_share_of_all_is_no_limit() -> None:
    """What is worth least goes, whoever brought it."""
    shared = Shared(make(40, share=1.0))
    shared.bring("honest", 20)
    shared.bring("greedy", 120, cost_s=10.0, uses=5)
    assert shared.counts()["honest"] == 0


@pytest.mark.parametrize("eviction", POLICIES)
def test_what_came_from_the_journal_is_nobodys(eviction: str) -> None:
    """It counts against no account, and is kept from one that floods."""
    before, space = Shared(make(40)), make(40, eviction=eviction)
    before.bring("a", 20)
    for block in blocks(before.space):
        insert_block(space, block, [b"1"] * 20, [0] * 20)
    after = Shared(space)
    after._by = dict.fromkeys(range(21), "journal")
    after.last = 20
    after.bring("a", 100, cost_s=1e5, uses=3)
    assert after.counts() == {"journal": 20, "a": 20}


def test_nothing_stays_of_accounts_without_entries() -> None:
    """Their numbers are given again."""
    shared = Shared(make(10))
    for number in range(100):
        shared.bring(f"account {number}", 1)
        shared.space.invalidate(everything=number % 10 == 0) if number % 10 == 0 else None
    owners = shared.space._store.owners
    assert len(owners._numbers) <= 12
    assert max(owners._names) <= 12
    assert owners._entries.total() == len(shared.space)
    assert owners._bytes.total() == shared.space._store.bytes
