"""Servers that speak bad HTTP on purpose, over real sockets: an app meets this package's errors and no others."""

from __future__ import annotations

import asyncio
import gzip
import json
import select
import socket
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from likewise_client import AsyncClient, Client, LikewiseClientError, MalformedAnswer, Retry, TimedOut, Unavailable
from likewise_client import _wire as wire

MOST = 1 << 18
"""Longest answer that the clients here take."""


class RawServer:
    """Sends the same bytes to whoever has sent something, then closes; `repeat` again and again until it goes."""

    def __init__(self) -> None:
        self.bytes = b""
        self.repeat = b""
        self.gap_s = 0.0
        """Between two repetitions."""
        self.sent = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(30)
                    data = b""
                    while b"\r\n\r\n" not in data:
                        piece = connection.recv(65536)
                        if not piece:
                            break
                        data += piece
                    connection.sendall(self.bytes)
                    while self.repeat:
                        connection.sendall(self.repeat)
                        if self.gap_s and select.select([connection], [], [], self.gap_s)[0]:
                            connection.recv(65536)
                        self.sent += len(self.repeat)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):  # so that what was sent is not lost to a reset
                        pass
                except OSError:
                    continue

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(30)


@pytest.fixture(scope="module")
def raw() -> Iterator[RawServer]:
    """One server for all, as what it sends is set for each."""
    server = RawServer()
    yield server
    server.close()


def ask(url: str) -> list[Any]:
    """Ask with either client; return what came of it, an answer or an error of this package's."""
    options: dict[str, Any] = {"retry": Retry(rounds=1), "max_answer_bytes": MOST, "timeout_s": 20.0}
    seen: list[Any] = []
    with Client(url, **options) as client:
        try:
            seen.append(client.infer("f", b"x", media_type="image/png"))
        except LikewiseClientError as error:
            seen.append(error)

    async def later() -> Any:
        async with AsyncClient(url, **options) as client:
            try:
                return await client.lookup("f", key=[1.0])
            except LikewiseClientError as error:
                return error

    return [*seen, asyncio.run(later())]


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Cache-Status: likewise; hit", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


JSON = b"Content-Type: application/json"
GZIP = b"Content-Encoding: gzip"
CHUNKED = b"Transfer-Encoding: chunked"
BOMB = gzip.compress(bytes(1 << 24))
TWICE = gzip.compress(BOMB)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(answer(BOMB, JSON, GZIP), id="a bomb"),
        pytest.param(answer(TWICE, JSON, b"Content-Encoding: gzip, gzip"), id="a bomb in a bomb"),
        pytest.param(answer(zlib.compress(bytes(1 << 24)), JSON, b"Content-Encoding: deflate"), id="a deflated bomb"),
        pytest.param(answer(BOMB[:100], JSON, GZIP), id="half a bomb"),
        pytest.param(answer(b"not gzip", JSON, GZIP), id="no gzip"),
        pytest.param(answer(b"{}", JSON, b"Content-Encoding: br, zstd, nothing"), id="unknown codings"),
        pytest.param(answer(b"FFFFFFFFFFFFFFFF\r\n" + b"x" * 99, JSON, CHUNKED), id="a chunk of exabytes"),
        pytest.param(answer(b"zz\r\nxx\r\n", JSON, CHUNKED), id="a chunk without a size"),
        pytest.param(answer(b"-1\r\nxx\r\n", JSON, CHUNKED), id="a negative chunk"),
        pytest.param(answer(b"1\r\nx", JSON, CHUNKED), id="a chunk cut off"),
        pytest.param(answer(b"1;" + b"e" * 99_999 + b"\r\nx\r\n0\r\n\r\n", JSON, CHUNKED), id="an endless extension"),
        pytest.param(answer(b"{", JSON, b"Content-Length: 99"), id="shorter than it says"),
        pytest.param(answer(b"{}", JSON, b"Content-Length: -2"), id="a negative length"),
        pytest.param(answer(b"{}", JSON, b"Content-Length: 2, 3"), id="two lengths"),
        pytest.param(answer(b"{}", JSON, b"Content-Length: " + b"9" * 5000), id="a length of digits"),
        pytest.param(answer(b"", b"X: " + b"y" * 200_000), id="a head without end"),
        pytest.param(answer(b"", *[b"X-%d: y" % i for i in range(5000)]), id="headers without end"),
        pytest.param(answer(b"", b"X\x00Y: z"), id="a name with a zero"),
        pytest.param(answer(b"", b"Age: \xff\xfe", b"Likewise-Ticket: \xf0\x9f"), id="headers beyond ASCII"),
        pytest.param(b"HTTP/1.1 999 Huge\r\n\r\n", id="a status out of range"),
        pytest.param(b"HTTP/1.1 20 Small\r\n\r\n", id="a status of two digits"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/9.9 200 OK\r\n\r\n", id="a version to come"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(b"\x16\x03\x01\x02\x00" + bytes(600), id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, id="continue without end"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 50 + answer(b"{}", JSON), id="hints"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", id="another one to go on with"),
        pytest.param(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", id="a body where there is none"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", id="elsewhere"),
    ],
)
def test_bad_http_is_an_answer_or_a_documented_error(raw: RawServer, sent: bytes) -> None:
    """Of either client."""
    raw.bytes, raw.repeat = sent, b""
    assert len(ask(raw.url)) == 2


