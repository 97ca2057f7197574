"""The synchronous client: it sends and sleeps; what and when, the exchange says."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx

from likewise_client._answer import Answer, Entry, Page
from likewise_client._base import BaseClient, Settings, describe, received
from likewise_client._errors import translated_errors
from likewise_client._exchange import Send, Sleep, Step, Steps
from likewise_client._operations import Lookup, Operations
from likewise_client._reuse import KeyFunction, Reuse, ReuseOptions
from likewise_client._stream import Stream

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec, Self, Unpack

    P = ParamSpec("P")

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")


def _method(operation: Callable[Concatenate[Operations, P], Steps[T]]) -> Callable[Concatenate[Client, P], T]:
    """Return the method that carries out an operation."""

    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._drive(operation(self._operations, *args, **kwargs))

    return describe(method, operation)


class Client(BaseClient):
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

    def __init__(
        self,
        nodes: str | Sequence[str] = "http://127.0.0.1:8080",
        *,
        transport: httpx.BaseTransport | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(nodes, **settings)
        self._http = httpx.Client(**self._sockets(transport, httpx.HTTPTransport))

    infer = _method(Operations.infer)
    lookup: Lookup[Answer, list[Answer]] = cast(Any, _method(Operations.lookup))
    insert = _method(Operations.insert)
    insert_many = _method(Operations.insert_many)
    page = _method(Operations.page)
    register = _method(Operations.register)
    unregister = _method(Operations.unregister)
    invalidate = _method(Operations.invalidate)
    functions = _method(Operations.functions)
    stats = _method(Operations.stats)

    def entries(self, function: str, *, limit: int = 500) -> Iterator[Entry]:
        """Yield all entries of a function at its node, page by page; entries may come and go meanwhile."""
        page: Page | None = None
        while page is None or page.after is not None:
            page = self.page(function, limit=limit, behind=page)
            yield from page.entries

    def stream(self, function: str, name: str, *, drop_late: bool = False) -> Stream[Answer]:
        """Return the stream of one camera: frames sent through it are answered from what changed between them.

        function: `name` or `name@version`. name: 1 to 128 letters, digits, or . _ - : / signs; one for each camera.
        drop_late: a frame that a newer one overtook raises Conflict instead of being computed.
        """
        return Stream(self.infer, function, name, drop_late)

    def reuse(
        self, function: str, *, key: KeyFunction | None = None, **options: Unpack[ReuseOptions]
    ) -> Callable[[Callable[[In], Out]], Callable[[In], Out]]:
        """Decorate a function of one input, computed on the device, so that neighbors share its results.

        Each call looks up; on a miss it computes, measures the cost, and inserts.
        key: from the input to its key, or keys by key type; without it the raw input is sent.
        key_type: which key type is looked up. ttl_s, tags: as for `insert`.
        encode, decode: from the function's result to JSON, bytes or an array, and back.
        fallback: compute on the device while no server can be asked (default), instead of raising.
        """
        reuse = Reuse(function, key, **options)

        def decorate(compute: Callable[[In], Out]) -> Callable[[In], Out]:
            @functools.wraps(compute)
            def reusing(value: In) -> Out:
                result: Out = self._drive(reuse.steps(self._operations.exchange, value, lambda: compute(value)))
                return result

            return reusing

        return decorate

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
