"""Manners on the network: deadlines, the retry budget, hedging, and what the app is told of each call."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from typing import Any, get_args

import httpx
import pytest

from likewise_client import (
    AsyncClient,
    CacheInfo,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    Event,
    Hedge,
    InvalidInput,
    Outcome,
    Overloaded,
    Retry,
    ServerProblem,
    TimedOut,
    UnknownFunction,
)
from likewise_client._budget import Budget
from likewise_client._hedge import Latencies
from likewise_client.testing import FakeServer

PNG = b"\x89PNG\r\n\x1a\n"
QUICK = Retry(first_delay_s=0.0, max_delay_s=0.0, rounds=3)


@pytest.fixture
def fake() -> FakeServer:
    """A function with a model, and one whose results devices compute."""
    server = FakeServer()
    server.function("signs", compute=lambda _: {"label": "stop"})
    server.function("words", radius=0.5, dimension=2)
    return server


def test_a_budget_is_filled_by_calls_and_by_time(clock: Any) -> None:
    """Never over its burst; taken whole or not at all."""
    budget = Budget(ratio=0.5, burst=2, per_s=1.0, clock=clock)
    assert [budget.take(), budget.take(), budget.take()] == [True, True, False]
    budget.deposit()
    assert not budget.take()
    budget.deposit()
    assert budget.take()
    clock.now += 100.0
    assert not budget.take(3)
    assert budget.take(2)
    assert not budget.take()


def test_retries_stay_a_share_of_the_calls(fake: FakeServer, clock: Any) -> None:
    """A server in trouble gets a fifth more requests than there are calls, once the burst is spent."""
    fake.fail(503, times=100_000, retry_after_s=0)
    client = Client(transport=fake, retry=Retry(rounds=3, burst=10, first_delay_s=0.0, max_delay_s=0.0), clock=clock)
    for _ in range(500):
        with pytest.raises(Overloaded):
            client.infer("signs", PNG)
    retries = len(fake.calls) - 500
    assert 90 <= retries <= 0.2 * 500 + 10


def test_a_node_that_cannot_be_reached_costs_no_budget(fake: FakeServer, clock: Any) -> None:
    """The next one is asked all the same: no server has worked on it yet."""
    retry = Retry(budget=0.0, burst=0, per_s=0.0)
    nodes = ["http://a:1", "http://b:1"]
    client = Client(nodes, transport=fake, retry=retry, clock=clock)
    owner = client.infer("signs", PNG).node
    fake.stop(owner)
    assert client.infer("signs", PNG).node != owner
    with pytest.raises(ConnectionFailed):
        Client(owner, transport=fake, retry=retry, clock=clock).infer("signs", PNG)


@pytest.mark.parametrize("options", [{"budget": -1.0}, {"burst": 1.5}, {"burst": -1}, {"per_s": float("nan")}], ids=str)
def test_a_budget_that_means_nothing_is_refused(options: dict[str, Any]) -> None:
    """By the name of the field."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Retry(**options)


