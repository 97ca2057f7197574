"""What a function gives its devices: how far entries reach, measured on what is cached."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from likewise.decision import Budget
from likewise.decision.leases import Leases
from likewise.decision.radius import lean
from likewise.function.leasing import FRESH_S, Leasing
from likewise.function.warming import worth_having
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Neighbors, Result

MARGIN = 1.0


def confident(neighbors: Neighbors, _: object) -> bool:
    """Ask for a margin, and nothing else."""
    winner = neighbors.labels[0]
    rivals = [d for d, label in zip(neighbors.distances, neighbors.labels, strict=True) if label != winner]
    rival = min(rivals, default=neighbors.distances[-1])
    return winner == 0 and math.log((rival + 1e-9) / (neighbors.distances[0] + 1e-9)) >= MARGIN


class Stage:
    """A namespace of two-number keys with its leasing."""

    def __init__(self) -> None:
        self.now = 100.0
        self.space = Namespace("f@1", {"v": 2}, 100, 1 << 20, 1e9, lambda: 0.0, index_kind="exact")
        budget = Budget(0.9)
        for _ in range(500):
            budget.ledger().earn()
        ids = itertools.count()
        leases = Leases(budget, 0.1, lambda: f"lease-{next(ids)}")
        self.leasing = Leasing(leases, self.space, "v", 10, confident, lambda: self.now, exact=True)

    def put(self, id: int, key: tuple[float, float], label: int, tags: tuple[str, ...] = ()) -> None:
        entry = Entry(id, {"v": np.array(key, np.float32)}, Result(b"{}"), 0.1, 0.0, math.inf, tags)
        self.space.insert(entry, label)


def test_an_entry_reaches_as_far_as_its_rival_lets_it() -> None:
    stage = Stage()
    stage.put(1, (0.0, 0.0), 0)
    stage.put(2, (2.0, 0.0), 1)
    reach = stage.leasing.reach(1)
    assert reach is not None
    assert reach.key.tolist() == [0.0, 0.0]
    near, rival = reach.radius, math.sqrt(4.0 + reach.radius**2 - 2.0 * lean(2) * 2.0 * reach.radius)
    assert math.log(rival / near) == pytest.approx(MARGIN, rel=1e-2)


class Apart:
    """A projection that makes the second number ten times as large, in which labels differ."""

    dimension = 2

    def one(self, key: np.ndarray) -> np.ndarray:
        return key * np.array([1, 10], np.float32)

    many = one


def test_an_entry_reaches_no_rival_that_only_a_projection_brings_apart() -> None:
    """Devices compare keys as they are: there the rival is no farther than the like entries, and lies in between."""
    stage = Stage()
    stage.put(1, (0.0, 0.0), 0)
    for id in range(2, 16):  # so many that no rival is among the neighbors
        stage.put(id, (1.0 + id / 100, 0.0), 0)
    stage.put(20, (0.0, 1.0), 1)
    stage.put(21, (0.0, 0.9), 1)
    stage.space.project("v", Apart())
    stage.space.settle()
    reach = stage.leasing.reach(1)
    assert reach is not None
    assert 0.05 < reach.radius < 0.5
    assert set(reach.near) == set(range(2, 12))


def test_a_reach_is_measured_anew_when_it_is_old() -> None:
    stage = Stage()
    stage.put(1, (0.0, 0.0), 0)
    stage.put(2, (2.0, 0.0), 1)
    first = stage.leasing.reach(1)
    stage.put(3, (0.5, 0.0), 1)
    assert stage.leasing.reach(1) is first
    stage.now += FRESH_S
    later = stage.leasing.reach(1)
    assert first is not None
    assert later is not None
    assert later.radius < 0.5 * first.radius


def test_an_entry_that_is_gone_or_alone_reaches_nowhere() -> None:
    stage = Stage()
    assert stage.leasing.reach(1) is None
    stage.put(1, (0.0, 0.0), 0)
    alone = stage.leasing.reach(1)
    assert alone is not None
    assert alone.radius == 0.0


def test_an_entry_that_went_since_is_still_known_to_a_probe() -> None:
    stage = Stage()
    stage.put(1, (0.0, 0.0), 0)
    stage.leasing.reach(1)
    stage.space.invalidate([1])
    lease, _ = stage.leasing.open("", "", "phone", False)
    assert lease is not None
    claim = stage.leasing.claim(lease, 1)
    assert claim is not None
    assert not claim.settle(0)
    unknown = stage.leasing.claim(lease, 77)
    assert unknown is not None
    assert unknown.settle(0)


def test_requests_of_one_device_that_are_under_way_together_get_one_lease() -> None:
    stage = Stage()
    lease, _ = stage.leasing.open("", "", "phone", False)
    assert lease is not None
    stage.now += 1000.0
    again = {stage.leasing.open(lease.id, "", "phone", True)[0] for _ in range(3)}
    assert len(again) == 1
    assert lease not in again


async def wish(space: Namespace, count: int, *more: object, rest: object = None, **others: object) -> list[int]:
    """Return what is worth having among such entries; rest: called where others get their turn."""

    async def pause() -> None:
        if rest is not None:
            rest()

    return await worth_having(space, "v", 3, count, *more, rest=pause, **others)


async def test_what_promises_most_comes_first() -> None:
    stage = Stage()
    for id in range(1, 9):
        stage.put(id, (float(id), 0.0), 0, ("hall",) if id == 5 else ())
    for _ in range(10):
        stage.space.use(stage.space.slot_of(3))
    assert (await wish(stage.space, 2))[0] == 3
    assert await wish(stage.space, 1, place="hall") == [5]
    asked = np.array([[7.9, 0.0], [8.1, 0.0]], np.float32)
    assert 8 in await wish(stage.space, 2, asked)
    assert len(await wish(stage.space, 100)) == 8
    assert await wish(Namespace("g@1", {"v": 2}, 10, 1 << 20, 1e9, lambda: 0.0), 5) == []


async def test_the_choice_gives_way_between_any_two_searches() -> None:
    """A search may look at every key, so no device has many done in one go; what goes meanwhile is no harm."""
    stage = Stage()
    for id in range(1, 51):
        stage.put(id, (float(id), 0.0), 0, ("hall",))
    left = list(range(1, 50))
    turns = []

    def rest() -> None:
        turns.append(1)
        if left:
            stage.space.remove(stage.space.slot_of(left.pop()))

    asked = np.zeros((40, 2), np.float32)
    found = await wish(stage.space, 10, asked, "hall", rest=rest)
    assert len(turns) >= 42
    assert len(found) == 10
