"""Turns of those who warm up: one at a time, bounded, and no account keeps all others out."""

from __future__ import annotations

import asyncio

import pytest

from likewise.errors import Overloaded
from likewise.http.warmups import MOST, WarmUps


async def test_one_has_its_turn_and_an_account_gets_half_of_the_places() -> None:
    warm_ups, gate = WarmUps(), asyncio.Event()
    now, most = 0, 0

    async def warm_up(account: str) -> None:
        nonlocal now, most
        async with warm_ups.turn(account):
            now += 1
            most = max(most, now)
            await gate.wait()
            now -= 1

    waiting = [asyncio.create_task(warm_up("greedy")) for _ in range(MOST)]
    await asyncio.sleep(0)
    modest = asyncio.create_task(warm_up("modest"))
    await asyncio.sleep(0)
    gate.set()
    found = await asyncio.gather(*waiting, modest, return_exceptions=True)
    assert [type(each) for each in found] == [type(None)] * (MOST // 2) + [Overloaded] * (MOST // 2) + [type(None)]
    assert most == 1
    assert not warm_ups._of


async def test_who_goes_away_leaves_no_place_behind() -> None:
    warm_ups = WarmUps()
    async with warm_ups.turn("a"):
        gone = asyncio.create_task(warm_ups.turn("b").__aenter__())
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    assert not warm_ups._of