@pytest.mark.parametrize("options", [{"quantile": 1.0}, {"least_s": -1.0}, {"after_calls": 0}], ids=str)
def test_hedging_that_means_nothing_is_refused(options: dict[str, Any]) -> None:
    """By the name of the field."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Hedge(**options)


def test_a_deadline_travels_and_is_the_same_text_each_time(fake: FakeServer) -> None:
    """So that a server which knows heads by their bytes knows this one."""
    with Client(transport=fake) as client:
        client.infer("signs", PNG, deadline_s=1.5)
        client.infer("signs", PNG, deadline_s=1.5)
        client.lookup("words", key=[1.0, 2.0], deadline_s=2)
        client.insert("words", 1, key=[1.0, 2.0], deadline_s=0.25)
        client.infer("signs", PNG)
    assert [call.headers.get("request-timeout") for call in fake.calls] == ["1.5", "1.5", "2", "0.25", None]


def test_what_is_left_of_a_deadline_travels_with_a_retry(fake: FakeServer, clock: Any) -> None:
    """And no round begins after it."""

    class Slow(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            clock.now += 0.4
            return fake.handle_request(request)

    client = Client(transport=Slow(), retry=QUICK, clock=clock)
    fake.fail(503, retry_after_s=0)
    client.infer("signs", PNG, deadline_s=1)
    assert [call.headers["request-timeout"] for call in fake.calls] == ["1", "0.6"]
    fake.fail(503, times=9, retry_after_s=0)
    with pytest.raises(Overloaded):
        client.infer("signs", PNG, deadline_s=0.5)
    assert len(fake.calls) == 4


def test_a_deadline_on_the_server_is_not_tried_again(fake: FakeServer) -> None:
    """It is a problem of the server's and a time-out, whichever an app asks for."""
    fake.fail(504, slug="deadline-exceeded", times=5)
    with Client(transport=fake, retry=QUICK) as client, pytest.raises(DeadlineExceeded) as caught:
        client.infer("signs", PNG, deadline_s=1)
    assert isinstance(caught.value, TimedOut)
    assert isinstance(caught.value, ServerProblem)
    assert len(fake.calls) == 1


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan"), float("inf"), "1"])
def test_a_deadline_that_means_nothing_is_refused(fake: FakeServer, deadline_s: Any) -> None:
    """Before anything is sent."""
    with Client(transport=fake) as client, pytest.raises(InvalidInput, match="deadline_s"):
        client.infer("signs", PNG, deadline_s=deadline_s)
    assert fake.calls == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_hanging_server_is_left_at_the_deadline(scripted: Any, kind: str) -> None:
    """Long before the client's own time-out."""
    scripted.hang()
    if kind == "sync":
        with Client(scripted.url, timeout_s=300.0) as client, pytest.raises(TimedOut):
            client.infer("signs", PNG, deadline_s=0.2)
        return

    async def ask() -> None:
        async with AsyncClient(scripted.url, timeout_s=300.0) as client:
            with pytest.raises(TimedOut):
                await client.infer("signs", PNG, deadline_s=0.2)

    asyncio.run(ask())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_answer_that_drips_is_left_at_the_deadline(scripted: Any, kind: str) -> None:
    """Each piece comes in time, the whole never does."""

    def drip(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        try:
            while not scripted.release.wait(0.02):
                handler.wfile.write(b".")
        except OSError:
            pass
        handler.close_connection = True

    scripted.script.append(drip)
    if kind == "sync":
        with Client(scripted.url, timeout_s=300.0) as client, pytest.raises(TimedOut):
            client.infer("signs", PNG, deadline_s=0.3)
        return

    async def ask() -> None:
        async with AsyncClient(scripted.url, timeout_s=300.0) as client:
            with pytest.raises(TimedOut):
                await client.infer("signs", PNG, deadline_s=0.3)

    asyncio.run(ask())


def test_latencies_are_judged_by_kind() -> None:
    """Not before enough were seen, never below the least, over the latest alone."""
    latencies = Latencies(Hedge(quantile=0.5, least_s=0.01, after_calls=3), window=3)
    kind, other = ("infer", "f"), ("lookup", "f")
    for latency_s in (5.0, 0.2, 0.1):
        assert latencies.wait_s(kind) is None
        latencies.add(kind, latency_s)
    assert latencies.wait_s(kind) == 0.2
    latencies.add(kind, 0.3)
    assert latencies.wait_s(kind) == 0.2, "the first one is forgotten"
    assert latencies.wait_s(other) is None
    for _ in range(3):
        latencies.add(other, 0.0)
    assert latencies.wait_s(other) == 0.01


class Straggling(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Lets requests hang, by the order in which they come, until it is told otherwise."""

    def __init__(self, fake: FakeServer, slow: Callable[[int], bool]) -> None:
        self.fake, self.slow = fake, slow
        self.count = 0
        self.release = threading.Event()
        self.lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            self.count += 1
            slow = self.slow(self.count)
        if slow:
            self.release.wait(60)
        return self.fake.handle_request(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        if self.slow(self.count):
            await asyncio.sleep(60)
        return await self.fake.handle_async_request(request)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("nodes", [["http://a:1"], ["http://a:1", "http://b:1"]], ids=len)
def test_a_straggler_is_overtaken(fake: FakeServer, kind: str, nodes: list[str]) -> None:
    """By a request to another node where there is one; in flight, each is counted, and done again when it ends."""
    transport = Straggling(fake, lambda count: count == 4)
    hedge = Hedge(after_calls=3)
    events: list[Event] = []
    client: Any = (Client if kind == "sync" else AsyncClient)(
        nodes, transport=transport, hedge=hedge, on_answer=events.append
    )

    def ask() -> list[Any]:
        if kind == "sync":
            return [client.infer("signs", PNG) for _ in range(4)]

        async def asking() -> list[Any]:
            return [await client.infer("signs", PNG) for _ in range(4)]

        return asyncio.run(asking())

    answers = ask()
    assert [answer.result for answer in answers] == [{"label": "stop"}] * 4
    assert [event.attempts for event in events] == [1, 1, 1, 2]
    assert (answers[3].node != answers[0].node) == (len(nodes) == 2)
    transport.release.set()
    in_flight = client._operations.exchange.nodes._nodes
    for thread in threading.enumerate():
        if thread.name == "likewise-hedge":
            thread.join(60)
    assert [node.in_flight for node in in_flight.values()] == [0] * len(nodes)


def test_inserts_are_never_hedged(fake: FakeServer) -> None:
    """What may not be repeated is sent once."""
    transport = Straggling(fake, lambda _: False)
    with Client(transport=transport, hedge=Hedge(quantile=0.01, least_s=0.0, after_calls=1)) as client:
        for _ in range(5):
            client.insert("words", 1, key=[1.0, 2.0])
    assert transport.count == 5


def test_where_both_requests_fail_the_first_error_is_raised(fake: FakeServer) -> None:
    """As without hedging."""
    transport = Straggling(fake, lambda count: count == 2)
    with Client(transport=transport, hedge=Hedge(after_calls=1), retry=Retry(rounds=1)) as client:
        client.infer("signs", PNG)
        fake.fail(httpx.ReadTimeout("second"))
        fake.fail(httpx.ReadError("first"))
        threading.Timer(0.2, transport.release.set).start()
        with pytest.raises(ConnectionFailed, match="first"):
            client.infer("signs", PNG)


def test_each_call_is_told_and_counted(fake: FakeServer, clock: Any) -> None:
    """With its outcome, its bytes and its error; a callback that raises is logged and costs nothing."""
    events: list[Event] = []
    client = Client(transport=fake, on_answer=events.append, retry=QUICK, clock=clock, rng=random.Random(1))
    client.infer("signs", PNG)
    client.infer("signs", PNG)
    fake.fail(503, retry_after_s=0)
    client.lookup("words", keys=[[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(UnknownFunction):
        client.infer("nothing", PNG)
    kinds = [(event.operation, event.function, event.outcome, event.attempts) for event in events]
    assert kinds == [
        ("infer", "signs", "miss", 1),
        ("infer", "signs", "hit", 1),
        ("lookup", "words", None, 2),
        ("infer", "nothing", None, 1),
    ]
    assert isinstance(events[3].error, UnknownFunction)
    assert events[0].error is None
    assert all(event.bytes_sent > 100 and event.bytes_received > 50 for event in events[:3])
    assert events[0].bytes_sent == events[1].bytes_sent
    info = client.cache_info()
    assert info[:4] == (1, 3, 0, 0)
    assert info.bytes_sent == sum(event.bytes_sent for event in events)
    assert isinstance(info, CacheInfo)


def test_a_callback_that_raises_never_reaches_the_app(fake: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""

    def broken(_event: Event) -> None:
        raise RuntimeError("telemetry is down")

    with caplog.at_level(logging.ERROR, logger="likewise_client"), Client(transport=fake, on_answer=broken) as client:
        assert client.infer("signs", PNG).found
    assert "telemetry is down" in caplog.text


def test_the_bytes_are_those_on_the_wire(scripted: Any) -> None:
    """As a real server counts them, but for what each end adds to its heads."""
    import gzip

    body = gzip.compress(b'"' + b"a" * 10_000 + b'"')
    scripted.answer(200, body, Content_Encoding="gzip", Cache_Status="likewise; hit")
    events: list[Event] = []
    with Client(scripted.url, on_answer=events.append) as client:
        assert len(client.infer("signs", PNG * 100).result) == 10_000
    sent = 800 + sum(len(name) + len(value) + 4 for name, value in scripted.headers[0].items())
    assert events[0].bytes_sent == sent + len(b"POST /v1/functions/signs/infer HTTP/1.1\r\n\r\n")
    assert len(body) < events[0].bytes_received < len(body) + 300


def test_an_answer_of_every_outcome_is_counted() -> None:
    """Also of those that came later than the counts."""
    told: list[Any] = []
    details = iter(get_args(Outcome))

    def answer(request: httpx.Request) -> httpx.Response:
        detail = next(details)
        status = "likewise; hit" if detail in ("hit", "coalesced") else "likewise; fwd=miss"
        return httpx.Response(200, json=1, headers={"Cache-Status": f"{status}; detail={detail}"})

    with Client("http://a:1", transport=httpx.MockTransport(answer), on_answer=told.append) as client:
        for outcome in get_args(Outcome):
            assert client.infer("f", [1.0]).outcome == outcome
    assert [each.outcome for each in told] == list(get_args(Outcome))
