"""Requests that were right and are not any more, over raw sockets: every route, media type and framing."""

from __future__ import annotations

import http.client
import random
import re
import socket
from collections import deque
from dataclasses import dataclass

from seeds import MORE, NASTY, seeds

Answer = tuple[int, http.client.HTTPMessage, bytes]
EXTENSIONS = (b"", b"", b"", b";a=b", b';q="x;y"')
TRAILERS = (b"", b"", b"", b"X-Late: 1\r\n", b"Content-Length: 5\r\n", b"Likewise-Device: late\r\n")


_LEARNED = {
    "TICKET": r'"ticket":"([^"]+)"|(?i:\nlikewise-ticket: )(\S+)',
    "LEASE": r"(?i:likewise-lease: )([A-Za-z0-9_-]{16});",
    "VERSION": r"version[\"=:]+([0-9a-f]{8}\.[0-9]+)",
    "ENTRY": r"(?i:likewise-entry: )([0-9a-f]{16})",
    "FILE": r'sha256":"([0-9a-f]{64})"',
}
"""What stands for something in a seed, and how it looks in an answer."""


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


class Mutations:
    """Makes requests from seeds. What answers gave is used again: late, twice, by others."""

    def __init__(self, rng: random.Random, picture: bytes) -> None:
        self._rng = rng
        self._seeds = seeds(picture)
        self.learned: dict[str, deque[str]] = {name: deque(maxlen=50) for name in _LEARNED}

    def learn(self, headers: http.client.HTTPMessage, body: bytes) -> None:
        """Keep tickets, leases, versions, entries and digests of an answer."""
        text = f"{headers}\n{body[:4000].decode('latin-1')}"
        for name, pattern in _LEARNED.items():
            for found in [*re.finditer(pattern, text)][:3]:
                self.learned[name].append(next(each for each in found.groups() if each))

    def _filled(self, text: str) -> str:
        for name, found in self.learned.items():
            if name in text and found:
                text = text.replace(name, self._rng.choice(found))
        return text

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
        method, path, media_type, body, more = rng.choice(self._seeds)
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
        if b"TICKET" in body:
            body = self._filled(body.decode()).encode()
        body = self.bytes(body)
        lines = [f"{method} {path} HTTP/1.{rng.random() >= 0.02:d}", "Host: localhost", *more]
        lines += [f"Content-Type: {media_type}"] if media_type else []
        if rng.random() < 0.2:
            lines += rng.choices(MORE, k=rng.randrange(1, 4))
        lines = [self._filled(line) for line in lines]
        chunked = rng.random() < 0.15
        lines.insert(rng.randrange(1, len(lines) + 1),
                     "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")  # fmt: skip
        written = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (self._chunks(body) if chunked else body)
        broken = rng.random() < 0.04 or " HTTP/1.0" in lines[0]
        if broken:
            written = self.bytes(written)
            if rng.random() < 0.3:  # another one behind it
                written += self.bytes(b"".join(self.request().pieces))
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
        if answer.headers.get_content_type() == "text/event-stream":  # which may go on for an hour
            self.close()
            return answer.status, answer.headers, b""
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
                while b"text/event-stream" not in data and (more := sock.recv(65536)):
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
