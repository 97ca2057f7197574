"""Whoever can reach the port can neither stop it for others nor make it read one request as two."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from likewise_demo.process import ServerProcess

LOOKUP = b"POST /v1/functions/devices/lookup HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
CHUNKED = LOOKUP + b"Transfer-Encoding: chunked\r\n\r\n"
KEY = np.array([1, 0, 0, 0], "<f4").tobytes()
GET = b"GET /v1/functions HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENCE_S = 300.0


class Wires:
    """Raw connections to one server."""

    def __init__(self, url: str) -> None:
        self.place = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._stack = contextlib.ExitStack()

    def open(self, data: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        wire = self._stack.enter_context(
            contextlib.closing(socket.create_connection(self.place, PATIENCE_S, (source, 0)))
        )
        if data:
            wire.sendall(data)
        return wire

    def status(self, path: str = "/livez", source: str = "127.0.0.1") -> int:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        return statuses(read_to_end(self.open(request, source)))[0]

    def close(self) -> None:
        self._stack.close()


def read_to_end(wire: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := wire.recv(65536):
            data += more
    return data


def read_until(wire: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        more = wire.recv(65536)
        assert more, data
        data += more
    return data


def memory_mb(pid: int) -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def statuses(data: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def is_problem(data: bytes, status: int) -> bool:
    head, _, body = data.partition(b"\r\n\r\n")
    return b"application/problem+json" in head and json.loads(body)["status"] == status


@pytest.fixture
def wires() -> Iterator[Callable[[object], Wires]]:
    with contextlib.ExitStack() as stack:

        def to(server: object) -> Wires:
            made = Wires(server.url)  # type: ignore[attr-defined]
            stack.callback(made.close)
            return made

        yield to


@pytest.fixture(scope="module")
def strict(functions_dir: Path) -> Iterator[ServerProcess]:
    """A server whose deadlines are short."""
    options = (
        "--head-timeout-s", "1", "--body-timeout-s", "1", "--write-timeout-s", "2", "--keep-alive-s", "2",
        "--min-rate", "1048576",
    )  # fmt: skip
    with ServerProcess(functions_dir, 0.95, *options) as server:
        yield server


def test_what_does_not_arrive_in_time_is_closed(strict, wires) -> None:
    """Silence, half a head, half a body, a drip of either: all end, and what was begun is told why."""
    to = wires(strict)
    cases = {
        "silent": (b"", []),
        "half a head": (LOOKUP + b"X: ", [408]),
        "line breaks": (b"\r\n\r\n", [408]),
        "half a body": (LOOKUP + b"Content-Length: 16\r\n\r\n1234", [408]),
        "half a large body": (LOOKUP + b"Content-Length: 99999\r\n\r\n1234", [408]),
        "half a chunk": (LOOKUP + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc", [408]),
        "endless trailer": (LOOKUP + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n", [408]),
        "idle": (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    }
    opened = {name: to.open(data) for name, (data, _) in cases.items()}
    got = {name: read_to_end(wire) for name, wire in opened.items()}
    assert {name: statuses(data) for name, data in got.items()} == {name: want for name, (_, want) in cases.items()}
    assert is_problem(got["half a head"], 408)
    assert is_problem(got["half a body"], 408)


@pytest.mark.parametrize("many", [True, False], ids=["many lines", "one line"])
def test_a_head_without_end_is_refused(strict, wires, many: bool) -> None:
    """Past its limit it is 431, however it comes."""
    wire = wires(strict).open(b"GET /livez HTTP/1.1\r\nX: ")
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            wire.sendall(b"a" * 4000 + (b"\r\nX: " if many else b""))
    assert is_problem(read_to_end(wire), 431)


def test_one_address_cannot_take_all_connections(process, wires) -> None:
    """Others are served, and even the crowded address is told what is wrong and that the server lives."""
    to = wires(process("--journal", "memory", "--max-connections", "20"))
    for _ in range(60):
        to.open()
    assert to.status("/v1/functions", source="127.0.0.2") == 200
    assert to.status("/livez") == 200
    assert to.status("/v1/functions") == 503


@pytest.mark.slow
def test_two_thousand_silent_and_slow_connections_leave_room(process, wires) -> None:
    """Among them, everybody else is served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("this machine does not allow as many open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    to = wires(process("--journal", "memory", "--head-timeout-s", "600"))
    wires_open = [to.open(b"" if i % 2 else b"POST /v1") for i in range(2000)]
    assert to.status("/v1/functions") == 200
    for wire in wires_open[::2]:
        wire.sendall(b"/f")
    assert to.status("/v1/functions") == 200


def test_requests_sent_ahead_without_reading_are_not_taken_for_ever(strict, wires) -> None:
    """Reading stops, then the client is dropped; others do not notice."""
    to = wires(strict)
    wire = to.open()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.setblocking(False)
    deadline = time.monotonic() + PATIENCE_S
    dropped = False
    while not dropped:
        assert time.monotonic() < deadline, "it was never dropped"
        try:
            wire.send(GET * 200)
        except BlockingIOError:
            time.sleep(0.01)
        except ConnectionError:
            dropped = True
    assert to.status("/livez") == 200


def test_answers_that_nobody_reads_are_bounded_in_all(process, wires) -> None:
    """The address that has most gives up its oldest; another one's, which is read late, stays whole."""
    server = process("--journal", "memory", "--max-unread-bytes", "16MiB")
    to = wires(server)
    entry = {"key": [1, 0, 0, 0], "result": {"label": "a", "x": "y" * 500_000}}
    assert httpx.post(f"{server.url}/v1/functions/devices/entries", json=entry).status_code == 201
    head = LOOKUP + b"Content-Length: %d\r\n\r\n" % (16 * len(KEY))
    late = to.open(head + 16 * KEY, source="127.0.0.2")
    before = memory_mb(server.pid)
    flood = [to.open(head + 16 * KEY) for _ in range(60)]
    assert read_until(flood[-1], b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert memory_mb(server.pid) < before + 100
    answer = read_until(late, b"\r\n\r\n")
    whole = int(re.search(rb"content-length: (\d+)", answer)[1])
    while len(answer) - answer.index(b"\r\n\r\n") - 4 < whole:
        answer += late.recv(1 << 20) or pytest.fail("it was cut off")
    cut = sum(len(read_to_end(each)) < whole for each in flood[:10])
    assert cut >= 5
    assert to.status() == 200


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the kernel takes as much as it likes")
def test_a_client_that_reads_nothing_gets_few_answers(server) -> None:
    """The kernel would take up to 4 MB for it; what its own side has room for comes on top."""
    wire = socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)
    with contextlib.closing(wire):
        wire.sendall(GET)
        answer = len(wire.recv(65536))
        before = server.total_requests
        wire.setblocking(False)
        deadline = time.monotonic() + PATIENCE_S
        while not any(each._write_paused for each in server.connections):
            assert time.monotonic() < deadline, "it was never paused"
            with contextlib.suppress(BlockingIOError):
                wire.send(GET * 200)
            time.sleep(0.01)
        assert (server.total_requests - before) * answer < 1_000_000
        assert server.http.get("/livez").status_code == 200


def test_bodies_that_stop_before_their_end_are_bounded_in_all(process, wires) -> None:
    """The one that has been arriving longest makes room; a new request is answered."""
    to = wires(
        process("--journal", "memory", "--max-body-bytes", "1MiB", "--max-upload-bytes", "1MiB", "--max-held-bytes",
                "2MiB", "--body-timeout-s", "600")
    )  # fmt: skip
    start = LOOKUP + b"Content-Length: 1000000\r\n\r\n" + bytes(900_000)
    slow = [to.open(start) for _ in range(4)]
    assert is_problem(read_to_end(slow[0]), 503)
    assert statuses(read_until(to.open(LOOKUP + b"Content-Length: 16\r\n\r\n" + KEY), b"\r\n\r\n")) == [204]


def test_a_client_that_ends_its_sending_side_is_answered(strict, wires, toys) -> None:
    """With a head that is new and one that is known, from the model and from the cache; the log stays quiet."""
    to = wires(strict)
    for i in range(20):
        body = toys.picture(i % 4, i)
        head = b"POST /v1/functions/quadrants/infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        extra = b"X: %d\r\n" % i if i % 2 else b""
        wire = to.open(head + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body + GET * (i % 3))
        wire.shutdown(socket.SHUT_WR)
        assert statuses(read_to_end(wire)) == [200] * (1 + i % 3)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(GET[:30], id="head"),
        pytest.param(LOOKUP, id="lookup"),
        pytest.param(CHUNKED + b"ff\r\nabc", id="chunk"),
        pytest.param(
            b"PUT /v1/functions/x HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 5\r\n\r\n-",
            id="upload",
        ),
    ],
)
def test_what_was_begun_behind_a_request_is_not_waited_for(process, wires, toys, begun: bytes) -> None:
    """The client sends no more: whole requests are answered, the rest is told so at once, not at its deadline."""
    to = wires(process("--journal", "memory", "--head-timeout-s", "3600", "--body-timeout-s", "3600"))
    body = toys.picture(1, 1)
    infer = b"POST /v1/functions/quadrants/infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nX: 1\r\n"
    for first in (GET, infer + b"Content-Length: %d\r\n\r\n" % len(body) + body, b""):
        wire = to.open(first + begun)
        wire.shutdown(socket.SHUT_WR)
        got = read_to_end(wire)
        assert statuses(got) == [200] * bool(first) + [400]
        assert is_problem(got[got.rindex(b"HTTP/1.1 ") :], 400)


