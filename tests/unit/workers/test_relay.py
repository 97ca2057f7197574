"""Requests handed over to another worker over a real Unix socket: in order, side by side, each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from likewise.workers import relay
from likewise.workers.link import Place, WorkerLink


class Worker:
    """A link that answers with what it was asked, once it is let go."""

    def __init__(self, folder: Path, number: int) -> None:
        self.link = WorkerLink(Place(folder, number, 3), lambda *_: None, lambda what: what.encode())
        self.link.serve(self.answer)
        self.began: list[str] = []
        self.dropped: list[str] = []
        self.gate = asyncio.Event()

    async def answer(self, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        self.began.append(header["name"])
        if header["name"].startswith("slow"):
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.dropped.append(header["name"])
                raise
        if header["name"] == "broken":
            raise RuntimeError("as a fault of ours would")
        return {"name": header["name"]}, body * 2


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[list[Worker]]:
    """Two of three workers; the third never starts."""
    async with AsyncExitStack() as stack:
        made = [Worker(tmp_path, number) for number in (0, 1)]
        for each in made:
            await stack.enter_async_context(each.link.running())
        yield made


async def until(true: Any) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0)


async def test_each_gets_its_own_answer_whichever_is_done_first(workers: list[Worker]) -> None:
    """A slow one holds up nobody; all reach the other in the order of the calls."""
    first, second = workers
    names = ["slow 1", "a", "b", "slow 2", "c"]
    asked = {name: asyncio.create_task(first.link.ask(1, {"name": name}, name.encode())) for name in names}
    await asyncio.gather(*(asked[name] for name in "abc"))
    assert not asked["slow 1"].done()
    second.gate.set()
    for name, task in asked.items():
        found = await task
        assert found is not None
        assert (found[0]["name"], found[1]) == (name, name.encode() * 2)
    assert second.began == names


async def test_more_than_fit_at_once_are_answered_in_turn(workers: list[Worker], monkeypatch: Any) -> None:
    """The rest is read when others are done."""
    monkeypatch.setattr(relay, "AT_ONCE", 4)
    first, second = workers
    asked = [asyncio.create_task(first.link.ask(1, {"name": f"slow {at}"}, b"")) for at in range(40)]
    await until(lambda: len(second.began) == 4)
    second.gate.set()
    assert [(await each)[0]["name"] for each in asked] == [f"slow {at}" for at in range(40)]  # type: ignore[index]


async def test_a_worker_that_is_away_answers_nothing(workers: list[Worker], tmp_path: Path) -> None:
    """Then one that came, one that went while it was waited for, and one that came back."""
    first = workers[0]
    assert await first.link.ask(2, {"name": "a"}, b"") is None
    third = Worker(tmp_path, 2)
    async with third.link.running():
        assert await first.link.ask(2, {"name": "a"}, b"1") is not None
        waiting = asyncio.create_task(first.link.ask(2, {"name": "slow"}, b""))
        await until(lambda: third.began == ["a", "slow"])
    assert await waiting is None
    async with Worker(tmp_path, 2).link.running():
        await until(lambda: first.link._relays[2]._writer is None)
        assert await first.link.ask(2, {"name": "b"}, b"") is not None


async def test_a_request_that_breaks_the_other_is_not_waited_for(workers: list[Worker]) -> None:
    """No answer is better than none for ever; the next one is answered."""
    first = workers[0]
    assert await first.link.ask(1, {"name": "broken"}, b"") is None
    await until(lambda: first.link._relays[1]._writer is None)
    assert await first.link.ask(1, {"name": "a"}, b"") is not None


async def test_who_stops_waiting_holds_nothing(workers: list[Worker]) -> None:
    """A client that went away while its frame was with the other worker: nothing is computed for it there, either."""
    first, second = workers
    gone = asyncio.create_task(first.link.ask(1, {"name": "slow"}, b""))
    stays = asyncio.create_task(first.link.ask(1, {"name": "slow too"}, b""))
    await until(lambda: second.began == ["slow", "slow too"])
    gone.cancel()
    await until(lambda: second.dropped == ["slow"])
    second.gate.set()
    assert await stays is not None
    assert await first.link.ask(1, {"name": "a"}, b"") is not None
    assert first.link._relays[1]._waiting == {}


async def test_a_header_that_is_too_long_ends_no_connection(workers: list[Worker]) -> None:
    """It is not handed over; what others have under way over the same connection goes on."""
    first, second = workers
    waiting = asyncio.create_task(first.link.ask(1, {"name": "slow"}, b""))
    await until(lambda: second.began == ["slow"])
    assert await first.link.ask(1, {"name": "x" * 20_000}, b"") is None
    second.gate.set()
    assert await waiting is not None
    assert second.began == ["slow"]
