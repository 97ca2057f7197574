"""The synchronous client: it sends and sleeps; what and when, the exchange says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from likewise_client._answer import Answer, Entry, Page
from likewise_client._base import BaseClient, received
from likewise_client._errors import translated_errors
from likewise_client._exchange import Send, Sleep, Step, Steps
from likewise_client._operations import Pages

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class Client(BaseClient[Answer, httpx.BaseTransport]):
    """A client for one likewise server, or for several nodes. Safe to share between threads.

    nodes: base URLs. A function's requests go to the node that rendezvous hashing names, to the next one while
        that is down or over its share, and back again afterwards.
    access_key: sent as a bearer token; default: the environment variable LIKEWISE_ACCESS_KEY, else none.
    device: what this device calls itself, up to 128 characters: its last answer is evidence for its next; default:
        the server takes each connection for a device.
    timeout_s: longest wait for a connection from the pool, to send, and between two pieces of an answer.
    connect_timeout_s: longest wait for a new connection.
    retry: see Retry.
    max_connections: over all nodes.
    max_answer_bytes: longest answer, decompressed; a longer one is a MalformedAnswer.
    proxy: URL of a proxy for all nodes; empty: none; default: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, where
        they can be used, and never for loopback.
    verify: a TLS context, for an authority of one's own; default: the system's authorities.
    transport: what carries requests, such as testing.FakeServer.
    clock, rng: sources of monotonic seconds and of jitter.

    Nothing is sent before the first call. Raises InvalidInput for a setting that cannot be used; every method raises
    a LikewiseClientError.
    """

    _http: httpx.Client

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, transport: httpx.BaseTransport | None) -> httpx.Client:
        return httpx.Client(**self._sockets(transport, httpx.HTTPTransport))

    @staticmethod
    def _method(operation: Callable[..., Steps[T]]) -> Callable[..., T]:
        def method(self: Client, /, *args: Any, **kwargs: Any) -> T:
            return self._drive(operation(self._operations, *args, **kwargs))

        return method

    @staticmethod
    def _pages(operation: Callable[..., Pages]) -> Callable[..., Iterator[Entry]]:
        def method(self: Client, /, *args: Any, **kwargs: Any) -> Iterator[Entry]:
            pages = operation(self._operations, *args, **kwargs)
            page: Page | None = None
            with suppress(StopIteration):
                while True:
                    page = self._drive(pages.send(page))
                    yield from page.entries

        return method

    def _doing(self, steps: Callable[[Any], Steps[T]]) -> Callable[[Any], T]:
        return lambda value: self._drive(steps(value))

    def _drive(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    done = self._perform(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(done)
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Send):
            return self._send(step)
        return time.sleep(step.seconds) if isinstance(step, Sleep) else step.run()

    def _send(self, step: Send) -> httpx.Response:
        body = bytearray()
        with translated_errors(step.node), self._http.stream(
            step.method, step.url, headers=step.headers, content=step.body
        ) as answer:  # fmt: skip
            for chunk in answer.iter_bytes():
                self._add(body, chunk, step.node)
            return received(answer, body)
