"""The deadline of a request, kept at each read and write of its connection.

The time-outs of httpx are for one read or write: an answer whose head comes byte by byte takes them anew for each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx


class _Due(threading.local):
    """When the request of a thread has to be through, by the monotonic clock."""

    at: float | None = None


_due = _Due()


@contextmanager
def due_in(seconds: float | None) -> Iterator[Callable[[], bool]]:
    """Keep what this thread reads and writes meanwhile within so many seconds, and yield what says that they are over.

    seconds: None for no limit.
    """
    at = _due.at = None if seconds is None else time.monotonic() + seconds
    try:
        yield lambda: at is not None and time.monotonic() > at
    finally:
        _due.at = None


def keep_deadlines(transport: httpx.HTTPTransport) -> httpx.HTTPTransport:
    """Let the connections of a transport keep what `due_in` says, and return it.

    Where another httpx has its connections elsewhere, they keep the time-outs of single reads and writes alone.
    """
    pool: Any = getattr(transport, "_pool", None)
    backend = getattr(pool, "_network_backend", None)
    if isinstance(backend, httpcore.NetworkBackend):
        pool._network_backend = _Backend(backend)
    return transport


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    """Return the time that one read or write may take. Raises where the deadline has passed."""
    if _due.at is None:
        return timeout
    left = _due.at - time.monotonic()
    if left <= 0:
        raise late("the deadline has passed")
    return left if timeout is None else min(timeout, left)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._backend.connect_tcp(host, port, left, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
