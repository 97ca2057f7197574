"""One HTTP/1.1 connection: requests one after another, each within its limits; its deadlines are `connections.py`'s."""

from __future__ import annotations

import asyncio
import logging
import math
from abc import abstractmethod
from time import perf_counter
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from likewise.errors import BadRequest, HeadTooLarge, LikewiseError, Overloaded, RequestTimeout, TooLarge
from likewise.http import framing
from likewise.http.connections import share_of
from likewise.http.exchange import App, Exchange, scope_of
from likewise.http.output import OutputSide
from likewise.http.problems import render, unexpected
from likewise.http.turns import TakesTurns

AHEAD_BYTES = 65536
"""What a client may send ahead of an answer before it is not read any more."""
STEPS = 2
"""Heads and bodies of one connection, sent ahead, that are taken before others get their turn: one request."""
_ALWAYS = b"GET /livez "  # waits for nobody
_NO_ROOM = "The bodies that arrive at once take more memory than max_held_bytes sets aside; try again."

log = logging.getLogger("likewise.http")


class HttpConnection(OutputSide, TakesTurns):
    """One connection. A subclass says how requests are answered, in `begin_request` and `end_request`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, _loop)
        self.turns = self.shared.turns
        self.patience_s = self.limits.patience_s
        self.app: App = config.loaded_app
        self.app_state = app_state
        self.access_log = config.access_log
        self.root_path = config.root_path
        self.client: tuple[str, int] | None = None
        self.spare = False
        """True beyond the limits on connections: to be told so, and closed."""
        self.exchange: Exchange | None = None
        self.body: framing.Body | None = None
        """What is being received."""
        self._input = b""
        self._at = self._looked = 0  # bytes of it that were taken; of a head in which its end was looked for
        self._in_head = False
        self._body_since = 0.0
        self._body_bytes = 0  # of the request under way
        self._advancing = False
        self._whole = False  # the request under way is, and is to be answered

    # ── how a request is answered ──────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def begin_request(self, data: bytes, at: int, end: int) -> framing.Body:
        """Take the head in data[at:end] and return the body to be received. Raises LikewiseError."""

    @abstractmethod
    def take_piece(self, piece: bytes) -> None:
        """Take a piece of the body."""

    @abstractmethod
    def end_request(self) -> None:
        """Answer, now that the request is whole: with `respond`, at once or from a task."""

    # ── the transport ──────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place among the connections."""
        self.transport = transport
        self.bound_unsent()
        self.client = get_remote_addr(transport)
        self.share = share_of(self.client[0] if self.client else "")
        self.server = get_local_addr(transport)
        self.server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn only asks them to shut down
        self.spare = not self.shared.add(self, self.share)
        self.turns.came()
        self.deadline = self.loop.time() + self.limits.head_timeout_s
        self.settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up whatever was under way: nobody waits for it any more."""
        log.debug("connection of %s lost: %s", self.client, exc or "closed")
        self._closing = True
        self.ready = False
        self.server_state.connections.discard(self)
        self.shared.remove(self, self.share)
        if self.waits:
            self.turns.leave(self)
        self.give_up()
        self._wake()

    def eof_received(self) -> bool:
        """Answer the requests that are whole, though the client sends no more; True keeps its other direction open."""
        self._ended = self.leaving = True
        self.ready = False
        if self._closing:
            return False
        if self.task is not None and self.body is None:
            self._watch(self.exchange is not None and self.exchange.started)
        else:
            self._advance()
        return not self.transport.is_closing()

    def pause_writing(self) -> None:
        """Take no further request before the client has read its answers."""
        self._write_paused = True
        self.ready = False
        self._await_reader()

    def resume_writing(self) -> None:
        """Go on."""
        self._write_paused = False
        self.count_unread()
        self._wake()
        if not self._closing:
            self.deadline = math.inf if self.task is not None else self.shared.idle_until
            self._advance()

    def shutdown(self) -> None:
        """Close after the request under way, or at once where there is none."""
        self._stops = self.leaving = True
        if self._closing:
            self.abort()
        elif self.task is None and self.body is None and not self.waits:
            self._close()

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
        return self._write_paused or self.waits or self._closing or (self.task is not None and self.body is None)

    def _advance(self) -> None:
        """Take from the input what can be taken; others come in between where a client sends many requests at once."""
        if self._advancing:
            return
        self._advancing = True
        steps = 0
        try:
            if self._whole and not self.waits:
                self._whole = self.has_turn = False
                self.end_request()
            while not self._blocked and self._at < len(self._input):
                if not (self._take_body(self.body) if self.body is not None else self._take_head()):
                    break
                steps += 1
                if steps == STEPS:
                    self.loop.call_soon(self._advance)
                    return
        except Exception as error:  # nothing a client sends may end the server
            self.refuse(error if isinstance(error, LikewiseError) else unexpected(error))
        finally:
            self._advancing = self.has_turn = False
        if self._blocked:
            return
        if not (self._ended and (self.body is not None or self._in_head)):
            self.settle()
        elif self.exchange is not None:  # no more will come
            self.exchange.lose()
            self.body, self.deadline = None, math.inf
        else:
            self.refuse(BadRequest("The connection ended before the request did."))

    def take_turn(self, late: bool = False) -> None:
        """Begin what waited, or have it refused."""
        self.waits = False
        if not self._closing:
            self.has_turn, self.late = True, late
            self._advance()

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
        if not (self._in_head or self.has_turn):
            self.came, self.late, self.timeout_s = perf_counter(), False, math.inf
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
        self._in_head = False
        if not self.recognized:
            self.recognize(data[at:end])
        if not (data.startswith(_ALWAYS, at) or self.may_begin(self.is_quick(data, at))):
            self.is_of_use_for(framing.timeout_s(data, at, end))
            return False
        self._looked = 0
        self._at = end
        self.keep_alive = True
        body = self.begin_request(data, at, end)
        if body.done:
            self.has_turn = False
            self.end_request()
        else:
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
                raise Overloaded(_NO_ROOM, 1.0)
            self.take_piece(piece)
        if body.done:
            self.body = None
            self.shared.received(self)
            self.deadline = math.inf
            self._whole = not self.may_begin(self.exchange is None)
            self.has_turn = False
            if self._whole:
                self.is_of_use_for(self.timeout_s)
            else:
                self.end_request()
        return True

    def hand_over(self, request: framing.Request) -> None:
        """Let the application answer a request whose head was read."""
        self._no_content = request.method == "HEAD"
        self.keep_alive = request.keep_alive and not self.spare
        scope = scope_of(request, self.client, self.server, self.root_path, self.app_state, self.came)
        self.exchange = Exchange(self, scope, request.expects, self.access_log)
        self.start(self.loop.create_task(self.exchange.run(self.app)))

    def is_last(self) -> bool:
        """Say whether the connection closes after the answer to the request under way."""
        return self.body is not None or self._stops or (self._ended and self._at >= len(self._input))

    def write_answer(self, data: bytes) -> None:
        """Send a whole answer to a request after which the next one is welcome."""
        self.deadline = self.shared.idle_until
        self.transport.write(data)
        self.server_state.total_requests += 1
        if self._body_bytes:
            self._release()

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

    def refuse(self, error: LikewiseError) -> None:
        """Answer with a problem document and close: where the next request would begin is not known."""
        if self._closing:
            return
        if self.exchange is not None and self.exchange.started:
            self.abort()
            return
        self.give_up()
        self.keep_alive = False
        self.respond(*render(error))

    def make_room(self) -> None:
        """Give up the body that is being received, for others."""
        self.refuse(Overloaded(_NO_ROOM, 1.0))

    def expire(self, now: float) -> None:
        """Do what has to be done once the deadline is over."""
        limits = self.limits
        if self._write_paused or self._closing:
            self.check_reader(now)
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

    def give_up(self) -> None:
        """Drop the request under way."""
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
