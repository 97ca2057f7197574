"""Key first, the input only on a miss: what is sent, when that pays, and that it is learned."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest

from likewise_client import AsyncClient, Client, InvalidInput, Retry, TimedOut
from likewise_client._key_first import EXPLORE, FIRST, KeyFirst
from likewise_client.testing import FakeServer

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(20_000)


@pytest.fixture
def fake() -> FakeServer:
    """A function with a model, whose entries are found by key."""
    server = FakeServer()
    server.function("signs", compute=lambda _: {"label": "stop"}, dimension=2)
    return server


def routes(fake: FakeServer) -> list[str]:
    return [call.route for call in fake.calls]


class Network(httpx.BaseTransport):
    """A network with a round trip and a bandwidth, by the test's clock."""

    def __init__(self, fake: FakeServer, clock: Any, round_trip_s: float, bytes_per_s: float) -> None:
        self.fake, self.clock = fake, clock
        self.round_trip_s, self.bytes_per_s = round_trip_s, bytes_per_s

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.clock.now += self.round_trip_s + len(request.read()) / self.bytes_per_s
        return self.fake.handle_request(request)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_input_is_sent_only_where_its_key_found_nothing(fake: FakeServer, kind: str) -> None:
    """With the ticket, to the node that gave it."""

    async def ask(client: AsyncClient, key: list[float]) -> Any:
        return await client.infer("signs", PICTURE, key=key, key_first=True)

    nodes = ["http://a:1", "http://b:1"]
    known = [1.0, 2.0]
    Client(nodes, transport=fake).insert("signs", {"label": "go"}, key=known)
    fake.calls.clear()
    if kind == "sync":
        client = Client(nodes, transport=fake)
        answers = [client.infer("signs", PICTURE, key=key, key_first=True) for key in (known, [9.0, 9.0])]
    else:
        later = AsyncClient(nodes, transport=fake)
        answers = [asyncio.run(ask(later, key)) for key in (known, [9.0, 9.0])]
    assert [(answer.outcome, answer.result["label"]) for answer in answers] == [("hit", "go"), ("miss", "stop")]
    assert routes(fake) == ["lookup", "lookup", "infer"]
    assert fake.calls[1].node == fake.calls[2].node
    assert fake._functions["signs"].redeemed == 1
    assert fake._functions["signs"].counts == {"hit": 1, "miss": 1, "probe": 0}


def test_a_node_that_is_gone_after_the_lookup_costs_no_answer(fake: FakeServer) -> None:
    """Another one computes, without the ticket."""

    class Dying(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = fake.handle_request(request)
            if request.url.path.endswith("/lookup"):
                fake.stop(f"http://{request.url.netloc.decode()}")
            return answer

    client = Client(["http://a:1", "http://b:1"], transport=Dying(), retry=Retry(rounds=1))
    assert client.infer("signs", PICTURE, key=[1.0, 2.0], key_first=True).result == {"label": "stop"}
    assert fake.calls[-1].route == "infer"
    assert "likewise-ticket" not in fake.calls[-1].headers


def test_what_asks_for_more_than_reuse_is_sent_at_once(fake: FakeServer) -> None:
    """A key is no help to `no-cache`, `no-store` or a stream; without a key there is nothing to ask by."""
    client = Client(transport=fake)
    client.infer("signs", PICTURE, key=[1.0, 2.0], cache="no-cache")
    client.infer("signs", PICTURE, key=[1.0, 2.0], stream="cam")
    client.infer("signs", PICTURE, key=[1.0, 2.0], key_first=False)
    assert routes(fake) == ["infer"] * 3
    with pytest.raises(InvalidInput, match="pass the key"):
        client.infer("signs", PICTURE, key_first=True)
    with pytest.raises(InvalidInput, match="pass the key"):
        client.infer("signs", PICTURE, key_type="k")


def test_the_deadline_is_of_both_together(fake: FakeServer, clock: Any) -> None:
    """What the lookup took is not given a second time."""
    client = Client(transport=Network(fake, clock, 0.3, 1e9), clock=clock, retry=Retry(rounds=1))
    client.infer("signs", PICTURE, key=[1.0, 2.0], key_first=True, deadline_s=1)
    assert [round(float(call.headers["request-timeout"]), 3) for call in fake.calls] == [1.0, 0.7]
    with pytest.raises(TimedOut):
        client.infer("signs", PICTURE, key=[8.0, 2.0], key_first=True, deadline_s=0.2)


def play(client: Client, fake: FakeServer, hit_rate: float, count: int) -> tuple[int, int]:
    """Ask for inputs of which a share is known; return how many were asked by key, and the bytes sent in the end."""
    rng = np.random.default_rng(5)
    fake.calls.clear()
    before = client.cache_info().bytes_sent
    for i in range(count):
        key = [1.0, 2.0] if rng.random() < hit_rate else [100.0 + i, rng.random()]
        client.infer("signs", PICTURE, key=key)
    return routes(fake).count("lookup"), client.cache_info().bytes_sent - before


@pytest.mark.parametrize(
    ("round_trip_s", "bytes_per_s", "hit_rate", "by_key"),
    [
        (0.05, 1e5, 0.7, True),  # a slow uplink: the input takes four round trips
        (0.05, 1e5, 0.02, False),  # nearly nothing is found
        (0.05, 1e9, 0.6, False),  # bytes cost nothing here, a second round trip does
        (0.001, 1e5, 0.2, True),  # near by, and slow
    ],
)
def test_the_faster_way_is_learned(
    fake: FakeServer, clock: Any, round_trip_s: float, bytes_per_s: float, hit_rate: float, by_key: bool
) -> None:
    """From the hit rate, the round trip and the bandwidth; now and then the other way is tried."""
    client = Client(transport=Network(fake, clock, round_trip_s, bytes_per_s), clock=clock)
    client.insert("signs", {"label": "go"}, key=[1.0, 2.0])
    client.insert("signs", {"label": "stop"}, input=PICTURE)
    play(client, fake, hit_rate, 400)
    asked, _ = play(client, fake, hit_rate, 320)
    expected = 320 * (1 - 1 / EXPLORE) if by_key else 320 / EXPLORE
    assert abs(asked - expected) <= 32


def test_bytes_are_saved_where_inputs_are_reused(fake: FakeServer, clock: Any) -> None:
    """Against sending each at once, in the same stream of requests."""
    client = Client(transport=Network(fake, clock, 0.01, 1e5), clock=clock)
    client.insert("signs", {"label": "go"}, key=[1.0, 2.0])
    _, sent = play(client, fake, 0.9, 300)
    assert sent < 0.35 * 300 * len(PICTURE)


def test_small_inputs_are_never_asked_for_by_key() -> None:
    """They would save less than another request's head costs."""
    ways = KeyFirst()
    assert not any(ways.pays("f", 800, 400) for _ in range(100))
    assert all(ways.pays("g", 100_000, 400) for _ in range(FIRST))


def test_a_network_that_changes_is_noticed(fake: FakeServer, clock: Any) -> None:
    """From good Wi-Fi to a slow uplink."""
    network = Network(fake, clock, 0.02, 1e9)
    client = Client(transport=network, clock=clock)
    client.insert("signs", {"label": "go"}, key=[1.0, 2.0])
    client.insert("signs", {"label": "stop"}, input=PICTURE)
    play(client, fake, 0.6, 300)
    before, _ = play(client, fake, 0.6, 64)
    network.bytes_per_s = 5e4
    play(client, fake, 0.6, 300)
    after, _ = play(client, fake, 0.6, 64)
    assert before <= 8
    assert after >= 56
