"""Both clients, on a fake server and on real sockets."""

from __future__ import annotations

import asyncio
import copy
import pickle
import ssl
import threading
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from likewise_client import (
    Answer,
    AsyncClient,
    Client,
    ConnectionFailed,
    InvalidInput,
    ModelFailed,
    NotCached,
    Overloaded,
    Retry,
    ServerProblem,
    Ticket,
    TimedOut,
    Unauthorized,
    UnknownFunction,
)
from likewise_client.testing import FakeServer

QUICK = Retry(rounds=4, first_delay_s=0.001)
PNG = b"\x89PNG\r\n\x1a\n"
HIT = {"Cache_Status": "likewise; hit; ttl=9", "Age": "4", "Likewise_Entry": "00000000000000ab"}


class Awaited:
    """An AsyncClient used as if it were synchronous, so that one test serves both."""

    def __init__(self, nodes: Any, **settings: Any) -> None:
        self._client = AsyncClient(nodes, **settings)
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            return self._loop.run_until_complete(method(*arguments, **options))

        return call

    def close(self) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()


Connect = Callable[..., Any]


@pytest.fixture(params=[Client, Awaited], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Any:
    """Make clients of either kind; they are closed afterwards."""
    made: list[Any] = []

    def make(nodes: Any = "http://fake:8080", **settings: Any) -> Any:
        made.append(request.param(nodes, **{"retry": QUICK, **settings}))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def fake() -> FakeServer:
    """A server with one function of inputs and one of keys."""
    server = FakeServer()
    server.function("signs", lambda body: {"label": "stop", "size": len(body)})
    server.function("keys", radius=0.5, dimension=2)
    return server


def test_infer_misses_then_hits(connect: Connect, fake: FakeServer) -> None:
    """The second answer is the first one's entry."""
    client = connect(transport=fake)
    first, second = client.infer("signs", PNG), client.infer("signs", PNG)
    assert (first.outcome, first.from_cache, first.stored, first.result["size"]) == ("miss", False, True, 8)
    assert (second.outcome, second.from_cache, second.entry) == ("hit", True, first.entry)
    assert second.result == first.result
    assert second.media_type == "application/json"
    assert second.node == "http://fake:8080"


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"cache": "no-store"}, "no-store"),
        ({"max_age_s": 5, "min_fresh_s": 6}, "max-age=5, min-fresh=6"),
        ({"cache": "only-if-cached", "max_age_s": 60}, "only-if-cached, max-age=60"),
    ],
)
def test_cache_control_is_sent(options: dict[str, Any], header: str, connect: Connect, fake: FakeServer) -> None:
    """What a request says about reuse arrives as RFC 9111 writes it."""
    client = connect(transport=fake)
    client.infer("signs", PNG)
    client.infer("signs", PNG, **options)
    assert fake.calls[-1].headers["cache-control"] == header


def test_only_if_cached_raises_not_cached(connect: Connect, fake: FakeServer) -> None:
    """Nothing safe to reuse, nothing computed, nothing repeated."""
    with pytest.raises(NotCached) as caught:
        connect(transport=fake).infer("signs", PNG, cache="only-if-cached")
    assert caught.value.status == 504
    assert len(fake.calls) == 1


def test_lookup_insert_lookup(connect: Connect, fake: FakeServer) -> None:
    """A device computes after a miss, and the next finds it near its own key."""
    client = connect(transport=fake)
    miss = client.lookup("keys", key=[0, 0])
    assert (miss.outcome, miss.found, miss.result) == ("miss", False, None)
    done = client.insert("keys", {"label": "a"}, key=[0, 0], cost_s=0.2, ticket=miss.ticket, tags=["t"])
    assert done.stored
    hit = client.lookup("keys", key=np.array([0.1, 0.1]))
    assert (hit.outcome, hit.found, hit.result, hit.entry) == ("hit", True, {"label": "a"}, done.id)
    assert client.lookup("keys", key=[3, 3]).outcome == "miss"
    assert client.invalidate("keys", tag="t") == 1
    assert not client.lookup("keys", key=[0, 0]).found


def test_many_keys_are_looked_up_at_once(connect: Connect, fake: FakeServer) -> None:
    """One request, one answer for each key, in order; none for none."""
    client = connect(transport=fake)
    client.insert("keys", "near", key=[0, 0])
    client.insert("keys", np.eye(2), key=[9, 9])
    answers = client.lookup("keys", keys=[[0, 0.1], [5, 5], [9, 9]])
    assert [answer.outcome for answer in answers] == ["hit", "miss", "hit"]
    assert answers[0].result == "near"
    assert answers[0].body == b'"near"'
    np.testing.assert_array_equal(answers[2].result, np.eye(2))
    assert answers[1].ticket is not None
    assert [answer.outcome for answer in client.lookup("keys", keys=[[0, 0]])] == ["hit"]
    before = len(fake.calls)
    assert client.lookup("keys", keys=[]) == []
    assert len(fake.calls) == before


