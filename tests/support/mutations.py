"""Requests that were right and are not any more, over raw sockets: every route, media type and framing."""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import re
import socket
import struct
from collections import deque
from dataclasses import dataclass

import numpy as np

FUNCTIONS = "/v1/functions"
Seed = tuple[str, str, str, bytes]
"""Method, path, media type, body."""
Answer = tuple[int, http.client.HTTPMessage, bytes]
NASTY = (b"[" * 300, b"{" * 300, b'"', b"\\", b"\0", b"\x80\xff", b"NaN", b"1e999", b"1e-320", b"9" * 400, b"\r\n\r\n",
         b"%00", b"a.b." * 300 + b"c=1\n", b"null", b"-0", b"\xef\xbb\xbf", b"(3\x0c4,)", b'\\ud800', b"--b\r\n",
         b'"key":[0,0,0,0],', b"true", b"[[]]", b"\xf0\x9f\x9a\xa6", b"../", b"\r\n0\r\n\r\n")  # fmt: skip
MORE = (
    "Cache-Control: no-store",
    "Cache-Control: only-if-cached",
    "Cache-Control: no-cache, max-age=0",
    'Cache-Control: max-age=9, foo="a,b"',
    "Cache-Control: min-fresh=99999999999999999999",
    "Likewise-Device: d",
    "Likewise-Device: \xe9\xff",
    "Likewise-Device: " + "d" * 3000,
    "Likewise-Ticket: x",
    "Likewise-Entry: 0000000000000001",
    "Origin: null",
    "Authorization: Bearer no",
    "Authorization: Basic bm86bm8=",
    "Content-Encoding: gzip",
    "Content-Encoding: identity",
    "Content-Encoding: ",
    "Expect: 100-continue",
    "Expect: 200-maybe",
    "TE: trailers",
    "Trailer: X-Late",
    "Range: bytes=0-1",
    "If-None-Match: *",
    "Accept: text/html;q=0.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "X-Forwarded-For: 1.2.3.4",
    "X-A: " + "a" * 9000,
)
EXTENSIONS = (b"", b"", b"", b";a=b", b';q="x;y"')
TRAILERS = (b"", b"", b"", b"X-Late: 1\r\n", b"Content-Length: 5\r\n", b"Likewise-Device: late\r\n")


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, in which pieces."""

    pieces: tuple[bytes, ...]
    broken: bool
    """True: its framing may be wrong as well, so that it is sent by itself, and answered or not."""

    @property
    def method(self) -> str:
        """The method, as far as there is one."""
        return b"".join(self.pieces).split(b" ", 1)[0].decode("latin-1")


def seeds(picture: bytes) -> list[Seed]:
    """Return right requests to begin from."""
    array = io.BytesIO()
    np.save(array, np.ones((512, 2), np.float32))
    sound = b"RIFF" + struct.pack("<I", 44) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    key = np.ones(4, "<f4").tobytes()
    entry = {"key": [1, 2, 3, 4], "result": {"label": "a", "x": [1, [2, {"b": None}]]}, "tags": ["t"], "cost_s": 0.5}
    raw = {"keys": {"v": base64.b64encode(key).decode()}, "result_base64": "e30=", "media_type": "application/json"}
    bare = {"key": base64.b64encode(key).decode(), "result": {"label": "b"}, "ttl_s": 60, "ticket": "TICKET"}
    spec = b'[input]\nkind = "array"\n[[keys]]\nname = "v"\nextractor = "vector"\ndimension = 4\nmetric = "l2"\n'
    table = {"input": {"kind": "array"}, "keys": [{"extractor": "vector", "dimension": 4}]}
    return [
        ("POST", f"{FUNCTIONS}/quadrants/infer", "image/png", picture),
        ("POST", f"{FUNCTIONS}/quadrants/infer", "image/x-portable-graymap", b"P5 8 8 255\n" + bytes(64)),
        ("POST", f"{FUNCTIONS}/quadrants/lookup", "image/jpeg", b"\xff\xd8\xff\xe0" + bytes(40)),
        ("POST", f"{FUNCTIONS}/quadrants/infer", "image/webp", b"RIFF\x24\0\0\0WEBPVP8L" + bytes(24)),
        ("POST", f"{FUNCTIONS}/quadrants/infer", "image/bmp", b"BM" + bytes(60)),
        ("POST", f"{FUNCTIONS}/heavy/lookup", "application/x-npy", array.getvalue()),
        ("POST", f"{FUNCTIONS}/devices/infer", "audio/wav", sound + b"data" + struct.pack("<I", 8) + bytes(8)),
        ("POST", f"{FUNCTIONS}/fragile/infer", "application/json", b"[2]"),
        ("POST", f"{FUNCTIONS}/devices/lookup?key_type=v", "application/octet-stream", key),
        ("POST", f"{FUNCTIONS}/devices@1/lookup", "application/octet-stream", key * 40),
        ("POST", f"{FUNCTIONS}/careful/lookup", "application/octet-stream", key),
        ("POST", f"{FUNCTIONS}/devices/lookup", "application/json", b'{"key":[1,2,3,4.5]}'),
        ("POST", f"{FUNCTIONS}/devices/lookup", "application/json", json.dumps({"keys": [[1.5] * 4] * 900}).encode()),
        ("POST", f"{FUNCTIONS}/devices/entries", "application/json", json.dumps(entry).encode()),
        ("POST", f"{FUNCTIONS}/careful/entries", "application/json", json.dumps(bare).encode()),
        ("POST", f"{FUNCTIONS}/careful/entries?durable=true", "application/json",
         json.dumps({"entries": [bare, entry, bare]}).encode()),
        ("POST", f"{FUNCTIONS}/devices/entries", "application/json", json.dumps({"entries": [raw] * 200}).encode()),
        ("PUT", f"{FUNCTIONS}/fuzzed", "application/toml", spec),
        ("PUT", f"{FUNCTIONS}/fuzzed", "application/json", json.dumps(table).encode()),
        ("PUT", f"{FUNCTIONS}/fuzzed", "multipart/form-data; boundary=b", form(("spec", "f", spec))),
        ("PUT", f"{FUNCTIONS}/fuzzed?version=2", 'multipart/form-data; boundary="b"',
         form(("spec", "function.toml", spec), ("m.onnx", "m.onnx", b"\x08\x09" + bytes(9)), ("x", "../y", b""))),
        ("DELETE", f"{FUNCTIONS}/fuzzed@1", "", b""),
        ("DELETE", f"{FUNCTIONS}/devices/entries?id=0000000000000001", "", b""),
        ("DELETE", f"{FUNCTIONS}/careful/entries?tag=t", "", b""),
        ("GET", f"{FUNCTIONS}/devices/entries?limit=10&after=0000000000000001", "", b""),
        ("GET", f"{FUNCTIONS}/devices", "", b""),
        ("GET", "/v1/stats", "", b""),
        ("GET", "/metrics", "", b""),
        ("GET", "/readyz", "", b""),
        ("GET", "/openapi.json", "", b""),
    ]  # fmt: skip


def form(*parts: tuple[str, str, bytes]) -> bytes:
    """Return a multipart form of boundary b. parts: field, file name, content."""
    disposition = '--b\r\nContent-Disposition: form-data; name="{}"; filename="{}"\r\n\r\n'
    return b"".join(disposition.format(*part[:2]).encode() + part[2] + b"\r\n" for part in parts) + b"--b--\r\n"


class Mutations:
    """Makes requests from seeds. Tickets that answers gave are used again: late, twice, by others."""

    def __init__(self, rng: random.Random, picture: bytes) -> None:
        self._rng = rng
        self._seeds = seeds(picture)
        self.tickets: deque[bytes] = deque(maxlen=50)

    def learn(self, headers: http.client.HTTPMessage, body: bytes) -> None:
        """Keep the tickets of an answer."""
        found = [value.encode() for value in [headers["Likewise-Ticket"]] if value]
        self.tickets += found + re.findall(rb'"ticket":"([^"]+)"', body)[:3]

    def bytes(self, body: bytes) -> bytes:
        """Flip, cut, repeat or put in something nasty, up to four times."""
        rng = self._rng
        changed = bytearray(body)
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(changed) + 1)
            kind = rng.randrange(4)
            if kind == 0 and changed:
                changed[at % len(changed)] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del changed[at : at + rng.choice((1, 4, 1000))]
            elif kind == 2:
                changed[at:at] = rng.choice(NASTY)
            else:
                changed[at:at] = changed[at : at + rng.randrange(1, 64)]
        return bytes(changed)

    def request(self) -> Request:
        """Return the next request."""
        rng = self._rng
        method, path, media_type, body = rng.choice(self._seeds)
        other = rng.choice(self._seeds)
        if rng.random() < 0.1:
            method = rng.choice((other[0], "PATCH", "HEAD", "OPTIONS", "TRACE"))
        if rng.random() < 0.1:
            path = other[1]
        if rng.random() < 0.1:
            path = self.bytes(path.encode()).translate(None, b" \r\n\0#?").decode("ascii", "ignore") or "/"
            path = "/" + path.lstrip("/")
        if rng.random() < 0.1:
            media_type = rng.choice((other[2], "text/html", "application/JSON; charset=\xe9", ""))
        if self.tickets:
            body = body.replace(b"TICKET", rng.choice(self.tickets))
        body = self.bytes(body)
        lines = [f"{method} {path} HTTP/1.{rng.random() >= 0.02:d}", "Host: localhost"]
        lines += [f"Content-Type: {media_type}"] if media_type else []
        if rng.random() < 0.2:
            lines += rng.choices(MORE, k=rng.randrange(1, 4))
        chunked = rng.random() < 0.15
        lines.insert(rng.randrange(1, len(lines) + 1),
                     "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")  # fmt: skip
        written = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (self._chunks(body) if chunked else body)
        broken = rng.random() < 0.04 or " HTTP/1.0" in lines[0]
        if broken and written[-9:]:
            written = self.bytes(written)
        return Request(self._pieces(written), broken)

    def _chunks(self, body: bytes) -> bytes:
        rng, written = self._rng, b""
        while body:
            size = rng.randrange(1, len(body) + 1)
            written += b"%x%b\r\n%b\r\n" % (size, rng.choice(EXTENSIONS), body[:size])
            body = body[size:]
        return written + b"0\r\n" + rng.choice(TRAILERS) + b"\r\n"

    def _pieces(self, data: bytes) -> tuple[bytes, ...]:
        if self._rng.random() < 0.8 or len(data) < 2:
            return (data,)
        at = self._rng.randrange(1, len(data))
        return data[:at], data[at:]


class Wire:
    """One connection after another, as the server closes them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None

    def ask(self, request: Request) -> list[Answer]:
        """Return the answer; several, or none, where the framing of the request is broken."""
        if request.broken:
            return self._alone(request)
        try:
            return [self._once(request)]
        except (ConnectionError, http.client.RemoteDisconnected):  # a kept connection that the server closed
            self.close()
            return [self._once(request)]

    def _once(self, request: Request) -> Answer:
        if self._sock is None:
            self._sock = self._connect()
        for piece in request.pieces:
            self._sock.sendall(piece)
        answer = http.client.HTTPResponse(self._sock, method=request.method)
        answer.begin()
        body = answer.read()
        if answer.will_close:
            self.close()
        return answer.status, answer.headers, body

    def _alone(self, request: Request) -> list[Answer]:
        data = b""
        with self._connect() as sock:
            try:
                for piece in request.pieces:
                    sock.sendall(piece)
                sock.shutdown(socket.SHUT_WR)
                while more := sock.recv(65536):
                    data += more
            except ConnectionError:  # refused while it still sent
                pass
        statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", data)
        return [(int(each), http.client.HTTPMessage(), data) for each in statuses if each != b"100"]

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), 60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def close(self) -> None:
        """Close the connection that is kept."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