def test_bombs_are_refused_before_they_take_the_memory(raw: RawServer) -> None:
    """A piece inflates no further than there is room; what is packed twice was not asked for."""
    big = gzip.compress(bytes(1 << 28))
    raw.bytes, raw.repeat = answer(big, JSON, GZIP), b""
    tracemalloc.start()
    try:
        for seen in ask(raw.url):
            assert isinstance(seen, MalformedAnswer), seen
            assert "max_answer_bytes" in str(seen)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    raw.bytes = answer(TWICE, JSON, b"Content-Encoding: gzip, gzip")
    assert all("not asked for" in str(seen) for seen in ask(raw.url))


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX-A: ", b"a", id="a header"),
        pytest.param(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", id="hints"),
        pytest.param(answer(b"", JSON, b"Content-Length: 99999"), b"a", id="a body"),
        pytest.param(answer(b"1;", JSON, CHUNKED), b"a", id="the extension of a chunk"),
        pytest.param(answer(b"1\r\na\r\n0\r\n", JSON, CHUNKED), b"a: b\r\n", id="trailers"),
    ],
)
def test_an_answer_that_drips_is_left_at_the_deadline(raw: RawServer, begin: bytes, piece: bytes) -> None:
    """Each piece comes well within `timeout_s`; the server goes on until the client is gone."""
    raw.bytes, raw.repeat, raw.gap_s = begin, piece, 0.02
    try:
        with Client(raw.url, retry=Retry(rounds=1), timeout_s=20.0) as client, pytest.raises(TimedOut):
            client.infer("f", b"x", media_type="image/png", deadline_s=0.3)
    finally:
        raw.repeat, raw.gap_s = b"", 0.0


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "GZIP", "raw"])
def test_compressed_answers_are_read(raw: RawServer, coding: str) -> None:
    """In both ways that deflate is sent; one that breaks off is told."""
    text = json.dumps({"label": "stop" * 1000}).encode()
    if coding in ("deflate", "raw"):
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS if coding == "raw" else zlib.MAX_WBITS)
        packed, coding = packer.compress(text) + packer.flush(), "deflate"
    else:
        packed = gzip.compress(text)
    raw.bytes, raw.repeat = answer(packed, JSON, b"Content-Encoding: " + coding.encode()), b""
    assert [seen.result["label"] for seen in ask(raw.url)] == ["stop" * 1000] * 2
    raw.bytes = answer(packed[:-4], JSON, b"Content-Encoding: " + coding.encode())
    assert all(isinstance(seen, MalformedAnswer) and "breaks off" in str(seen) for seen in ask(raw.url))


