"""Inserts in the background: when they are sent, what waits, what is dropped, and that none is lost on the way."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest

from likewise_client import AsyncClient, Client, Computed, InvalidInput, LikewiseClientError, Retry
from likewise_client.testing import FakeServer


@pytest.fixture
def fake() -> FakeServer:
    """A function whose results devices compute."""
    server = FakeServer()
    server.function("f", radius=0.0, dimension=1)
    return server


def one(number: int) -> Computed:
    return Computed({"number": number}, [float(number)])


def sizes(fake: FakeServer) -> list[int]:
    return [len(json.loads(call.body)["entries"]) for call in fake.calls]


class Shut(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Holds requests back until it is opened."""

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        self.open = threading.Event()
        self.waiting = threading.Event()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.waiting.set()
        assert self.open.wait(60)
        return self.fake.handle_request(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.waiting.set()
        while not self.open.is_set():
            await asyncio.sleep(0.001)
        return await self.fake.handle_async_request(request)


def test_many_make_a_request(fake: FakeServer) -> None:
    """By their number and by their bytes; what is left goes when they are closed, in order."""
    with Client(transport=fake) as client:
        with client.inserts("f", entries=4, age_s=1000) as inserts:
            assert all(inserts.add(one(i)) for i in range(10))
        assert sizes(fake) == [4, 4, 2]
        numbers = [e["result"]["number"] for call in fake.calls for e in json.loads(call.body)["entries"]]
        assert numbers == list(range(10))
        fake.calls.clear()
        with client.inserts("f", size_bytes=100, age_s=1000) as inserts:
            for i in range(10):
                inserts.add(one(i))
        assert len(sizes(fake)) > 2
    assert (inserts.sent, inserts.dropped, inserts.lost, len(inserts)) == (10, 0, 0, 0)


def test_age_and_flush_send_what_waits(fake: FakeServer) -> None:
    """Nobody has to add more for the first to go."""
    with Client(transport=fake) as client:
        with client.inserts("f", age_s=0.001) as inserts:
            inserts.add(one(1))
            while not inserts.sent:
                threading.Event().wait(0.001)
        with client.inserts("f", age_s=1000) as inserts:
            inserts.add(one(2))
            inserts.flush()
            assert inserts.sent == 1
            inserts.add(one(3))
            inserts.flush()
    assert sizes(fake) == [1, 1, 1]


def test_who_adds_more_than_there_is_room_for_waits(fake: FakeServer) -> None:
    """Until what is under way is through."""
    shut = Shut(fake)
    with Client(transport=shut) as client, client.inserts("f", entries=2, room=3, age_s=1000) as inserts:
        for i in range(3):
            inserts.add(one(i))
        assert shut.waiting.wait(60)
        adding = threading.Thread(target=lambda: inserts.add(one(3)))
        adding.start()
        adding.join(0.05)
        assert adding.is_alive()
        shut.open.set()
        adding.join(60)
        assert not adding.is_alive()
    assert (inserts.sent, inserts.dropped) == (4, 0)


def test_or_sees_it_dropped(fake: FakeServer) -> None:
    """And counted, without waiting."""
    shut = Shut(fake)
    with Client(transport=shut) as client, client.inserts("f", entries=2, room=3, when_full="drop") as inserts:
        assert [inserts.add(one(i)) for i in range(5)] == [True, True, True, False, False]
        shut.open.set()
    assert (inserts.sent, inserts.dropped) == (3, 2)


def test_a_request_that_fails_is_told(fake: FakeServer) -> None:
    """With how many results it had; the next ones go on, whatever the callback raises."""
    told: list[tuple[LikewiseClientError, int]] = []

    def tell(error: LikewiseClientError, count: int) -> None:
        told.append((error, count))
        raise RuntimeError("as the test wants")

    fake.fail(413, slug="too-large")
    client = Client(transport=fake, retry=Retry(rounds=1))
    with client, client.inserts("f", age_s=1000, on_error=tell) as inserts:
        inserts.add(one(1))
        inserts.add(one(2))
        inserts.flush()
        inserts.add(one(3))
    assert [(type(error).__name__, count) for error, count in told] == [("TooLarge", 2)]
    assert (inserts.sent, inserts.lost) == (1, 2)


def test_what_cannot_be_sent_raises_where_it_is_added(fake: FakeServer) -> None:
    """And so does adding to what is closed."""
    with Client(transport=fake) as client:
        with client.inserts("f", age_s=1000) as inserts:
            with pytest.raises(InvalidInput):
                inserts.add(Computed(object(), [1.0]))
            with pytest.raises(InvalidInput, match="exactly one"):
                inserts.add(Computed(1))
        with pytest.raises(InvalidInput, match="closed"):
            inserts.add(one(1))
    assert fake.calls == []


@pytest.mark.parametrize(
    "options",
    [{"entries": 0}, {"entries": 501}, {"size_bytes": 1.5}, {"room": 0}, {"age_s": -1}, {"when_full": "explode"}],
    ids=str,
)
def test_an_option_that_means_nothing_is_refused(fake: FakeServer, options: dict[str, Any]) -> None:
    """By its name."""
    with Client(transport=fake) as client, pytest.raises(InvalidInput, match=next(iter(options))):
        client.inserts("f", **options)


async def test_the_asynchronous_ones_do_the_same(fake: FakeServer) -> None:
    """In a task: number, age, flush, room and closing."""
    shut = Shut(fake)
    async with AsyncClient(transport=shut) as client:
        async with client.inserts("f", entries=2, room=3, age_s=1000) as inserts:
            for i in range(3):
                await inserts.add(one(i))
            adding = asyncio.create_task(inserts.add(one(3)))
            while not shut.waiting.is_set():
                await asyncio.sleep(0.001)
            assert not adding.done()
            shut.open.set()
            assert await adding
            await inserts.flush()
            assert (inserts.sent, len(inserts)) == (4, 0)
        async with client.inserts("f", age_s=0.001) as inserts:
            await inserts.add(one(9))
            while not inserts.sent:
                await asyncio.sleep(0.001)
        async with client.inserts("f", room=1, age_s=1000, when_full="drop") as inserts:
            assert [await inserts.add(one(i)) for i in range(2)] == [True, False]
        assert (inserts.sent, inserts.dropped) == (1, 1)


def test_threads_lose_none(fake: FakeServer) -> None:
    """Many add at once."""
    with Client(transport=fake) as client, client.inserts("f", entries=7, room=20, age_s=0.001) as inserts:
        threads = [
            threading.Thread(target=lambda start=start: [inserts.add(one(start + i)) for i in range(50)])
            for start in range(0, 400, 50)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    numbers = sorted(e["result"]["number"] for call in fake.calls for e in json.loads(call.body)["entries"])
    assert numbers == list(range(400))
    assert max(sizes(fake)) <= 7
