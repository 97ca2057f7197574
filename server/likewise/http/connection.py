"""One HTTP/1.1 connection, whatever is asked over it: requests one after another, each within its limits.

What a client sends while a request is answered waits, up to a bound; then nothing more is read. All deadlines are
looked at by one timer for all connections (`connections.py`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import select
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from likewise.errors import BadRequest, HeadTooLarge, LikewiseError, Overloaded, RequestTimeout, TooLarge
from likewise.http import framing
from likewise.http.connections import Connections
from likewise.http.exchange import App, Exchange
from likewise.http.limits import Limits
from likewise.http.problems import Headers, render, unexpected

AHEAD_BYTES = 65536
"""What a client may send ahead of an answer before it is not read any more."""
LINGER_S = 2.0
"""How long a client that was refused may go on sending, so that it gets to read why."""
STEPS = 64
"""Requests of one connection, sent ahead, that are answered before others get their turn."""
HANG_UP_S = 0.01
"""First pause before looking whether a client that ended its sending side is gone altogether; doubled each time."""

_BEGINNING = b"HTTP/1.1 "

log = logging.getLogger("likewise.http")


class HttpConnection(asyncio.Protocol):
    """One connection. A subclass says how requests are answered, in `begin_request` and `end_request`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_running_loop()
        self.app: App = config.loaded_app
        self.limits: Limits = getattr(config.app, "limits", None) or Limits()
        self.server_state = server_state
        self.app_state = app_state
        self.shared = Connections.of(server_state, self.limits, self.loop)
        self.access_log = config.access_log
        self.root_path = config.root_path
        self.transport: asyncio.Transport
        self.client: tuple[str, int] | None = None
        self.deadline = math.inf
        self.ready = False
        """True between two requests, while the next one is welcome and nothing of it has come."""
        self.spare = False
        """True beyond the limits on connections: to be told so, and closed."""
        self.task: asyncio.Task[Any] | None = None
        """What answers the request under way."""
        self.exchange: Exchange | None = None
        self.keep_alive = True
        self.body: framing.Body | None = None
        """The body that is being received."""
        self._input = b""
        self._at = 0  # what of it has been taken
        self._looked = 0  # bytes of a head in which its end was looked for
        self._in_head = False
        self._body_since = 0.0
        self._body_bytes = 0  # of the request under way
        self._no_content = False  # the request is a HEAD
        self._begun = 0  # bytes of the answer's beginning that are sent already
        self._advancing = False
        self.leaving = False
        """True once the client sends no more, or the server stops: the last answer says so and closes."""
        self._ended = False
        self._stops = False
        self._closing = False
        self._read_paused = False
        self._write_paused = False
        self._unsent = 0
        self._drained: list[asyncio.Future[None]] = []
        self._defaults: list[tuple[bytes, bytes]] = []
        self._defaults_written = b""

    # ── how a request is answered ──────────────────────────────────────────────────────────────────────────

    def begin_request(self, data: bytes, at: int, end: int) -> framing.Body:
        """Take the head in data[at:end] and return the body to be received. Raises LikewiseError."""
        raise NotImplementedError

    def take_piece(self, piece: bytes) -> None:
        """Take a piece of the body."""
        raise NotImplementedError

    def end_request(self) -> None:
        """Answer, now that the request is whole: with `respond`, at once or from a task."""
        raise NotImplementedError

    # ── the transport ──────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place among the connections."""
        self.transport = transport
        self.client = get_remote_addr(transport)
        self.server = get_local_addr(transport)
        self.server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn only asks them to shut down
        self.spare = not self.shared.add(self, self._address)
        self.deadline = self.loop.time() + self.limits.head_timeout_s
        self.settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up whatever was under way: nobody waits for it any more."""
        log.debug("connection of %s lost: %s", self.client, exc or "closed")
        self._closing = True
        self.ready = False
        self.server_state.connections.discard(self)
        self.shared.remove(self, self._address)
        self._give_up()
        self._wake()

    def eof_received(self) -> bool:
        """Answer the requests that are whole, though the client sends no more; True keeps its other direction open."""
        self._ended = self.leaving = True
        self.ready = False
        if self._closing:
            return False
        if self.exchange is not None and self.body is not None:
            self.exchange.lose()
            self.body = None
            self.deadline = math.inf
        elif self.body is not None or self._in_head:
            self.refuse(BadRequest("The connection ended before the request did."))
        elif self.task is not None:
            self._watch(HANG_UP_S)
        else:
            self._advance()
        return not self.transport.is_closing()

    def pause_writing(self) -> None:
        """Take no further request before the client has read its answers."""
        self._write_paused = True
        self.ready = False
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline = self.loop.time() + self.limits.write_timeout_s

    def resume_writing(self) -> None:
        """Go on."""
        self._write_paused = False
        self._wake()
        if not self._closing:
            self.deadline = math.inf if self.task is not None else self.shared.idle_until
            self._advance()

    def shutdown(self) -> None:
        """Close after the request under way, or at once where there is none."""
        self._stops = self.leaving = True
        if self._closing:
            self.abort()
        elif self.task is None and self.body is None:
            self._close()

    def abort(self) -> None:
        """End at once."""
        self._closing = True
        self.ready = False
        self._give_up()
        self.transport.abort()

    # ── what comes in ──────────────────────────────────────────────────────────────────────────────────────

    def receive(self, data: bytes) -> None:
        """Take bytes that are no whole request of the simplest kind."""
        self.ready = False
        if self._closing:
            return
        self._input = self._input[self._at :] + data if self._at < len(self._input) else data
        self._at = 0
        if not self._blocked:
            self._advance()
        elif len(self._input) > AHEAD_BYTES and not (self._read_paused or self._ended):
            self._read_paused = True
            self.transport.pause_reading()

    @property
    def _blocked(self) -> bool:
        """True while the next request has to wait: for an answer, for its reader."""
        return self._write_paused or self._closing or (self.task is not None and self.body is None)

    def _advance(self) -> None:
        """Take from the input what can be taken; others come in between where a client sends many requests at once."""
        if self._advancing:
            return
        self._advancing = True
        steps = 0
        try:
            while not self._blocked and self._at < len(self._input):
                if not (self._take_body(self.body) if self.body is not None else self._take_head()):
                    break
                steps += 1
                if steps == STEPS:
                    self.loop.call_soon(self._advance)
                    return
        except LikewiseError as error:
            self.refuse(error)
        except Exception as error:  # nothing a client sends may end the server
            self.refuse(unexpected(error))
        finally:
            self._advancing = False
        if not self._blocked:
            self.settle()

    def settle(self) -> None:
        """See whether the next request is welcome, once nothing is left to take."""
        if self._read_paused and not self._ended:
            self._read_paused = False
            self.transport.resume_reading()
        if self.body is None and not self._in_head and not self._closing:
            if self.leaving:
                self._close()
            else:
                self._input, self._at = b"", 0
                self.ready = not self.spare

    def _take_head(self) -> bool:
        data, at = self._input, self._at
        if data.startswith(b"\r\n", at):  # may stand before a request
            data, at = data[at:].lstrip(b"\r\n"), 0
            self._input, self._at = data, 0
        looked = at + max(0, self._looked - 3)
        end = data.find(b"\r\n\r\n", looked) + 4
        size = (end if end > 3 else len(data)) - at
        if size > self.limits.head_bytes:
            raise HeadTooLarge(f"The head of the request has over {self.limits.head_bytes} bytes; send less.")
        if end == 3:
            if not self._in_head:
                self._in_head = True
                self.deadline = self.loop.time() + self.limits.head_timeout_s
            if size:
                framing.check_beginning(data, at, looked)
            self._looked = size
            return False
        self._looked = 0
        self._in_head = False
        self._at = end
        self.keep_alive = True
        body = self.begin_request(data, at, end)
        if body.done:
            self.end_request()
            return True
        self.body = body
        self._body_since = self.loop.time()
        self.deadline = self._body_since + self.limits.body_timeout_s
        return True

    def _take_body(self, body: framing.Body) -> bool:
        piece, self._at = body.feed(self._input, self._at)
        if piece:
            self._body_bytes += len(piece)
            if self._body_bytes > self.limits.body_bytes:
                raise TooLarge(f"The body has over {self.limits.body_bytes} bytes, the limit of all routes; send less.")
            if not self.shared.hold(self, len(piece)):
                raise Overloaded("The bodies that arrive at once hold all memory set aside for them; try again.", 1.0)
            self.take_piece(piece)
        if body.done:
            self.body = None
            self.shared.received(self)
            self.deadline = math.inf
            self.end_request()
        return True

    def hand_over(self, request: framing.Request) -> None:
        """Let the application answer a request whose head was read."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version,
            "server": self.server,
            "client": self.client,
            "scheme": "http",
            "root_path": self.root_path,
            "headers": request.headers,
            "state": self.app_state.copy(),
            "method": request.method,
            "path": self.root_path + request.path,
            "raw_path": self.root_path.encode() + request.raw_path,
            "query_string": request.query,
        }
        self._no_content = request.method == "HEAD"
        self.keep_alive = request.keep_alive and not self.spare
        self.exchange = Exchange(self, scope, request.expects, self.access_log)
        self.start(self.loop.create_task(self.exchange.run(self.app)))

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

    # ── what goes out ──────────────────────────────────────────────────────────────────────────────────────

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
        last = self._stops or (self._ended and self._at >= len(self._input))
        self.keep_alive = self.keep_alive and self.body is None and not last
        lines = b"".join([b"%b: %b\r\n" % each for each in headers])
        if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
            raise ValueError("a header of the answer has a line break in it")
        if not self.keep_alive:
            lines += b"connection: close\r\n"
        begun, self._begun = self._begun, 0
        return (b"%b%b%b\r\n" % (STATUS_LINE[status], self.fixed(), lines))[begun:]

    def write_answer(self, data: bytes) -> None:
        """Send a whole answer to a request after which the next one is welcome."""
        self.deadline = self.shared.idle_until
        self.transport.write(data)
        self.server_state.total_requests += 1
        if self._body_bytes:
            self._release()

    def write(self, data: bytes) -> None:
        """Send a piece of a body."""
        if not self._closing:
            self.transport.write(data)

    def end(self) -> None:
        """Go on to the next request after an answer, or close."""
        if self._closing:
            return
        self.server_state.total_requests += 1
        self.task = self.exchange = None
        self._no_content = False
        self._release()
        if not self.keep_alive:
            self._linger()
            return
        if not self._write_paused:
            self.deadline = self.shared.idle_until
        self._advance()

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

    # ── the end ────────────────────────────────────────────────────────────────────────────────────────────

    def refuse(self, error: LikewiseError) -> None:
        """Answer with a problem document and close: where the next request would begin is not known."""
        if self._closing:
            return
        if self.exchange is not None and self.exchange.started:
            self.abort()
            return
        self._give_up()
        self.keep_alive = False
        self.respond(*render(error))

    def make_room(self) -> None:
        """Give up the body that is being received, for others."""
        self.refuse(Overloaded("The bodies that arrive at once take more memory than is set aside; try again.", 1.0))

    def expire(self, now: float) -> None:
        """Do what has to be done once the deadline is over."""
        limits = self.limits
        if self._write_paused or self._closing:
            unsent = self.transport.get_write_buffer_size()
            if not unsent or self._unsent - unsent < limits.min_rate * limits.write_timeout_s:
                self.abort()
            else:  # it is slow, but it reads
                self._unsent, self.deadline = unsent, now + limits.write_timeout_s
        elif self.body is not None:
            due = self._body_since + limits.body_timeout_s + self._body_bytes / limits.min_rate
            if due > now:
                self.deadline = due
            else:
                self.refuse(RequestTimeout(f"Only {self._body_bytes} bytes of the body came in time; send it faster."))
        elif self._in_head:
            self.refuse(RequestTimeout(f"The head was not whole within {limits.head_timeout_s:g} s; send it at once."))
        else:
            self._close()

    def _close(self) -> None:
        """Close once what was answered is sent."""
        self._closing = True
        self.ready = False
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline = self.loop.time() + self.limits.write_timeout_s
        self.transport.close()

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

    def _give_up(self) -> None:
        if self.exchange is not None:
            self.exchange.lose()
        if self.task is not None:
            self.task.cancel()
        self.task = self.exchange = None
        self._input, self._at = b"", 0
        self._release()

    def _release(self) -> None:
        if self._body_bytes:
            self.shared.release(self, self._body_bytes)
            self._body_bytes = 0

    def _watch(self, pause_s: float) -> None:
        """Find out whether a client that sends no more is gone altogether: only what is sent to it can tell.

        All answers begin alike, so the beginning is sent ahead. A client that still reads misses nothing.
        """
        task = self.task
        if self.exchange is None or not self.exchange.started:
            self.transport.write(_BEGINNING[self._begun :])
            self._begun = len(_BEGINNING)

        def look(pause_s: float) -> None:
            if self.task is not task or self._closing:
                return
            if _is_reset(self.transport):
                self.abort()
            else:
                self.loop.call_later(min(1.0, 2 * pause_s), look, min(1.0, 2 * pause_s))

        self.loop.call_later(pause_s, look, pause_s)

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""


def _is_reset(transport: asyncio.BaseTransport) -> bool:
    """Say whether the other side has answered that it knows of no such connection."""
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return bool(poll.poll(0))