def test_what_a_gone_client_asked_is_not_computed(process, wires) -> None:
    """Inputs that wait for the model are dropped once nobody waits for them, by a reset or a plain close."""
    server = process("--journal", "memory", "--inference-workers", "1", "--batch-max", "1")
    to = wires(server)
    rng = np.random.default_rng(0)
    for i in range(60):
        body = _npy(rng.normal(size=(512, 2)).astype("<f4"))
        wire = to.open(
            b"POST /v1/functions/heavy/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-npy\r\n"
            b"Cache-Control: no-store\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        if i % 2:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.close()
    deadline = time.monotonic() + PATIENCE_S
    before, computed = -1, 0
    while before != computed:  # until it has come to rest
        assert time.monotonic() < deadline
        before, computed = computed, _computed(server.url)
        time.sleep(0.3)
    assert computed < 55


def _npy(array: np.ndarray) -> bytes:
    import io

    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _computed(url: str) -> int:
    return int(httpx.get(f"{url}/v1/stats", timeout=20).json()["functions"]["heavy@1"]["inferences"])


INNER = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"x"])
@pytest.mark.parametrize("split", [True, False])
def test_a_body_behind_an_offered_upgrade_is_a_body(strict, wires, upgrade: bytes, split: bool) -> None:
    """The offer is ignored; the body is never read as the next request."""
    head = (
        LOOKUP + b"Connection: close, Upgrade\r\nUpgrade: " + upgrade + b"\r\nContent-Length: %d\r\n\r\n" % len(INNER)
    )
    wire = wires(strict).open(head if split else head + INNER)
    if split:
        wire.sendall(INNER)
    assert statuses(read_to_end(wire)) == [422]  # as a key it holds too large numbers


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(LOOKUP + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", id="length and chunks"),
        pytest.param(LOOKUP + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", id="chunks and length"),
        pytest.param(LOOKUP + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n", id="two lengths"),
        pytest.param(LOOKUP + b"Content-Length: 5, 0\r\n\r\n", id="a list of lengths"),
        pytest.param(LOOKUP + b"Content-Length: +5\r\n\r\n", id="signed length"),
        pytest.param(LOOKUP + b"Content-Length : 5\r\n\r\n", id="blank before colon"),
        pytest.param(LOOKUP + b"X: a\r\n Content-Length: 5\r\n\r\n", id="folded line"),
        pytest.param(LOOKUP + b"X: a\nContent-Length: 5\r\n\r\n", id="lone line feed"),
        pytest.param(LOOKUP + b"Transfer-Encoding: xchunked\r\n\r\n", id="unknown coding"),
        pytest.param(LOOKUP + b"Transfer-Encoding: gzip, chunked\r\n\r\n", id="two codings"),
        pytest.param(LOOKUP + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * 9000 + b"\r\n", id="long extension"),
        pytest.param(
            LOOKUP + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;%b\r\na\r\n" % (b"x" * 999) * 200, id="flood"
        ),
        pytest.param(LOOKUP + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", id="chunk longer than its size"),
        pytest.param(LOOKUP + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n", id="size not hexadecimal"),
        pytest.param(LOOKUP + b"Transfer-Encoding: chunked\r\n\r\n2\nab\r\n", id="line feed after size"),
        pytest.param(LOOKUP + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 20_000, id="trailer flood"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="tls"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="version"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="http/2"),
        pytest.param(b"GET /\r\n\r\n", id="http/0.9"),
        pytest.param(b"GET /livez HTTP/1.1\nHost: x\n\n", id="line feeds alone"),
    ],
)
def test_what_a_proxy_could_read_differently_is_refused(strict, wires, head: bytes) -> None:
    """One problem document, and nothing after it is taken for a request."""
    wire = wires(strict).open()
    with contextlib.suppress(ConnectionError):
        wire.sendall(head + INNER)
    got = read_to_end(wire)
    assert statuses(got) == [400]
    assert is_problem(got, 400)


def test_expect_is_answered_before_the_body(strict, wires) -> None:
    """A client that asks whether to send is told, by 100 or by a refusal; anything else it expects is refused."""
    to = wires(strict)
    wire = to.open(LOOKUP + b"Expect: 100-continue\r\nContent-Length: 16\r\n\r\n")
    assert read_until(wire, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
    wire.sendall(KEY)
    assert statuses(read_until(wire, b"\r\n\r\n")) == [204]
    large = to.open(LOOKUP + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
    assert statuses(read_to_end(large)) == [413]
    assert statuses(read_to_end(to.open(LOOKUP + b"Expect: cake\r\nContent-Length: 16\r\n\r\n"))) == [417]


def test_an_endless_body_in_chunks_is_refused_at_its_limit(process, wires) -> None:
    """And what still comes is not kept."""
    wire = wires(process("--journal", "memory", "--max-body-bytes", "64KiB")).open(
        LOOKUP + b"Transfer-Encoding: chunked\r\n\r\n"
    )
    with contextlib.suppress(ConnectionError):
        for _ in range(400):
            wire.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
    assert statuses(read_to_end(wire)) in ([413], [])  # a reset may overtake the answer


def test_nothing_of_this_leaves_a_traceback(functions_dir: Path, tmp_path: Path, wires) -> None:
    """Clients that misbehave are no news."""
    with ServerProcess(functions_dir, 0.95, "--journal", "memory") as server:
        to = wires(server)
        for data in (b"\x00", GET[:9], LOOKUP + b"Content-Length: 16\r\n\r\n", GET * 50):
            to.open(data).close()
        assert to.status() == 200
