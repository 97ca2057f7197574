"""Workers over real Unix sockets: a ticket finds its owner, and whoever does not answer is not waited for long."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from likewise.errors import UnknownFunction
from likewise.types import Result
from likewise.workers.frames import frame, read_frame
from likewise.workers.link import Place, WorkerLink


class Worker:
    """A link whose function knows some tickets."""

    def __init__(self, folder: Path, number: int, timeout_s: float = 30.0) -> None:
        self.place = Place(folder, number, 3)
        self.tickets = {f"{number}.a": True, f"{number}.b": False}
        self.learned: list[tuple[str, str, Result]] = []
        self.link = WorkerLink(
            self.place,
            self.learn,
            lambda what: f"{what} of {number}".encode(),
            max_result_bytes=1000,
            timeout_s=timeout_s,
        )

    def learn(self, function: str, ticket: str, result: Result, account: str) -> bool | None:
        assert account == "a"
        if function != "f@1":
            raise UnknownFunction("No such function.")
        self.learned.append((function, ticket, result))
        return self.tickets.pop(ticket, None)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[list[Worker]]:
    """Two of three workers; the third never starts."""
    async with AsyncExitStack() as stack:
        made = [Worker(tmp_path, number) for number in (0, 1)]
        for each in made:
            await stack.enter_async_context(each.link.running())
        yield made


async def test_a_ticket_is_redeemed_once_by_its_owner(workers: list[Worker]) -> None:
    """Who issued it learns, and says whether the result is worth keeping."""
    first, second = workers
    result = Result(b'{"label":"a"}')
    assert await first.link.redeem("f@1", "1.a", result, "a") is True
    assert await first.link.redeem("f@1", "1.b", result, "a") is False
    assert await first.link.redeem("f@1", "1.a", result, "a") is None
    assert await first.link.redeem("g@1", "1.a", result, "a") is None
    assert second.learned[0] == ("f@1", "1.a", result)
    assert first.learned == []


@pytest.mark.parametrize("ticket", ["", "a", "0.a", "3.a", "-1.a", "1", "9" * 60, "²." + "a", "1_0.a"])
def test_other_tickets_belong_to_no_other_worker(tmp_path: Path, ticket: str) -> None:
    """One's own, those of workers that there are not, and what is no ticket."""
    assert Worker(tmp_path, 0).link.owner(ticket) is None


async def test_a_worker_that_is_away_does_not_answer(workers: list[Worker]) -> None:
    """Its tickets count as unknown, and its report is missing."""
    assert await workers[0].link.redeem("f@1", "2.a", Result(b"1"), "a") is None
    assert await workers[0].link.collect("stats") == {1: b"stats of 1"}


async def test_a_worker_that_hangs_is_given_up(tmp_path: Path) -> None:
    """It accepts, and says nothing."""
    hanging: list[asyncio.StreamWriter] = []
    place = Place(tmp_path, 1, 3)
    server = await asyncio.start_unix_server(lambda _, writer: hanging.append(writer), place.socket(1))
    worker = Worker(tmp_path, 0, timeout_s=0.05)
    async with worker.link.running():
        assert await worker.link.redeem("f@1", "1.a", Result(b"1"), "a") is None
    server.close()
    for each in hanging:
        each.close()


async def test_a_worker_that_came_back_is_reached_over_another_connection(
    workers: list[Worker], tmp_path: Path
) -> None:
    """The kept connection is of the one before."""
    again = Worker(tmp_path, 2)
    async with again.link.running():
        assert await workers[0].link.redeem("f@1", "2.a", Result(b"1"), "a") is True
    again = Worker(tmp_path, 2)
    async with again.link.running():
        assert await workers[0].link.redeem("f@1", "2.b", Result(b"1"), "a") is False


async def test_many_at_once_get_their_own_answers(workers: list[Worker]) -> None:
    """Requests take turns on one connection."""
    tickets = {f"1.{number}": bool(number % 2) for number in range(200)}
    workers[1].tickets = dict(tickets)
    kept = await asyncio.gather(*(workers[0].link.redeem("f@1", ticket, Result(b"1"), "a") for ticket in tickets))
    assert kept == list(tickets.values())


async def test_sockets_are_private_and_broken_messages_end_their_connection(
    workers: list[Worker], tmp_path: Path
) -> None:
    """Nobody else may write to them; what is too long or no message is not read on."""
    path = workers[0].place.socket(0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for wrong in (b"\xff" * 64, frame({}, b"x" * 1001), b"\x02\x00\x00\x00\x00\x00\x00\x00[]", frame({"what": 1})[:9]):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(wrong)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(frame({"what": "report", "report": "metrics"}))
    assert (await read_frame(reader, 100))[1] == b"metrics of 0"
    writer.close()
    await writer.wait_closed()