def test_a_lookup_takes_a_raw_input(connect: Connect, fake: FakeServer) -> None:
    """The server makes the key; lists are sent as .npy, since JSON means keys there."""
    client = connect(transport=fake)
    client.insert("keys", 1, input=[1.0, 2.0])
    assert client.lookup("keys", input=[1.0, 2.1]).found
    assert fake.calls[-1].headers["content-type"] == "application/x-npy"
    client.insert("signs", 2, input=PNG, result_media_type=None, ttl_s=1000, durable=True)
    assert client.lookup("signs", input=PNG).ttl_s > 100
    assert [call.query for call in fake.calls if call.route == "entries"][-1] == {"durable": "true"}


@pytest.mark.parametrize("probes", [1])
def test_a_probe_is_told(probes: int, connect: Connect, fake: FakeServer) -> None:
    """A probe computes where a hit was at hand; on a device it carries a ticket."""
    client = connect(transport=fake)
    client.infer("signs", PNG)
    fake._functions["signs"].probes = probes
    assert client.infer("signs", PNG).outcome == "probe"
    client.insert("keys", "a", key=[0, 0])
    fake._functions["keys"].probes = 2
    answer = client.lookup("keys", key=[0, 0])
    assert (answer.outcome, answer.found) == ("probe", False)
    client.insert("keys", "a", key=[0, 0], ticket=answer.ticket)
    assert fake._functions["keys"].redeemed == 1
    assert [one.outcome for one in client.lookup("keys", keys=[[0, 0], [0, 0]])] == ["probe", "hit"]


def test_functions_and_stats_are_read(connect: Connect, fake: FakeServer) -> None:
    """What the server says about itself, as it says it."""
    client = connect(transport=fake)
    assert [one["name"] for one in client.functions()] == ["signs", "keys"]
    client.infer("signs", PNG)
    assert client.stats()["functions"]["signs@1"]["requests"]["miss"] == 1


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("lookup", {}),
        ("lookup", {"key": [1], "input": PNG}),
        ("lookup", {"keys": [[1]], "key": [1]}),
        ("lookup", {"input": b"[]", "media_type": "application/json"}),
        ("lookup", {"keys": [1.0, 2.0]}),
        ("insert", {"result": 1}),
        ("insert", {"result": 1, "key": [1], "keys": {"a": [1]}}),
        ("insert", {"result": object(), "key": [1]}),
        ("insert", {"result": 1, "key": [1], "tags": "one"}),
        ("invalidate", {}),
        ("invalidate", {"id": "a", "all": True}),
    ],
)
def test_senseless_arguments_never_leave(
    method: str, options: dict[str, Any], connect: Connect, fake: FakeServer
) -> None:
    """The mistake is told without asking the server."""
    with pytest.raises(InvalidInput):
        getattr(connect(transport=fake), method)("keys", **options)
    assert fake.calls == []


def test_a_function_needs_a_name(connect: Connect, fake: FakeServer) -> None:
    """A name that would change the route is refused, others are quoted."""
    client = connect(transport=fake)
    for name in ("", ".", ".."):
        with pytest.raises(InvalidInput):
            client.infer(name, PNG)
    with pytest.raises(UnknownFunction):
        client.infer("a/../b", PNG)
    assert fake.calls[-1].function == "a/../b"


def test_problems_become_errors(connect: Connect, fake: FakeServer) -> None:
    """Unknown functions, failing models, missing keys: each its own class."""
    fake.function("broken", lambda _body: 1 / 0)
    client = connect(transport=fake)
    with pytest.raises(UnknownFunction, match="nowhere"):
        client.infer("nowhere", PNG)
    with pytest.raises(ModelFailed, match="division"):
        client.infer("broken", PNG)


