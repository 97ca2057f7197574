"""More requests than a server can begin: what is too late is refused unread, and leaves nothing behind."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import pytest

from likewise.function.reader import Reader
from likewise.http.protocol import HotProtocol
from likewise.http.turns import HEAVY, TakesTurns, Turns

INFER = b"POST /v1/functions/quadrants/infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def request(body: bytes, *lines: bytes, chunked: bool = False) -> bytes:
    head = INFER + b"".join(line + b"\r\n" for line in lines)
    if chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Wire:
    """A connection."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 60)

    def close(self) -> None:
        self.sock.close()

    def answer(self) -> tuple[int, str]:
        """Return status and text of the next answer."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
        while len(body) < length:
            body += self._more()
        assert len(body) == length
        return int(head.split()[1]), (head + b"\r\n\r\n" + body).decode()

    def _more(self) -> bytes:
        more = self.sock.recv(65536)
        assert more, "closed"
        return more


@pytest.fixture
def crowded(live, toys, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A server that has no turns to give until told, waits for half a second, and counts what it decodes."""
    made = SimpleNamespace(open=True, decoded=0)
    begin, begin_others, read_now = Turns._begin, Turns._begin_others, Reader.read_now

    def counted(reader: Reader, *args: object) -> object:
        made.decoded += 1
        return read_now(reader, *args)  # type: ignore[arg-type]

    def always_wait(connection: TakesTurns, quick: bool = False) -> bool:
        connection.load = HEAVY
        return TakesTurns.may_begin(connection, quick)

    monkeypatch.setattr(Reader, "read_now", counted)
    monkeypatch.setattr(Turns, "take", lambda _self, _load=0, _quick=False: False)
    monkeypatch.setattr(Turns, "_begin", lambda self, lane: begin(self, lane) if made.open else None)
    monkeypatch.setattr(Turns, "_begin_others", lambda self: begin_others(self) if made.open else None)
    monkeypatch.setattr(HotProtocol, "may_begin", always_wait)
    monkeypatch.setattr(HotProtocol, "_expect", lambda *_: None)  # all are strangers
    made.server = live(queue_timeout_s=0.5)
    made.fn = made.server.app.edge.registry.get("quadrants")
    made.picture, made.open = toys.picture, False
    with closing(Wire(made.server.port)) as made.wire:
        yield made


def learn(crowded: SimpleNamespace, *requests: bytes) -> None:
    """Have the server see heads once, while it has turns."""
    crowded.open = True
    for each in requests:
        crowded.wire.sock.sendall(each)
        assert crowded.wire.answer()[0] == 200
    crowded.open = False
    crowded.decoded = 0


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("pieces", [1, 2], ids=["at once", "in pieces"])
def test_what_is_too_late_before_its_turn_is_neither_decoded_nor_computed(
    crowded: SimpleNamespace, known: bool, pieces: int
) -> None:
    """Its client is told that its time is over; the connection serves the next request as ever."""
    wire, timeout = crowded.wire, b"Request-Timeout: 0.05"
    late = request(crowded.picture(1), timeout)
    if known:
        learn(crowded, request(crowded.picture(0), b"Request-Timeout: 0.05"))
    computed = crowded.fn.runner.computed
    size = -(-len(late) // pieces)
    for start in range(0, len(late), size):
        wire.sock.sendall(late[start : start + size])
    status, said = wire.answer()
    assert (status, "deadline-exceeded" in said, "connection: close" in said) == (504, True, False)
    assert (crowded.decoded, crowded.fn.runner.computed) == (0, computed)
    assert crowded.fn.metrics.failed["deadline-exceeded"] == 1
    crowded.open = True
    wire.sock.sendall(request(crowded.picture(1)))
    assert wire.answer()[0] == 200
    assert crowded.decoded == 1


def test_who_says_no_time_waits_as_long_as_for_an_inference(crowded: SimpleNamespace) -> None:
    """Then it is told to come back."""
    crowded.wire.sock.sendall(request(crowded.picture(1)))
    status, said = crowded.wire.answer()
    assert (status, crowded.decoded) == (503, 0)
    assert "retry-after: 1" in said


@pytest.mark.parametrize("timeout", [b"X: x", b"Request-Timeout: 0.05"])
@pytest.mark.parametrize("kind", ["chunked", "list"])
def test_what_the_application_would_answer_is_refused_unread_as_well(
    crowded: SimpleNamespace, kind: str, timeout: bytes
) -> None:
    """Its connection ends, since nobody read where its body does."""
    sent = {
        "chunked": request(crowded.picture(1), timeout, chunked=True),
        "list": b"GET /v1/functions HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % timeout,
    }[kind]
    crowded.wire.sock.sendall(sent)
    status, said = crowded.wire.answer()
    assert (status, crowded.decoded) == (504 if b"Request" in timeout else 503, 0)
    assert "connection: close" in said
    assert crowded.wire.sock.recv(100) == b""


def test_a_request_that_is_computed_has_its_round_measured(server, toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """However light its connection is, and a hit has not."""
    counted = []
    count = Turns.count
    monkeypatch.setattr(Turns, "count", lambda self: counted.append(1) or count(self))
    monkeypatch.setattr(Turns, "take", lambda _self, _load=0, _quick=False: True)
    with closing(Wire(server.port)) as wire:
        for number in (1, 1, 2, 2):  # each again by its bytes
            wire.sock.sendall(request(toys.picture(number)))
            assert wire.answer()[0] == 200
        assert len(counted) == 2


def test_others_do_not_notice(crowded: SimpleNamespace) -> None:
    """`/livez` waits for nobody, and patient requests beside late ones are answered."""
    learn(crowded, request(crowded.picture(0)), request(crowded.picture(0), b"Request-Timeout: 0.05"))
    wires = [Wire(crowded.server.port) for _ in range(20)]
    try:
        for number, wire in enumerate(wires):
            lines = [b"Request-Timeout: 0.05"] if number % 2 else []
            wire.sock.sendall(request(crowded.picture(number), *lines))
        crowded.wire.sock.sendall(LIVEZ)
        assert crowded.wire.answer()[0] == 200
        assert {wire.answer()[0] for wire in wires[1::2]} == {504}
        crowded.open = True
        assert {wire.answer()[0] for wire in wires[::2]} <= {200, 503}
        assert crowded.decoded <= 10
    finally:
        for wire in wires:
            wire.close()


def test_a_body_that_comes_too_late_is_not_decoded(server, toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time counts from the first byte of a request, not from the last one."""
    decoded = []
    monkeypatch.setattr(Reader, "read_now", lambda *_: decoded.append(1))
    for lines in ((), (b"Likewise-Ticket: none",)):  # as it arrives, and by the application
        with closing(Wire(server.port)) as wire:
            late = request(toys.picture(1), b"Request-Timeout: 0.02", *lines)
            wire.sock.sendall(late[:-1])
            assert server.http.get("/livez").status_code == 200  # so it has the first bytes, however busy it is
            time.sleep(0.03)
            wire.sock.sendall(late[-1:])
            assert wire.answer()[0] == 504
    assert not decoded
