"""One request handed to an ASGI application, and its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from likewise.http.framing import Request
from likewise.http.problems import Headers, render, unexpected

access = logging.getLogger("uvicorn.access")

CAME = "likewise.came"
"""What a scope has beside what ASGI says: when the request came."""

Message = MutableMapping[str, Any]
App = Callable[[Any, Callable[[], Awaitable[Message]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class Output(Protocol):
    """Where the answer goes."""

    def respond(self, status: int, content: bytes, headers: Headers) -> None:
        """Send a whole answer."""

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head of an answer whose body comes in pieces."""

    def write(self, data: bytes) -> None:
        """Send a piece of it."""

    def end(self) -> None:
        """End it."""

    def proceed(self) -> None:
        """Send `100 Continue`."""

    def abort(self) -> None:
        """End the connection at once."""

    async def drained(self) -> None:
        """Return once the client has read enough to be sent more."""


def scope_of(
    request: Request,
    client: tuple[str, int] | None,
    server: tuple[str, int | None] | None,
    root_path: str,
    state: dict[str, Any],
    came: float,
) -> dict[str, Any]:
    """Return what an ASGI application is told of a request. Source: ASGI specification 3.0, HTTP connection scope.

    came: when its first byte was read, by perf_counter.
    """
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.http_version,
        "server": server,
        "client": client,
        "scheme": "http",
        "root_path": root_path,
        "headers": request.headers,
        "state": state.copy(),
        "method": request.method,
        "path": root_path + request.path,
        "raw_path": root_path.encode() + request.raw_path,
        "query_string": request.query,
        CAME: came,
    }


class Exchange:
    """One request and its answer, between a connection and an application."""

    def __init__(self, output: Output, scope: dict[str, Any], expects: bool, log_access: bool) -> None:
        self._output = output
        self._log_access = log_access
        self._scope = scope
        self._expects = expects
        self._pieces: list[bytes] = []
        self._news = asyncio.Event()
        self._whole = False
        self._told_whole = False
        self._gone = False
        self._status = 0
        self._headers: Headers = []
        self._in_pieces = False
        self._chunked = False
        self.answered = False
        """True once the answer is complete."""

    @property
    def started(self) -> bool:
        """True once part of the answer is sent."""
        return self._in_pieces or self.answered

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(piece)
        self._news.set()

    def finish(self) -> None:
        """Take note that the body is whole."""
        self._whole = True
        self._news.set()

    def lose(self) -> None:
        """Take note that the client is gone, or has ended before its body did."""
        self._gone = True
        self._news.set()

    async def run(self, app: App) -> None:
        """Let the application answer. Raises nothing but CancelledError."""
        try:
            await app(self._scope, self.receive, self.send)
            if not self.answered and not self._gone:
                raise RuntimeError("the application ended without an answer")
        except Exception as error:  # nothing a client sends may end the server
            problem = unexpected(error)
            if not self.started:
                self.answered = True
                self._output.respond(*render(problem))
            elif not self.answered:
                self._output.abort()

    async def receive(self) -> Message:
        """Return the next piece of the body, or that the client is gone."""
        if self._expects and not self._pieces and not self._whole:
            self._output.proceed()
        self._expects = False
        while not (self._pieces or self._gone or self.answered or (self._whole and not self._told_whole)):
            self._news.clear()
            await self._news.wait()
        if not self._told_whole and (self._pieces or self._whole):
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._told_whole = self._whole
            return {"type": "http.request", "body": body, "more_body": not self._whole}
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a part of the answer; whole ones are sent at once."""
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message.get("headers", ()))
            if self._log_access:
                client, method, path = self._scope["client"], self._scope["method"], self._scope["raw_path"].decode()
                access.info('%s "%s %s" %d', client[0] if client else "-", method, path, self._status)
        elif message["type"] == "http.response.body" and self.answered and self._scope["method"] == "HEAD":
            return  # the head was the answer
        elif message["type"] == "http.response.body" and self._status and not self.answered:
            body, more = bytes(message.get("body", b"")), message.get("more_body", False)
            if not more and not self._in_pieces:
                self.answered = True
                self._news.set()
                self._output.respond(self._status, body, self._headers)
            else:
                await self._send_piece(body, more)
        else:
            raise RuntimeError(f"unexpected ASGI message {message['type']}")

    async def _send_piece(self, body: bytes, more: bool) -> None:
        if not self._in_pieces:
            self._in_pieces = True
            sized = any(name.lower() == b"content-length" for name, _ in self._headers)
            self._chunked = not sized and self._scope["http_version"] == "1.1"
            if self._chunked:
                self._headers.append((b"transfer-encoding", b"chunked"))
            self._output.begin(self._status, self._headers)
        if self._scope["method"] == "HEAD":
            more = False  # nothing of the body is for the client, and it may never end
        elif body:
            self._output.write(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)
        if more:
            await self._output.drained()
            return
        if self._chunked and self._scope["method"] != "HEAD":
            self._output.write(b"0\r\n\r\n")
        self.answered = True
        self._news.set()
        self._output.end()
