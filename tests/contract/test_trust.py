"""Who is trusted without an access key, and which results may come in."""

from __future__ import annotations

import base64
import socket

import pytest

from likewise.access import add_key


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:1"}, 200),
        ({"host": "[::1]:1", "origin": "http://[::1]:1"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "192.168.1.4"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"forwarded": "for=1.2.3.4"}, 401),
        ({"x-forwarded-for": "1.2.3.4"}, 401),
        ({"via": "1.1 proxy"}, 401),
    ],
)
def test_without_a_key_only_what_comes_straight_is_served(server, headers: dict[str, str], status: int) -> None:
    assert server.http.get("/v1/functions", headers=headers).status_code == status
    assert server.http.get("/livez", headers=headers).status_code == 200


def test_a_named_host_is_trusted(live) -> None:
    server = live(allowed_hosts="cache.example.com")
    headers = {"host": "cache.example.com", "x-forwarded-for": "1.2.3.4", "origin": "https://cache.example.com"}
    assert server.http.get("/v1/functions", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"x", "текст/x"),
        (b"x", "a/b\r\nx: y"),
        (b"x", "text"),
        (b"[1", "application/json"),
        (b'{"a":1,"a":2}', "application/json"),
        (b"NaN", "application/ld+json"),
        (b"[" * 200 + b"]" * 200, "application/json"),
        (b"18446744073709551616", "application/json"),
    ],
)
def test_results_that_cannot_be_handed_on_are_refused(server, body: bytes, media_type: str) -> None:
    entry = {"key": [1, 2, 3, 4], "result_base64": base64.b64encode(body).decode(), "media_type": media_type}
    for document in (entry, {"entries": [entry]}):
        assert server.http.post("/v1/functions/devices/entries", json=document).status_code == 422


def test_a_function_is_removed_by_its_address(server) -> None:
    assert server.http.delete("/v1/functions/devices@2").status_code == 404
    assert server.http.delete("/v1/functions/devices@1").status_code == 204
    assert server.http.get("/v1/functions/devices").status_code == 404


@pytest.mark.parametrize("device", ["", "camera"])
def test_no_store_is_no_way_around_the_budget_of_an_access_key(live, toys, tmp_path, device: str) -> None:
    """What leaves no trace is computed all the same, and counts for who had it computed; others go on."""
    path = tmp_path / "keys.json"
    greedy, modest = (add_key(path, name, ("infer",)) for name in ("greedy", "modest"))
    server = live(account_budget=1e-6, key_file=str(path), require_key="always")

    def ask(key: str) -> int:
        headers = {"content-type": "image/png", "cache-control": "no-store", "authorization": f"Bearer {key}"}
        named = {"likewise-device": device} if device else {}
        body = toys.picture(1, 1)
        return server.http.post("/v1/functions/quadrants/infer", content=body, headers={**headers, **named}).status_code

    assert ask(greedy) == 200
    assert ask(greedy) == 503
    assert ask(modest) == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"GET /v1/functions HTTP/1.1", 400, id="no host"),
        pytest.param(b"GET /livez HTTP/1.0", 200, id="no host, 1.0"),
        pytest.param(b"GET /v1/functions HTTP/1.1\r\nHost: localhost", 200, id="own host"),
        pytest.param(b"GET /v1/functions HTTP/1.1\r\nHost: [::1]:8080", 200, id="own address"),
        pytest.param(b"GET /v1/functions HTTP/1.1\r\nHost: localhost@evil.example", 400, id="no host name"),
        pytest.param(b"GET http://localhost/v1/functions HTTP/1.1\r\nHost: evil.example", 200, id="own target"),
        pytest.param(b"GET http://evil.example/v1/functions HTTP/1.1\r\nHost: localhost", 403, id="foreign target"),
        pytest.param(b"GET http://evil.example?/v1 HTTP/1.1\r\nHost: localhost", 404, id="target without path"),
        pytest.param(b"GET http://localhost/livez HTTP/1.1\r\nHost: a\r\nHost: b", 400, id="target and two hosts"),
        pytest.param(b"GET /v1/functions/devices%2Flookup HTTP/1.1\r\nHost: localhost", 404, id="slash in a name"),
        pytest.param(b"GET /v1/functions/%64evices HTTP/1.1\r\nHost: localhost", 200, id="encoded name"),
    ],
)
def test_host_and_target_are_read_as_the_rfc_says(server, head, status):
    """What a target names counts, whatever Host says; what is no host, or encoded to look like a path, is refused."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as wire:
        wire.sendall(head + b"\r\n\r\n")
        assert wire.recv(12).split()[1] == b"%d" % status


def test_a_ticket_is_worth_nothing_to_another_account(live, tmp_path) -> None:
    """Whoever learns it from a log teaches nothing with it, and its owner still can."""
    first, second = (
        {"authorization": f"Bearer {add_key(tmp_path / 'data/access-keys.json', name, ['infer', 'insert'])}"}
        for name in ("first", "second")
    )
    server = live(require_key="always")
    key = {"key": [1.0, 2.0, 3.0, 4.0]}

    def tickets() -> int:
        return server.http.get("/v1/stats", headers=first).json()["functions"]["devices@1"]["tickets"]

    ticket = server.http.post("/v1/functions/devices/lookup", json=key, headers=first).json()["ticket"]
    entry = {**key, "result": {"label": "a"}, "ticket": ticket}
    for headers, left in ((second, 1), (first, 0)):
        assert server.http.post("/v1/functions/devices/entries", json=entry, headers=headers).status_code == 201
        assert tickets() == left
