"""HTTP/1.1 connections on which hits are answered as they arrive, without a task and a parse for each.

A device sends requests whose head, all bytes up to the body, is the same every time but for the digits of its length.
The first request with a head goes the usual way: httptools parses it, FastAPI's neighbor `Hot` answers. A head that
was parsed as a plain `infer` or `lookup` is remembered, and from then on a request with exactly these bytes is answered
at once, or once the model has: equal bytes have an equal parse. Everything else goes the usual way.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from likewise.http.hot import PREFIX, Begun, Head, Hot, Rendered, answered, connection_name
from likewise.http.wire import JSON
from likewise.types import Answer, Outcome

HEADS = 4096
"""Heads remembered by one worker, one for each device that names itself; past that all are learned anew."""
HEAD_BYTES = 2048
"""Longest head that is remembered."""
WAITING_BYTES = 65536
"""Longest body that is waited for here, in pieces; longer ones go the usual way, which can slow their sender down."""

_MARK = b"POST " + PREFIX.encode()
_LENGTH = b"\r\ncontent-length: "
_HIT = (
    b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n"
    b"cache-status: likewise; hit; ttl=%d\r\nage: %d\r\nlikewise-entry: %016x\r\n\r\n%b"
)
"""What `answered` makes of a hit whose result is JSON, written at once: the answer to nearly every request."""


class HotProtocol(HttpToolsProtocol):
    """One connection. Needs `Hot` as the application that uvicorn was configured with."""

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
        self._name = ""
        self._between = True  # no request has begun that the parser has not seen the end of
        self._messages = 0
        self._pieces: list[bytes] = []
        self._missing = 0
        self._computing: asyncio.Task[Rendered] | None = None
        self._stops = False
        self._active_at = 0.0
        self._defaults: list[tuple[bytes, bytes]] = []
        self._defaults_written = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take note of who it is."""
        super().connection_made(transport)
        self._name = connection_name(self.client)

    def data_received(self, data: bytes) -> None:
        """Answer a whole request with a known head at once; hand everything else to the parser."""
        hot = self._hot
        if hot is None or not self._between or (self.cycle is not None and not self.cycle.response_complete):
            super().data_received(data)
            return
        if self._computing is not None:  # answers come in the order of the requests
            self._pieces.append(data)
            self.flow.pause_reading()
            return
        if self._missing:
            self._pieces.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = self._together()
        at = data.find(b"ength: ") + 7
        after = data.find(b"\r\n", at)
        end = data.find(b"\r\n\r\n", after) + 4
        name = data[:at] + data[after:end]
        head = hot.heads.get(name)
        if head is None:
            self._learn(hot, name, data, at, end)
            return
        digits = data[at:after]
        length = int(digits) if digits.isdigit() and len(digits) < 10 else 1 << 62
        missing = end + length - len(data)
        if missing < 0 or length > head.max_bytes or self._crowded():
            super().data_received(data)
        elif not missing:
            self._answer(hot, head, data, end)
        elif length <= WAITING_BYTES:
            self._unset_keepalive_if_required()
            self._pieces.append(data)
            self._missing = missing
        else:
            super().data_received(data)

    def _together(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._missing = 0
        return data

    def _learn(self, hot: Hot, name: bytes, data: bytes, at: int, end: int) -> None:
        """Let the parser have a request with an unknown head, and remember that head if it is plain and whole."""
        messages = self._messages
        super().data_received(data)
        if (
            self._messages == messages + 1
            and self._between
            and data.startswith(_MARK)
            and data[:at].lower().endswith(_LENGTH)
            and data.find(b"\r\n\r\n") + 4 == end <= HEAD_BYTES
            and self.scope["http_version"] == "1.1"
        ):
            head = hot.head(dict(self.scope))
            if head is not None:
                if len(hot.heads) >= HEADS:
                    hot.heads.clear()
                hot.heads[name] = head

    def _crowded(self) -> bool:
        """Say whether the usual way is needed: it refuses what is too much, and waits for slow readers."""
        limit = self.limit_concurrency
        return self.flow.write_paused or (limit is not None and len(self.connections) >= limit)

    def _answer(self, hot: Hot, head: Head, data: bytes, end: int) -> None:
        answer = hot.answer_now(head, data[end:], self._name)
        if isinstance(answer, Begun):
            self._unset_keepalive_if_required()
            self._computing = self.loop.create_task(hot.finish(answer))
            self._computing.add_done_callback(self._computed)
            self.tasks.add(self._computing)  # type: ignore[arg-type]  # uvicorn only waits for them
        elif (
            isinstance(answer, Answer)
            and answer.outcome is Outcome.HIT
            and answer.result.media_type == JSON
            and answer.ttl_s < 1e12
        ):
            content = answer.result.body
            self._write(_HIT % (self._fixed(), len(content), answer.ttl_s, answer.age_s, answer.entry_id, content))
        else:
            self._send(answered(answer, head.control) if isinstance(answer, Answer) else answer)

    def _computed(self, task: asyncio.Task[Rendered]) -> None:
        """Send what was computed, and go on with what came meanwhile."""
        self.tasks.discard(task)
        self._computing = None
        if self.transport.is_closing():
            return
        if task.cancelled():
            self.transport.close()
            return
        self._send(task.result())
        if self._stops:
            self.transport.close()
        elif self._pieces:
            self.flow.resume_reading()
            self.data_received(self._together())

    def _send(self, rendered: Rendered) -> None:
        status, content, headers = rendered
        lines = b"".join([b"%b: %b\r\n" % each for each in headers])
        self._write(b"%b%b%b\r\n%b" % (STATUS_LINE[status], self._fixed(), lines, content))

    def _fixed(self) -> bytes:
        if self.server_state.default_headers is not self._defaults:  # a new list each second, for its Date
            self._defaults = self.server_state.default_headers
            self._defaults_written = b"".join([b"%b: %b\r\n" % each for each in self._defaults])
        return self._defaults_written

    def _write(self, data: bytes) -> None:
        self.transport.write(data)
        self.server_state.total_requests += 1
        self._active_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one timer serves many answers, so look when the last one was."""
        left_s = self._active_at + self.timeout_keep_alive - self.loop.time()
        if left_s > 0.001:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def on_message_begin(self) -> None:
        """Take note that a request began."""
        self._between = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Take note that a request is whole."""
        self._between = True
        self._messages += 1
        super().on_message_complete()

    def shutdown(self) -> None:
        """Stop after the request under way: one that is computed, one whose body is still coming."""
        if self._computing is not None:
            self._stops = True
            return
        if self._missing:
            super().data_received(self._together())
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what came of a request that will not be whole."""
        self._together()
        super().connection_lost(exc)
