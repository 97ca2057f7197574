"""What goes out on a connection: answers, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
import socket
from abc import ABC, abstractmethod
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from likewise.http.connections import Connections
from likewise.http.limits import Limits
from likewise.http.problems import Headers, render, unexpected

UNSENT_BYTES = 16_384
"""Bytes of answers that the kernel takes beyond what the client has room for, with 64 kB more in this process: else it
takes up to 4 MB, thousands of answers for a client that reads none (TCP_NOTSENT_LOWAT, where there is that)."""
LINGER_S = 2.0
"""How long a client that was refused may go on sending, so that it gets to read why."""
HANG_UP_S = 0.01
"""First pause before looking whether a client that ended its sending side is gone altogether; doubled each time."""

_BEGINNING = b"HTTP/1.1 "


class OutputSide(asyncio.Protocol, ABC):
    """The sending side of a connection. A subclass says what comes after an answer, in `end`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_running_loop()
        self.limits: Limits = getattr(config.app, "limits", None) or Limits()
        self.server_state = server_state
        self.shared = Connections.of(server_state, self.limits, self.loop)
        self.transport: asyncio.Transport
        self.deadline = math.inf
        """When this has to be looked at, by the loop's clock."""
        self.ready = False
        """True between two requests, while the next one is welcome and nothing of it has come."""
        self.leaving = False
        """True once the client sends no more, or the server stops: the last answer says so and closes."""
        self.keep_alive = True
        self.share = ""
        """What its address counts as."""
        self.task: asyncio.Task[Any] | None = None
        """What answers the request under way."""
        self._no_content = False  # the request is a HEAD
        self._begun = 0  # bytes of the answer's beginning that are sent already
        self._ended = False
        self._stops = False
        self._closing = False
        self._read_paused = False
        self._write_paused = False
        self._unsent = 0
        self._drained: list[asyncio.Future[None]] = []
        self._defaults: list[tuple[bytes, bytes]] = []
        self._defaults_written = b""

    @abstractmethod
    def is_last(self) -> bool:
        """Say whether the connection closes after the answer to the request under way."""

    @abstractmethod
    def end(self) -> None:
        """Go on to the next request after an answer, or close."""

    @abstractmethod
    def give_up(self) -> None:
        """Drop the request under way."""

    def bound_unsent(self) -> None:
        """Have writing pause soon where the client does not read."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):  # it is no TCP, or closed already
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def start(self, task: asyncio.Task[Any]) -> None:
        """Take note of the task that answers the request under way."""
        self.task = task
        self.deadline = math.inf
        self.server_state.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.server_state.tasks.discard(task)
        if task is self.task and not self._closing:  # cancelled, or without an answer: no more can come of it
            self.abort()

    def respond(self, status: int, content: bytes, headers: Headers) -> None:
        """Send a whole answer, and go on to the next request."""
        if self._closing:
            return
        if status not in (204, 304) and all(name != b"content-length" for name, _ in headers):
            headers = [*headers, (b"content-length", b"%d" % len(content))]
        try:
            head = self._head(status, headers)
        except ValueError as error:
            status, content, headers = render(unexpected(error))
            head = self._head(status, headers)
        self.transport.write(head if self._no_content else head + content)
        self.end()

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head of an answer."""
        if not self._closing:
            self.transport.write(self._head(status, headers))

    def _head(self, status: int, headers: Headers) -> bytes:
        """Return the head of an answer, less what is sent of it. Raises ValueError for a line break in a header."""
        self.keep_alive = self.keep_alive and not self.is_last()
        lines = b"".join([b"%b: %b\r\n" % each for each in headers])
        if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
            raise ValueError("a header of the answer has a line break in it")
        if not self.keep_alive:
            lines += b"connection: close\r\n"
        begun, self._begun = self._begun, 0
        return (b"%b%b%b\r\n" % (STATUS_LINE[status], self.fixed(), lines))[begun:]

    def check_reader(self, now: float) -> None:
        """Drop a client that did not read at `min_rate` until its deadline; give one that did another."""
        limits, unsent = self.limits, self.transport.get_write_buffer_size()
        if not unsent or self._unsent - unsent < limits.min_rate * limits.write_timeout_s:
            self.abort()
        else:  # it is slow, but it reads
            self._unsent, self.deadline = unsent, now + limits.write_timeout_s
            self.count_unread()

    def count_unread(self) -> None:
        """Have all connections know how much waits to be read on this one."""
        self.shared.unread.note(self, self.share, self.transport.get_write_buffer_size() if self._write_paused else 0)

    def write(self, data: bytes) -> None:
        """Send a piece of a body."""
        if not self._closing:
            self.transport.write(data)
            if self._write_paused:
                self.count_unread()

    def proceed(self) -> None:
        """Send `100 Continue`."""
        if not self._closing and not self._ended:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def drained(self) -> None:
        """Return once the client has read enough to be sent more."""
        while self._write_paused and not self._closing:
            self._drained.append(self.loop.create_future())
            await self._drained[-1]

    def _wake(self) -> None:
        for each in self._drained:
            if not each.done():
                each.set_result(None)
        self._drained.clear()

    def fixed(self) -> bytes:
        """Return the header lines of every answer."""
        if self.server_state.default_headers is not self._defaults:  # a new list each second, for its Date
            self._defaults = self.server_state.default_headers
            self._defaults_written = b"".join([b"%b: %b\r\n" % each for each in self._defaults])
        return self._defaults_written

    def abort(self) -> None:
        """End at once."""
        self._closing = True
        self.ready = False
        self.give_up()
        self.transport.abort()

    def _close(self) -> None:
        """Close once what was answered is sent."""
        self._closing = True
        self.ready = False
        self._await_reader()
        self.transport.close()

    def _await_reader(self) -> None:
        """Give the client time to read what was sent."""
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline = self.loop.time() + self.limits.write_timeout_s
        self.count_unread()

    def _linger(self) -> None:
        """End this direction, and read over what still comes for a moment: closed at once, the answer could be lost."""
        self._close() if self._ended else self.transport.write_eof()
        self._closing = True
        self.ready = False
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline = self.loop.time() + (self.limits.write_timeout_s if self._unsent else LINGER_S)
        if self._read_paused and not self._ended:
            self._read_paused = False
            self.transport.resume_reading()

    def _watch(self, in_pieces: bool) -> None:
        """Find out whether a client that sends no more is gone altogether: only what is sent to it can tell.

        All answers begin alike, so the beginning is sent ahead. A client that still reads misses nothing.
        in_pieces: part of the answer is sent already.
        """
        task = self.task
        if not in_pieces:
            self.transport.write(_BEGINNING)
            self._begun = len(_BEGINNING)

        def look(pause_s: float) -> None:
            if self.task is not task or self._closing:
                return
            if _is_reset(self.transport):
                self.abort()
            else:
                self.loop.call_later(min(1.0, 2 * pause_s), look, min(1.0, 2 * pause_s))

        self.loop.call_later(HANG_UP_S, look, HANG_UP_S)


def _is_reset(transport: asyncio.BaseTransport) -> bool:
    """Say whether the other side has answered that it knows of no such connection."""
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return bool(poll.poll(0))
