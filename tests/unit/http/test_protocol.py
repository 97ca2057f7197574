"""Lookups answered as they arrive have to be answered as all others are."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from likewise.http import protocol
from likewise.http.access import add_key, remove_key

HIT = np.array([1, 0, 0, 0], "<f4").tobytes()
FAR = np.array([0, 9, 0, 0], "<f4").tobytes()
LOOKUP = "/v1/functions/devices/lookup"


def head(length: int, path: str = LOOKUP, *lines: str, media_type: str = "octet-stream") -> bytes:
    written = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Type: application/{media_type}"]
    return "\r\n".join([*written, f"Content-Length: {length}", *lines, "", ""]).encode()


class Wire:
    """A connection that sends bytes and reads whole answers."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        self._kept = b""

    def close(self) -> None:
        self.sock.close()

    def ask(self, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
        for part in parts:
            self.sock.sendall(part)
        return self.answer()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        data = self._kept
        while b"\r\n\r\n" not in data:
            data += self._more()
        written, _, body = data.partition(b"\r\n\r\n")
        status, *lines = written.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(body) < length:
            body += self._more()
        self._kept = body[length:]
        return int(status.split()[1]), headers, body[:length]

    def _more(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("closed")
        return data


@pytest.fixture
def wire(server) -> Iterator[Wire]:
    entry = {"key": [1, 0, 0, 0], "result": {"label": "cat"}, "cost_s": 0.5}
    assert server.http.post("/v1/functions/devices/entries", json=entry).status_code == 201
    with closing(Wire(server.port)) as connection:
        yield connection


def test_the_second_request_with_a_head_is_answered_as_the_first(server, wire) -> None:
    """A remembered head changes nothing but the time it takes."""
    first = wire.ask(head(16) + HIT)
    assert head(16) in server.app.heads
    second = wire.ask(head(16) + HIT)
    assert first[0] == second[0] == 200
    assert first[2] == second[2] == b'{"label":"cat"}'
    ignored = {"date", "age", "cache-status"}
    assert {k: v for k, v in first[1].items() if k not in ignored} == {
        k: v for k, v in second[1].items() if k not in ignored
    }
    assert list(first[1]) == list(second[1])
    assert second[1]["cache-status"].startswith("likewise; hit; ttl=3")


@pytest.mark.parametrize("turn", ["parsed", "remembered"])
def test_misses_problems_json_and_batches_are_the_same_both_ways(server, wire, turn: str) -> None:
    """Every kind of answer to a lookup of keys comes out of the shortcut too."""
    nan = np.array([np.nan, 0, 0, 0], "<f4").tobytes()
    asked = {
        "miss": (head(16, LOOKUP), FAR),
        "nan": (head(16, LOOKUP, "X: nan"), nan),
        "short": (head(12), HIT[:12]),
        "batch": (head(32), HIT + FAR),
        "json": (head(17, media_type="json"), b'{"key":[1,0,0,0]}'),
        "broken": (head(5, media_type="json"), b'{"key'),
        "unknown": (head(16, "/v1/functions/nobody/lookup"), HIT),
        "key type": (head(16, "/v1/functions/devices/lookup?key_type=w"), HIT),
        "v": (head(16, "/v1/functions/devices/lookup?key_type=v"), HIT),
        "old": (head(16, LOOKUP, "Cache-Control: max-age=0, min-fresh=999999"), HIT),
    }
    if turn == "remembered":
        for start, body in asked.values():
            wire.ask(start + body)
    got = {name: wire.ask(start + body) for name, (start, body) in asked.items()}
    statuses = {name: status for name, (status, _, _) in got.items()}
    assert statuses == {
        "miss": 204, "nan": 422, "short": 422, "batch": 200, "json": 200, "broken": 400, "unknown": 404,
        "key type": 422, "v": 200, "old": 204,
    }  # fmt: skip
    assert got["miss"][1]["likewise-ticket"]
    assert got["nan"][1]["content-type"] == "application/problem+json"
    assert b'"outcome":"hit"' in got["json"][2]
    assert got["batch"][2].startswith(b'{"answers":[{"outcome":"hit"')
    assert all(start in server.app.heads for start, _ in asked.values())


def test_whatever_is_not_a_plain_lookup_goes_the_usual_way(server, wire) -> None:
    """Such heads are not remembered, and are answered."""
    chunked = head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    assert wire.ask(chunked + b"10\r\n" + HIT + b"\r\n0\r\n\r\n")[0] == 200
    assert wire.ask(head(16, LOOKUP, "Content-Encoding: gzip") + HIT)[0] == 415
    assert wire.ask(head(16, LOOKUP, "Accept: a", "Accept: b") + HIT)[0] == 200
    assert wire.ask(head(16, LOOKUP, "Cache-Control: max-age=x") + HIT)[0] == 400
    assert wire.ask(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")[0] == 200
    assert not server.app.heads
    assert wire.ask(head(16, LOOKUP, "Connection: close") + HIT)[0] == 200
    with pytest.raises(ConnectionError):
        wire.answer()


def test_requests_in_pieces_and_in_a_row_are_all_answered(wire) -> None:
    """How the bytes are cut into reads makes no difference, with a known head as with a new one."""
    whole = head(16) + HIT
    assert wire.ask(whole)[0] == 200
    for cut in (1, 10, len(whole) - 16, len(whole) - 3):
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sender = threading.Timer(0.02, wire.sock.sendall, [whole[cut:]])
        wire.sock.sendall(whole[:cut])
        sender.start()
        assert wire.answer()[2] == b'{"label":"cat"}'
        sender.join()
    assert wire.ask(whole + whole + whole)[0] == 200
    assert wire.answer()[0] == 200
    assert wire.answer()[0] == 200
    assert wire.ask(whole)[0] == 200


def test_a_lookup_behind_a_request_under_way_waits_for_its_turn(wire) -> None:
    """Answers come in the order of the requests, though the second could be answered at once."""
    assert wire.ask(head(16) + HIT)[0] == 200
    stats = b"GET /v1/stats HTTP/1.1\r\nHost: here\r\n\r\n"
    first = wire.ask(stats + head(16) + HIT)
    assert b"outcomes" in first[2]
    assert wire.answer()[2] == b'{"label":"cat"}'


def test_access_is_checked_for_every_request(live, tmp_path) -> None:
    """A remembered head lets nobody in whose access key was taken away."""
    file = tmp_path / "keys.json"
    access_key = add_key(file, "phone", ["infer"])
    server = live(key_file=str(file), require_key="always")
    server.app.edge.access._monotonic = lambda: 1e12  # look at the file each time
    with closing(Wire(server.port)) as wire:
        start = head(16, LOOKUP, f"Authorization: Bearer {access_key}")
        assert wire.ask(start + HIT)[0] == 204
        assert wire.ask(start + HIT)[0] == 204
        remove_key(file, "phone")
        server.app.edge.access._next_look_at = 0.0  # the moment it looks at the file again
        assert wire.ask(start + HIT)[0] == 401
        assert wire.ask(head(16) + HIT)[0] == 401


def test_only_so_many_heads_are_remembered(server, wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that never come again cost bounded memory."""
    monkeypatch.setattr(protocol, "HEADS", 4)
    for i in range(10):
        assert wire.ask(head(16, LOOKUP, f"X-Request: {i}") + HIT)[0] == 200
    assert 1 <= len(server.app.heads) <= 4
    assert wire.ask(head(16, LOOKUP, "X-Long: " + "x" * 4000) + HIT)[0] == 200
    assert 1 <= len(server.app.heads) <= 4
