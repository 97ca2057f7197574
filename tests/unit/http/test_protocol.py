"""Lookups answered as they arrive have to be answered as all others are."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from likewise.access import add_key, remove_key
from likewise.http import protocol

HIT = np.array([1, 0, 0, 0], "<f4").tobytes()
FAR = np.array([0, 9, 0, 0], "<f4").tobytes()
LOOKUP = "/v1/functions/devices/lookup"


INFER = "/v1/functions/quadrants/infer"


def head(length: int, path: str = LOOKUP, *lines: str, media_type: str = "octet-stream") -> bytes:
    written = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Type: application/{media_type}"]
    return "\r\n".join([*written, f"Content-Length: {length}", *lines, "", ""]).encode()


def known(server, start: bytes) -> bool:
    """Say whether a head is remembered, whatever its length says."""
    return re.sub(rb"(?<=Content-Length: )\d+", b"", start) in server.app.heads


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
    assert known(server, head(16))
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
    assert all(known(server, start) for start, _ in asked.values())


@pytest.mark.parametrize("turn", ["parsed", "remembered"])
def test_a_device_is_known_by_its_name_or_else_by_its_connection(server, wire, turn: str) -> None:
    """Two names over one connection are two devices; one name over two connections is one."""
    devices = server.app.edge.registry.get("devices").devices
    asked = {name: head(16, LOOKUP, f"Likewise-Device: {name}") + HIT for name in ("left", "right")}
    if turn == "remembered":
        for request in asked.values():
            wire.ask(request)
    before = len(devices) if turn == "remembered" else len(devices) + 2
    for request in asked.values():
        assert wire.ask(request)[0] == 200
    with closing(Wire(server.port)) as other:
        assert other.ask(asked["left"])[0] == 200
        assert len(devices) == before
        for _ in range(2):
            assert other.ask(head(16) + HIT)[0] == 200
        assert len(devices) == before + 1
        host, port = other.sock.getsockname()
        for name in (*asked, f"{host}:{port}"):
            devices.get(name)
        assert len(devices) == before + 1  # they were all known


@pytest.mark.parametrize("turn", ["parsed", "remembered"])
def test_a_device_that_wants_no_trace_leaves_none(server, wire, toys, turn: str) -> None:
    devices = server.app.edge.registry.get("quadrants").devices
    picture = toys.picture(1)
    lines = ("Cache-Control: no-store", "Likewise-Device: shy")
    for _ in range(1 if turn == "parsed" else 2):
        request = head(len(picture), INFER, *lines, media_type="png").replace(b"application/png", b"image/png")
        assert wire.ask(request + picture)[0] == 200
    assert len(devices) == 0


@pytest.mark.parametrize("path", [LOOKUP, INFER])
def test_a_device_with_too_long_a_name_is_refused(wire, path: str) -> None:
    """And told the limit, each time."""
    for _ in range(2):
        status, _, body = wire.ask(head(16, path, "Likewise-Device: " + "x" * 129) + HIT)
        assert status == 400
        assert b"limit is 128" in body


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


def picture_head(body: bytes, *lines: str, path: str = INFER) -> bytes:
    start = head(len(body), path, *lines)
    return start.replace(b"application/octet-stream", b"image/png")


def test_pictures_of_any_length_share_a_head(server, wire, toys) -> None:
    """What the model has to compute and what the cache has come back alike, by one remembered head."""
    statuses = []
    for i in range(80):
        body = toys.picture(i % 4, i)
        status, headers, content = wire.ask(picture_head(body) + body)
        assert status == 200
        assert toys.labels[i % 4].encode() in content
        assert int(headers["content-length"]) == len(content)
        statuses.append(headers["cache-status"])
    assert len(server.app.heads) == 1
    assert any(each.startswith("likewise; hit") for each in statuses)
    assert statuses[0] == "likewise; fwd=miss; stored"
    counted = server.http.get("/v1/stats").json()["functions"]["quadrants@1"]["outcomes"]
    assert sum(counted.values()) == 80
    assert counted["hit"] == sum("; hit" in each for each in statuses)


@pytest.mark.parametrize("extra", [(), ("Cache-Control: no-cache",)])
def test_what_is_computed_is_told_as_the_application_tells_it(server, wire, toys, extra: tuple[str, ...]) -> None:
    """Its head is written at once where it is the usual one, and says the same in the same order."""
    answers = []
    for i, more in enumerate([(), ("Accept: a", "Accept: b")]):  # whoever says a thing twice goes the usual way
        body = toys.picture(0, i)
        start = head(len(body), INFER, *extra, *more).replace(b"application/octet-stream", b"image/png")
        assert server.http.delete("/v1/functions/quadrants/entries?all=true").status_code == 200
        status, headers, content = wire.ask(start + body)
        assert (status, known(server, start)) == (200, not more)
        assert re.fullmatch("[0-9a-f]{16}", headers.pop("likewise-entry"))
        assert int(headers.pop("content-length")) == len(content)
        headers.pop("date", None)
        answers.append(list(headers.items()))
    assert answers[0] == answers[1]
    assert ("cache-status", f"likewise; fwd={'request' if extra else 'miss'}; stored") in answers[0]


def test_a_picture_in_pieces_is_answered_when_it_is_whole(wire, toys) -> None:
    """A network cuts where it likes, and may bring the next request together with the end of this one."""
    body = toys.picture(1, 5)
    whole = picture_head(body) + body
    assert wire.ask(whole)[0] == 200
    wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for cut in (len(whole) - len(body), len(whole) - 20, len(whole) - 1):
        sender = threading.Timer(0.02, wire.sock.sendall, [whole[cut:]])
        wire.sock.sendall(whole[:cut])
        sender.start()
        assert wire.answer()[0] == 200
        sender.join()
    sender = threading.Timer(0.02, wire.sock.sendall, [whole[-9:] + head(16) + HIT])
    wire.sock.sendall(whole[:-9])
    sender.start()
    assert wire.answer()[0] == 200
    assert wire.answer()[2] == b'{"label":"cat"}'
    sender.join()


def test_a_picture_under_way_when_the_server_stops_is_still_answered(server, toys) -> None:
    """A graceful stop waits for the rest of a body, with a known head as with a new one."""
    body = toys.picture(1, 5)
    whole = picture_head(body) + body
    with closing(Wire(server.port)) as wire:
        assert wire.ask(whole)[0] == 200
        wire.sock.sendall(whole[:-9])
        deadline = time.monotonic() + 300
        while not any(each.body is not None for each in list(server.connections)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server.stop()
        while not server.stopping:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        wire.sock.sendall(whole[-9:])
        assert wire.answer()[0] == 200


def test_problems_of_pictures_are_the_same_both_ways(live, toys) -> None:
    """What is refused the usual way is refused on arrival, with the same document."""
    server = live(max_body_bytes=1024)
    good, other = toys.picture(2, 1), toys.picture(1, 2)
    unknown = "/v1/functions/nobody/infer"
    asked = {
        "good": (picture_head(good), good),
        "damaged": (picture_head(good), good[:40] + bytes(len(good) - 40)),
        "long": (picture_head(bytes(1025)), bytes(1025)),
        "unknown": (picture_head(good, path=unknown), good),
        "no-store": (picture_head(good, "Cache-Control: no-store"), good),
        "only-if-cached": (picture_head(other, "Cache-Control: only-if-cached", "X: 1"), other),
        "type": (picture_head(good).replace(b"png", b"gif"), good),
    }
    found = []
    for turn in range(2):
        with closing(Wire(server.port)) as wire:
            got = {name: wire.ask(start + body) for name, (start, body) in asked.items()}
        found.append({name: (status, headers.get("content-type")) for name, (status, headers, _) in got.items()})
        assert {name: status for name, (status, _) in found[turn].items()} == {
            "good": 200, "damaged": 400, "long": 413, "unknown": 404,
            "no-store": 200, "only-if-cached": 504, "type": 415,
        }  # fmt: skip
    assert found[0] == found[1]


def test_a_length_outside_the_head_teaches_nothing(server, wire) -> None:
    """Only a content-length that the parser saw as one says where a request ends."""
    inner = b"\r\ncontent-length: 45\r\n\r\n"
    body = inner + bytes(45 - len(inner))
    start = (
        b"POST " + LOOKUP.encode() + b" HTTP/1.1\r\nHost: here\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Length:45\r\n\r\n"
    )
    assert wire.ask(start + body)[0] == 422
    assert not server.app.heads
    assert wire.ask(head(16, LOOKUP, "X-Strength: 99") + HIT)[0] == 200
    strong = head(16).replace(b"Host: here", b"Host: here\r\nX-Strength: 99")
    assert wire.ask(strong + HIT)[0] == 200
    assert len(server.app.heads) == 1
    assert wire.ask(head(16).replace(b": 16", b": +16") + HIT)[0] == 400