def test_the_access_key_is_sent_and_not_shown(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """By argument or by environment, never in a repr."""
    server = FakeServer(access_key="s3cret")
    server.function("signs", lambda _body: 1)
    assert connect(transport=server, access_key="s3cret").infer("signs", PNG).result == 1
    monkeypatch.setenv("LIKEWISE_ACCESS_KEY", "s3cret")
    assert connect(transport=server).infer("signs", PNG).result == 1
    with pytest.raises(Unauthorized):
        connect(transport=server, access_key="").infer("signs", PNG)
    assert "s3cret" not in repr(Client(access_key="s3cret"))
    with pytest.raises(InvalidInput):
        connect(access_key="two\r\nlines")


def test_a_device_that_has_a_name_says_it(connect: Connect, scripted: Any) -> None:
    """In a header of every request; a name that no header could carry is refused before anything is sent."""
    scripted.answer(200, b'{"label":"a"}', **HIT)
    connect(scripted.url, device="camera 7").infer("signs", PNG)
    assert [headers["likewise-device"] for headers in scripted.headers] == ["camera 7"]
    for name in ("", "two\r\nlines", "x" * 129, " padded"):
        with pytest.raises(InvalidInput, match="device"):
            connect(scripted.url, device=name)


def test_a_busy_server_is_asked_again_over_real_sockets(connect: Connect, scripted: Any) -> None:
    """503 with Retry-After, then the answer."""
    scripted.answer(503, b"{}", Retry_After="0").answer(200, b'{"label":"a"}', **HIT)
    answer = connect(scripted.url).infer("signs", PNG)
    assert (answer.result, answer.age_s, answer.ttl_s, answer.entry) == ({"label": "a"}, 4, 9, "00000000000000ab")
    assert [(method, path) for method, path, _ in scripted.requests] == [("POST", "/v1/functions/signs/infer")] * 2


def test_overload_is_raised_with_its_seconds(connect: Connect, scripted: Any) -> None:
    """After the last round the caller learns when to come back."""
    scripted.answer(503, b'{"type":"https://likewise.dev/problems/overloaded","title":"Overloaded"}', Retry_After="7")
    with pytest.raises(Overloaded) as caught:
        connect(scripted.url, retry=Retry(rounds=1)).infer("signs", PNG)
    assert caught.value.retry_after_s == 7


def test_a_hanging_server_times_out(connect: Connect, scripted: Any) -> None:
    """No call waits longer than its timeout, and an insert is not sent twice."""
    scripted.hang()
    client = connect(scripted.url, timeout_s=0.5)
    with pytest.raises(TimedOut):
        client.insert("keys", 1, key=[1.0])
    assert len(scripted.requests) == 1
    with pytest.raises(TimedOut):
        client.infer("signs", PNG)
    assert len(scripted.requests) == 1 + QUICK.rounds


def test_a_dropped_connection_is_survived(connect: Connect, scripted: Any) -> None:
    """A lookup is sent again; an insert that may have arrived is not."""
    scripted.drop().answer(200, b"1", **HIT).drop()
    client = connect(scripted.url)
    assert client.lookup("keys", key=[1.0]).found
    with pytest.raises(ConnectionFailed) as caught:
        client.insert("keys", 1, key=[1.0])
    assert caught.value.sent
    assert isinstance(caught.value.__cause__, httpx.TransportError)


def test_nobody_listening_is_told(connect: Connect, scripted: Any) -> None:
    """A closed port: the error says so, and that nothing was sent."""
    scripted.close()
    with pytest.raises(ConnectionFailed, match="no connection") as caught:
        connect(scripted.url, retry=Retry(rounds=2, first_delay_s=0.001)).infer("signs", PNG)
    assert not caught.value.sent


def test_nodes_fail_over_and_return(connect: Connect, fake: FakeServer, clock: Any) -> None:
    """A dead owner is passed over, and taken again when its pause is over."""
    client = connect(["http://a:1/", "http://b:1"], transport=fake, clock=clock)
    owner = client.infer("signs", PNG).node
    fake.stop(owner)
    assert client.infer("signs", PNG).node != owner
    fake.start(owner)
    clock.now += 31
    assert client.infer("signs", PNG).node == owner


def test_a_broken_body_is_malformed(connect: Connect, scripted: Any) -> None:
    """A body that does not inflate is not httpx's error to raise."""
    scripted.answer(200, b"no gzip", Content_Encoding="gzip", **HIT)
    with pytest.raises(Exception, match="does not decode"):
        connect(scripted.url).infer("signs", PNG)


def test_threads_share_a_client(fake: FakeServer) -> None:
    """Eight threads, one client, every answer counted."""
    with Client(transport=fake) as client:
        threads = [threading.Thread(target=lambda: [client.infer("signs", PNG) for _ in range(20)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(fake._functions["signs"].counts.values()) == 160
        assert all(node.in_flight == 0 for node in client._operations.exchange.nodes._nodes.values())


async def test_a_cancelled_call_frees_its_place(scripted: Any) -> None:
    """Cancelling passes through; the next call works."""
    scripted.hang().answer(200, b"1", **HIT)
    async with AsyncClient(scripted.url, retry=QUICK) as client:
        task = asyncio.create_task(client.infer("signs", PNG))
        await asyncio.to_thread(scripted.arrived.wait, 300)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client._operations.exchange.nodes._nodes[scripted.url].in_flight == 0
        assert (await client.infer("signs", PNG)).result == 1


def test_tls_trust_is_loaded_where_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with https gets the system's authorities; a context of one's own wins."""
    own = ssl.create_default_context()
    loaded: list[Any] = []
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: loaded.append(1) or own)
    Client("http://a")
    Client("https://a", verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert loaded == []
    Client(["http://a", "https://b"])
    assert loaded == [1]


def test_values_survive_copies_and_pickles() -> None:
    """Tickets keep their node, problems what the server said."""
    ticket = Ticket("abc", "http://a:1")
    for twin in (copy.deepcopy(ticket), pickle.loads(pickle.dumps(ticket))):
        assert (twin, twin.node) == (ticket, "http://a:1")
    problem: ServerProblem = pickle.loads(pickle.dumps(UnknownFunction(404, "T", "D", "unknown-function")))
    assert (type(problem), problem.detail, str(problem)) == (UnknownFunction, "D", "T (404): D")
    failed = pickle.loads(pickle.dumps(ConnectionFailed("no", sent=True)))
    assert failed.sent
    assert Answer("miss") == copy.copy(Answer("miss"))
