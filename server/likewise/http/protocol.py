"""HTTP/1.1 connections on which lookups are answered as they arrive, without a task and a parse for each.

A device sends lookups whose head, all bytes up to the body, is the same every time. The first request with a head goes
the usual way: httptools parses it, FastAPI's neighbor `Hot` answers. A head that was parsed as a plain lookup is
remembered, and from then on a request with exactly these bytes is answered at once: equal bytes have an equal parse.
Everything else, and every request that is not whole in one read, goes the usual way.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from likewise.http.hot import PREFIX, Head, Hot, answered
from likewise.http.wire import JSON
from likewise.types import Answer

HEADS = 1024
"""Heads remembered by one worker; past that all are forgotten and learned anew."""
HEAD_BYTES = 2048
"""Longest head that is remembered."""

_MARK = b"POST " + PREFIX.encode()
_HIT = (
    b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n"
    b"cache-status: likewise; hit; ttl=%d\r\nage: %d\r\nlikewise-entry: %016x\r\n\r\n%b"
)
"""What `answered` makes of a hit whose result is JSON, written at once: the answer to nearly every lookup."""


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
        self._between = True  # no request has begun that the parser has not seen the end of
        self._messages = 0
        self._active_at = 0.0
        self._defaults: list[tuple[bytes, bytes]] = []
        self._defaults_written = b""

    def data_received(self, data: bytes) -> None:
        """Answer a whole lookup with a known head at once; hand everything else to the parser."""
        hot = self._hot
        if hot is None or not self._between or (self.cycle is not None and not self.cycle.response_complete):
            super().data_received(data)
            return
        end = data.find(b"\r\n\r\n") + 4
        head = hot.heads.get(data[:end])
        if head is not None and len(data) == end + head.length and not self._crowded():
            self._answer(hot, head, data[end:])
            return
        if not data.startswith(_MARK) or not 4 <= end <= HEAD_BYTES:
            super().data_received(data)
            return
        messages = self._messages
        super().data_received(data)
        if self._messages == messages + 1 and self._between:
            self._remember(hot, data[:end], len(data) - end)

    def _crowded(self) -> bool:
        """Say whether the usual way is needed: it refuses what is too much, and waits for slow readers."""
        limit = self.limit_concurrency
        return self.flow.write_paused or (limit is not None and len(self.connections) >= limit)

    def _answer(self, hot: Hot, head: Head, body: bytes) -> None:
        self.server_state.total_requests += 1
        if self.server_state.default_headers is not self._defaults:  # a new list each second, for its Date
            self._defaults = self.server_state.default_headers
            self._defaults_written = b"".join([b"%b: %b\r\n" % each for each in self._defaults])
        answer = hot.lookup_now(head, body)
        if type(answer) is Answer and answer.result.media_type == JSON and answer.ttl_s < 1e12:
            content = answer.result.body
            self.transport.write(
                _HIT % (self._defaults_written, len(content), answer.ttl_s, answer.age_s, answer.entry_id, content)
            )
        else:
            status, content, headers = answered(answer, head.control) if isinstance(answer, Answer) else answer
            lines = b"".join([b"%b: %b\r\n" % each for each in headers])
            self.transport.write(b"%b%b%b\r\n%b" % (STATUS_LINE[status], self._defaults_written, lines, content))
        self._active_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _remember(self, hot: Hot, written: bytes, length: int) -> None:
        """Remember the head of the one request that was in the last read, if it is a plain lookup."""
        scope = self.scope
        head = hot.head(dict(scope), length) if scope["http_version"] == "1.1" else None
        if head is not None:
            if len(hot.heads) >= HEADS:
                hot.heads.clear()
            hot.heads[written] = head

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
