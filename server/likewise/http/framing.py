"""Where a request begins and ends: its head, read strictly, and the framing of its body. Source: RFC 9112.

Whatever a proxy in front might read differently is refused, never guessed: a length beside chunks, two lengths, folded
lines, line feeds alone. A head is parsed by itself, so that nothing in it, an upgrade least of all, changes where
the body ends.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from urllib.parse import unquote

import httptools

from likewise.errors import BadRequest, ExpectationFailed

OVERHEAD_BYTES = 65_536
"""Bytes that chunks may spend on lengths, extensions and trailers, beside one for each byte of body."""
LINE_BYTES = 4096
"""Longest line between chunks."""

_LONE_LF = re.compile(rb"(?<!\r)\n")
_SLASH = re.compile("%2f", re.IGNORECASE)
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,64}\]|[A-Za-z0-9._~%!$&'()*+,;=-]{0,255})(?::[0-9]{0,5})?")
_START = re.compile(rb"[A-Z][A-Z-]{0,31}(?: |\Z)")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?\r\n")
_TIMEOUT = re.compile(rb"\r\nrequest-timeout:[ \t]*([0-9]{1,9}(?:\.[0-9]{1,9})?)[ \t]*\r\n", re.IGNORECASE)
_TRAILER = re.compile(rb"[!#-'*+.0-9A-Z^-z|~-]+:[^\r\n\0]*\r\n")


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request."""

    method: str
    raw_path: bytes
    query: bytes
    http_version: str
    headers: list[tuple[bytes, bytes]]
    """Names in lower case, in the order of the wire."""
    length: int
    """Bytes of the body; -1: it comes in chunks."""
    keep_alive: bool
    expects: bool
    """True where the client waits for `100 Continue` before it sends the body."""

    @property
    def path(self) -> str:
        """The path, percent-decoded; an encoded slash stays as it is, for it parts nothing."""
        return unquote(_SLASH.sub("%252F", self.raw_path.decode("ascii")))


class _Reader:
    """Takes what the parser finds."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.whole = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.whole = True


def read_head(data: bytes) -> Request:
    """Return the head in bytes that end with its empty line. Raises BadRequest, ExpectationFailed."""
    reader = _Reader()
    parser = httptools.HttpRequestParser(reader)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # offered, never taken: the request is answered as if nothing had been said
    except httptools.HttpParserError as error:
        raise BadRequest(f"This is not HTTP/1.1: {error}.") from None
    version = parser.get_http_version()
    if not reader.whole or version not in ("1.0", "1.1"):
        raise BadRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    try:
        url = httptools.parse_url(reader.url)
        raw_path = url.path or b"/"
        raw_path.decode("ascii")
    except (httptools.HttpParserError, UnicodeDecodeError):
        raise BadRequest("The request's target is no path; send one such as /v1/functions.") from None
    if url.schema:  # it counts, whatever Host says; source: RFC 9112, section 3.2.2
        named = reader.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        reader.headers = [(name, named if name == b"host" else value) for name, value in reader.headers]
    connection: list[bytes] = []
    length, hosts, expects = 0, 0, False
    for name, value in reader.headers:
        if name == b"content-length":  # the parser has seen to it that there is one, of digits
            length = int(value)
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked" or version == "1.0":
                raise BadRequest("Transfer-Encoding can only be `chunked` here, in HTTP/1.1; or send a Content-Length.")
            length = -1
        elif name == b"connection":
            connection += [token.strip() for token in value.lower().split(b",")]
        elif name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value):
                raise BadRequest("The request's host is none; send `Host: NAME`, or `Host: NAME:PORT`.")
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise ExpectationFailed("Nothing can be expected here but `100-continue`; leave Expect out.")
            expects = version == "1.1"
    if hosts > 1:
        raise BadRequest("The request names two hosts; send one Host line.")
    if not hosts and version == "1.1":
        raise BadRequest("The request names no host; send a Host line, as HTTP/1.1 wants it.")
    keep_alive = version == "1.1" and b"close" not in connection
    method = parser.get_method().decode("ascii")
    return Request(method, raw_path, url.query or b"", version, reader.headers, length, keep_alive, expects)


def check_beginning(data: bytes, at: int, looked: int) -> None:
    """Raise BadRequest for a head in data[at:] that no further byte can save; up to `looked` its lines are fine."""
    if not _START.match(data[at : at + 40]):
        raise BadRequest("This does not begin as an HTTP/1.1 request does. Is it TLS? This port speaks plain HTTP.")
    if _LONE_LF.search(data, looked):
        raise BadRequest("A line of the request's head ends with LF alone; end each with CR LF.")


def timeout_s(data: bytes, at: int, end: int) -> float:
    """Return what the Request-Timeout of the head in data[at:end] says, at a glance; infinity without a proper one."""
    found = _TIMEOUT.search(data, at, end)
    return float(found[1]) if found else math.inf


class Sized:
    """A body of known length."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def done(self) -> bool:
        """True once the body is whole."""
        return not self._left

    def feed(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Return what belongs to the body in `data` from `at`, and where the rest begins."""
        piece = data[at : at + self._left] if at or self._left < len(data) else data
        self._left -= len(piece)
        return piece, at + len(piece)


class Chunked:
    """A body in chunks. Extensions and trailers are read over."""

    def __init__(self) -> None:
        self._left = 0  # bytes of the chunk that are still to come
        self._line = b""
        self._after_chunk = False
        self._in_trailer = False
        self._credit = OVERHEAD_BYTES
        self.done = False

    def feed(self, data: bytes, at: int) -> tuple[bytes, int]:
        """As `Sized.feed`. Raises BadRequest."""
        pieces: list[bytes] = []
        while at < len(data) and not self.done:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._credit += len(piece)
                continue
            end = data.find(b"\n", at, at + LINE_BYTES) + 1
            part = data[at : end or at + LINE_BYTES]
            self._line += part
            at += len(part)
            self._credit -= len(part)
            if len(self._line) >= LINE_BYTES or self._credit < 0:
                raise BadRequest("The chunks of the body are mostly framing; send larger ones, without extensions.")
            if end:
                line, self._line = self._line, b""
                self._take_line(line)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), at

    def _take_line(self, line: bytes) -> None:
        if self._after_chunk:
            if line != b"\r\n":
                raise BadRequest("A chunk of the body is longer than its size says.")
            self._after_chunk = False
        elif self._in_trailer:
            self.done = line == b"\r\n"
            if not self.done and not _TRAILER.fullmatch(line):
                raise BadRequest("What follows the last chunk of the body is no trailer field.")
        else:
            size = _SIZE.fullmatch(line)
            if size is None:
                raise BadRequest("A chunk of the body begins with no size in hexadecimal digits.")
            self._left = int(size[1], 16)
            self._after_chunk = self._left > 0
            self._in_trailer = not self._left


Body = Sized | Chunked
