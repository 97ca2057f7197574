"""Slots that accounts share: one that takes all it gets leaves room, and those that wait take turns."""

from __future__ import annotations

import asyncio
import random

import pytest

from likewise.http.slots import Slots


class Crowd:
    """Requests that hold a slot until they are let go."""

    def __init__(self, limit: int) -> None:
        self.slots = Slots(limit)
        self.inside: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def come(self, account: str, number: int = 0) -> asyncio.Task[None]:
        name = f"{account}{number}"
        self.gates[name] = asyncio.Event()

        async def request() -> None:
            async with self.slots.one(account):
                self.inside.append(name)
                try:
                    await self.gates[name].wait()
                finally:
                    self.inside.remove(name)

        return asyncio.create_task(request())


async def passed() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_account_leaves_half_to_the_others() -> None:
    """However many of its requests wait; another's goes ahead at once."""
    crowd = Crowd(8)
    tasks = [crowd.come("a", number) for number in range(30)]
    await passed()
    assert len(crowd.inside) == 4
    modest = crowd.come("b")
    await passed()
    assert "b0" in crowd.inside
    for task in [*tasks, modest]:
        task.cancel()
    await asyncio.gather(*tasks, modest, return_exceptions=True)
    assert len(crowd.slots) == 0
    assert not crowd.slots._waiting


async def test_where_none_is_free_accounts_take_turns() -> None:
    """Two that took all: the third one's is the next that is let in, whoever waited before; its own in their order."""
    crowd = Crowd(4)
    tasks = [crowd.come(account, number) for number in range(10) for account in "ab"]
    await passed()
    assert sorted(crowd.inside) == ["a0", "a1", "b0", "b1"]
    tasks += [crowd.come("c", number) for number in range(2)]
    order: list[str] = []
    for name in ("a0", "b0", "a1"):
        before = set(crowd.inside)
        crowd.gates[name].set()
        await passed()
        order += set(crowd.inside) - before
    assert order[0] == "a2"
    assert "c0" in order
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_leaves_holds_nothing(seed: int) -> None:
    """Canceled while it waits, in the moment it is let in, or inside."""
    rng, crowd = random.Random(seed), Crowd(6)
    tasks: list[asyncio.Task[None]] = []
    for number in range(200):
        tasks.append(crowd.come(rng.choice("aaab"), number))
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        if rng.random() < 0.5:
            rng.choice(tasks).cancel()
        if crowd.inside and rng.random() < 0.5:
            crowd.gates[rng.choice(crowd.inside)].set()
        assert len(crowd.inside) <= len(crowd.slots) <= 6
    while any(not task.done() for task in tasks):
        for gate in crowd.gates.values():
            gate.set()
        await asyncio.sleep(0)
    assert len(crowd.slots) == 0
    assert not crowd.slots._waiting