@pytest.mark.parametrize(
    ("begin", "repeat"),
    [
        pytest.param(answer(b"", JSON, CHUNKED), b"400\r\n" + b"x" * 1024 + b"\r\n", id="chunks"),
        pytest.param(answer(b"", JSON), b"x" * 1024, id="a body until the connection ends"),
        pytest.param(answer(b"", JSON, b"Content-Length: 999999999999"), b"x" * 1024, id="a length of terabytes"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100, id="headers"),
        pytest.param(b"HTTP/1.1 2", b"0" * 1024, id="a status line"),
    ],
)
def test_what_never_ends_is_left(raw: RawServer, begin: bytes, repeat: bytes) -> None:
    """After what a client takes, not after what the server has."""
    raw.bytes, raw.repeat, raw.sent = begin, repeat, 0
    try:
        for seen in ask(raw.url):
            assert isinstance(seen, (MalformedAnswer, Unavailable)), seen
    finally:
        raw.repeat = b""
    assert raw.sent < 64 << 20


def npy_header(text: bytes, version: bytes = b"\x01\x00") -> bytes:
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + size + text


VALUES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.text(max_size=4),
    st.none(),
    st.booleans(),
    st.lists(st.integers(-9, 2**63), max_size=4),
)
DTYPES = ["<f4", "|O", "<f8", "S0", "V0", ">i2", "<U99999999", "m8[ns]", "f4,f4", "(2,)f4", "", "\x00", "g", "c16"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.sampled_from(["descr", "fortran_order", "shape", "more"]), VALUES, max_size=4),
    st.sampled_from(DTYPES),
    st.lists(st.integers(-3, 2**62), max_size=40),
    st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"]),
    st.binary(max_size=64),
    st.booleans(),
)
def test_any_header_of_an_array_is_read_or_malformed(
    fields: dict[str, Any], dtype: str, shape: list[int], version: bytes, body: bytes, plausible: bool
) -> None:
    """Never unpickled, never given memory that its bytes do not fill."""
    header: dict[str, Any] = {"descr": dtype, "fortran_order": False, "shape": tuple(shape)} if plausible else fields
    data = npy_header(repr(header).encode("utf-8", "replace"), version) + body
    try:
        value = wire.decode_result(data, wire.NPY)
    except MalformedAnswer:
        return
    assert isinstance(value, np.ndarray)
    assert value.nbytes <= len(body)


STATUSES = st.sampled_from([b"200 A", b"204 B", b"201 C", b"304 D", b"400 E", b"429 F", b"500 G", b"503 H"])
TEXTS = st.binary(max_size=12).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
FIELDS = st.sampled_from(
    b"""Content-Type Content-Encoding Cache-Status Age Retry-After Likewise-Entry Transfer-Encoding Content-Length
    Likewise-Ticket Connection Location Set-Cookie""".split()
)
KNOWN = st.sampled_from(
    b"""gzip|deflate|chunked|application/json|application/x-npy|text/plain; charset=utf-16|0|5|nan|-inf|close|1e400|
    likewise; hit; ttl=99999999999999999999|likewise; fwd=miss; stored""".split(b"|")
)
NUMBERS = st.sampled_from(["1e999", "-1e999", "NaN", "Infinity", "9" * 5000, "-0", "1E-9999", "[" * 9999, '"\\ud800"'])
BODIES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(gzip.compress),
    NUMBERS.map(str.encode),
    NUMBERS.map(lambda text: b'{"type": %s, "title": %s, "answers": [%s]}' % ((text.encode(),) * 3)),
    st.binary(max_size=40).map(lambda data: b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)),
    st.dictionaries(st.sampled_from(["type", "title", "status", "detail"]), st.floats() | st.text()).map(
        lambda document: json.dumps(document).encode()
    ),
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(STATUSES, st.lists(st.tuples(FIELDS, KNOWN | TEXTS), max_size=5), BODIES)
@example(b"200 OK", [(b"Content-Type", b"text/plain; charset=utf-16")], b"\xff")
@example(b"503 Y", [(b"Retry-After", b"1e400")], b"")
def test_whatever_is_sent_is_an_answer_or_a_documented_error(
    raw: RawServer, status: bytes, fields: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """Statuses, fields and bodies, over real sockets."""
    lines = [b"HTTP/1.1 " + status, *(name + b": " + value for name, value in fields)]
    raw.bytes, raw.repeat = b"\r\n".join(lines) + b"\r\n\r\n" + body, b""
    assert len(ask(raw.url)) == 2
