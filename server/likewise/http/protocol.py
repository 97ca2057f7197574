"""HTTP/1.1 connections on which hits are answered as they arrive, without a task and a parse for each.

A device sends requests whose head, all bytes up to the body, is the same every time but for the digits of its length.
The first request with a head is parsed. A head of a plain `infer` or `lookup` is remembered, and from then on a request
with exactly these bytes is answered at once, or once the model has: equal bytes have an equal parse. All other requests
are handed to the ASGI application.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from likewise.errors import DeadlineExceeded, LikewiseError, Overloaded
from likewise.http import framing, wire
from likewise.http.connection import HttpConnection
from likewise.http.hot import PREFIX, Begun, Head, Hot, Lately, answered, connection_name
from likewise.http.problems import Headers, unexpected
from likewise.http.turns import COMPUTED, HANDED_ON, HEAVY, HIT, STEADY, borne
from likewise.requests import NO_CONTROL, Answer, Outcome

HEADS = 4096
"""Heads remembered by one worker, one for each device that names itself; past that all are learned anew."""
HEAD_BYTES = 2048
"""Longest head that is remembered."""
WAITING_BYTES = 65536
"""Longest body that is waited for here; of longer ones the application is asked first whether it wants them."""

_WAITED = "More comes than can be answered, and this has waited for its turn too long; come back in about a second."

_REUSED, _COMPUTED, _VARIANT = Outcome.HIT, Outcome.MISS, Outcome.VARIANT
_MARK = b"POST " + PREFIX.encode()
_HOT = (b"/infer", b"/lookup")
_LENGTH = b"\r\ncontent-length: "
_HIT = (
    b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n"
    b"cache-status: likewise; hit; ttl=%d\r\nage: %d\r\nlikewise-entry: %016x\r\n\r\n%b"
)
"""What `answered` makes of a hit whose result is JSON, written at once: the answer to nearly every request."""
_MISS = (
    b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n"
    b"cache-status: likewise; fwd=miss; stored\r\nage: 0\r\nlikewise-entry: %016x\r\n\r\n%b"
)
"""The same of one that was computed and kept: what it takes between two runs of a model takes ten times as long."""


class HotProtocol(HttpConnection):
    """One connection. Hits are answered at once where uvicorn was configured with `Hot` as the application."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        hot = config.app
        self._hot = hot if isinstance(hot, Hot) and not (config.access_log or config.root_path) else None
        self._heads: dict[bytes, Head] = self._hot.heads if self._hot is not None else {}
        self._name = ""
        self._asked: Head | None = None  # what the request under way asks, where it is answered here
        # the head that was answered last, which the next request has, too: its parts around the digits of its length
        self._last: Head | None = None
        self._before, self._after = b"", b""
        self._pieces: list[bytes] = []
        self._lately: Lately | None = None  # what is known of the head of the request under way

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take note of who it is."""
        super().connection_made(transport)
        self._name = connection_name(self.client)

    def shutdown(self) -> None:
        """Close as soon as what is under way is answered; streams of changes have no end of their own."""
        if self._hot is not None:
            self._hot.edge.listeners.stop()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Answer a whole request with a known head at once."""
        if self.ready:
            at = len(self._before)
            after = data.find(b"\r", at)
            end = after + len(self._after)
            head = self._last
            if head is None or not data.startswith(self._before) or not data.startswith(self._after, after):
                at, after = _length_at(data)
                end = data.find(b"\r\n\r\n", after) + 4
                head = self._last = self._heads.get(data[:at] + data[after:end])
                if head is not None:
                    self._before, self._after = data[:at], data[after:end]
                    if not self.recognized:
                        self._expect(head)
            if head is not None:
                digits = data[at:after]
                length = len(data) - end
                if (
                    digits.isdigit()
                    and len(digits) < 10
                    and int(digits) == length
                    and length <= head.max_bytes
                    and ((self.load < HEAVY and not self.turns.crowded) or self.turns.take(self.load, True))
                ):
                    try:
                        self._answer(head, data[end:])
                    except Exception as error:  # nothing a device sends may end the server
                        self.refuse(unexpected(error))
                    return
        self.receive(data)

    def is_quick(self, data: bytes, at: int) -> bool:
        """Say whether it asks to infer or to look up."""
        return data.startswith(_MARK, at) and data[at : data.find(b" ", at + 5)].partition(b"?")[0].endswith(_HOT)

    def recognize(self, head: bytes) -> None:
        """Expect what is known of other connections' requests with the same head: a device comes again, or its like."""
        super().recognize(head)
        start, after = _length_at(head)
        known = self._heads.get(head[:start] + head[after:])
        if known is not None:
            self._expect(known)

    def _expect(self, head: Head) -> None:
        self.recognized, lately = True, head.lately
        self.load = min(HEAVY, max(STEADY, lately.load))  # others' hits alone do not let it go first
        lately.load = borne(lately.load, COMPUTED)  # on credit: a crowd that comes at once is expected to be one

    def begin_request(self, data: bytes, at: int, end: int) -> framing.Body:
        """Take a head: one that is known, one to be remembered, or one for the application."""
        self._asked = None
        hot = None if self.spare else self._hot
        written = data[at:end]
        start, after = _length_at(written)
        name, digits = written[:start] + written[after:], written[start:after]
        known = self._heads.get(name) if hot is not None else None
        if known is not None and digits.isdigit() and len(digits) < 10:
            length = int(digits)
            if length <= min(WAITING_BYTES, known.max_bytes):
                self._asked, self.timeout_s = known, known.control.timeout_s
                return framing.Sized(length)
        request = framing.read_head(written)
        if self.spare and request.raw_path != b"/livez":
            raise Overloaded("All connections are taken, or all of your address; close some, or try again.", 1.0)
        plain = (
            hot is not None
            and known is None
            and request.length <= WAITING_BYTES
            and request.http_version == "1.1"
            and written.startswith(_MARK)
            and written[:start].lower().endswith(_LENGTH)
            and len(written) <= HEAD_BYTES
        )
        if plain and hot is not None:
            self._asked = self._learn(hot, name, request)
        if self._asked is None:
            if self.late:
                raise self._too_late()
            self.hand_over(request)
        return framing.Chunked() if request.length < 0 else framing.Sized(request.length)

    def _learn(self, hot: Hot, name: bytes, request: framing.Request) -> Head | None:
        """Remember the head if it is that of a plain hot request, and return it if the request is short enough."""
        scope = {"method": request.method, "path": request.path, "headers": request.headers}
        head = hot.head({**scope, "query_string": request.query})
        if head is None:
            return None
        if len(hot.heads) >= HEADS:
            hot.heads.clear()
        hot.heads[name] = head
        return head if request.length <= head.max_bytes else None

    def take_piece(self, piece: bytes) -> None:
        """Keep a piece of a body, or hand it to the application."""
        if self.exchange is not None:
            self.exchange.feed(piece)
        else:
            self._pieces.append(piece)

    def end_request(self) -> None:
        """Answer a request that is whole."""
        if self.exchange is not None:
            self.refuse(self._too_late()) if self.late else self.exchange.finish()
        elif self._hot is not None and self._asked is not None:
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            if self.late:
                self.respond(*self._hot.refuse(self._asked, self._too_late()))
            else:
                self._answer(self._asked, body, perf_counter() - self.came)

    def _too_late(self) -> LikewiseError:
        """Return what a request is told that has waited for its turn in vain."""
        return DeadlineExceeded(wire.LATE) if self.timed_out else Overloaded(_WAITED, 1.0)

    def _answer(self, head: Head, body: bytes, waited_s: float = 0.0) -> None:
        hot = self._hot
        assert hot is not None
        self._lately = lately = head.lately
        answer = hot.answer_now(head, body, self._name, waited_s)
        if isinstance(answer, Answer):
            (content, media_type), outcome, _, entry_id, age_s, ttl_s, _, _, _ = answer
            if self.load or lately.load or outcome is _VARIANT:
                self.bear(COMPUTED if outcome is _VARIANT else HIT)
            if outcome is _REUSED and media_type == wire.JSON and ttl_s < 1e12 and not self.leaving:
                self.write_answer(_HIT % (self.fixed(), len(content), ttl_s, age_s, entry_id, content))
            else:
                self.respond(*answered(answer, head.control))
        elif isinstance(answer, Begun):
            self.ready = False
            self.turns.count()
            self.start(self.loop.create_task(self._finish(hot, answer)))
        else:
            self.respond(*answer)

    def bear(self, work: int) -> None:
        """Add the work of an answer to the load, and to what is known of its head."""
        super().bear(work)
        if self._lately is not None and self.exchange is None:
            self._lately.load = borne(self._lately.load, work)

    def respond(self, status: int, content: bytes, headers: Headers) -> None:
        """Send a whole answer, and go on to the next request."""
        if self.task is not None:
            self.weigh(headers, COMPUTED if self.exchange is None else HANDED_ON)
        super().respond(status, content, headers)

    async def _finish(self, hot: Hot, begun: Begun) -> None:
        """Send what was computed."""
        found = await hot.finish(begun)
        try:
            if not isinstance(found, Answer):
                self.respond(*found)
                return
            (content, media_type), outcome, _, entry_id, _, _, stored, _, _ = found
            plain = outcome is _COMPUTED and stored and begun.control is NO_CONTROL and media_type == wire.JSON
            if not plain or self.leaving:
                self.respond(*answered(found, begun.control))
            elif not self._closing:
                self.bear(COMPUTED)
                self.transport.write(_MISS % (self.fixed(), len(content), entry_id, content))
                self.end()
        except Exception as error:  # as above
            self.refuse(unexpected(error))


def _length_at(head: bytes) -> tuple[int, int]:
    """Return where in a head the digits of the body's length begin and end."""
    start = head.find(b"ength: ") + 7
    return start, head.find(b"\r\n", start)
