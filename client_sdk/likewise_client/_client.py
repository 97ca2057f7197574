"""The synchronous client: it sends and sleeps; what and when, the exchange says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx

from likewise_client._answer import Answer, Entry, Page
from likewise_client._base import CLOSING_S, BaseClient
from likewise_client._deadline import due_in, keep_deadlines
from likewise_client._errors import LikewiseClientError, TimedOut, Unavailable
from likewise_client._exchange import BAD_GATEWAY, Background, Race, Send, Sleep, Step, Steps
from likewise_client._inserts import Inserts
from likewise_client._operations import Pages
from likewise_client._reply import Reply
from likewise_client._sockets import reply_to, translated

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class Client(BaseClient[Answer, Inserts, httpx.BaseTransport]):
    """A client for one likewise server, or for several nodes. Safe to share between threads.

    nodes: base URLs. A function's requests go to the node that rendezvous hashing names, to the next one while
        that is down or over its share, and back again afterwards.
    access_key: sent as a bearer token; default: the environment variable LIKEWISE_ACCESS_KEY, else none.
    device: what this device calls itself, up to 128 characters: its last answer is evidence for its next; default:
        the server takes each connection for a device.
    timeout_s: longest wait for a connection from the pool, to send, and between two pieces of an answer.
    connect_timeout_s: longest wait for a new connection.
    retry: see Retry. breaker: see Breaker. hedge: see Hedge; default: none.
    on_answer: called with an Event after each call, on the caller's thread; what it raises is logged and ignored.
    device_cache: a DeviceCache, from which this device answers by itself as far as the server lets it; default: none.
    compute: where `infer` computes: "edge" (default), "device" or "auto". on_device: an OnDevice, how it does that.
    max_connections: over all nodes, kept alive. With the extra `http2`, nodes reached over TLS are offered HTTP/2.
    max_answer_bytes: longest answer, decompressed; a longer one is a MalformedAnswer.
    proxy: URL of a proxy for all nodes; empty: none; default: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, where
        they can be used, and never for loopback.
    verify: a TLS context, for an authority of one's own; default: the system's authorities.
    transport: what carries requests, such as testing.FakeServer.
    clock, rng: sources of monotonic seconds and of jitter.

    Nothing is sent before the first call. Raises InvalidInput for a setting that cannot be used; every method raises
    a LikewiseClientError.
    """

    _kind = staticmethod(lambda **options: keep_deadlines(httpx.HTTPTransport(**options)))
    _inserts = Inserts

    def close(self) -> None:
        """Give back what the device's own cache holds of the error budget, and close all connections.

        Checks in the background are waited for, for some seconds.
        """
        until = time.monotonic() + CLOSING_S
        for thread in list(self._started):
            thread.join(max(0.0, until - time.monotonic()))
        self._drive(self._leave())
        for transport in set(self._transports.values()):
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
        if isinstance(step, Race):
            return self._race(step)
        if isinstance(step, Background):
            return self._start(step.steps)
        return time.sleep(step.seconds) if isinstance(step, Sleep) else step.run()

    def _start(self, steps: Steps[None]) -> None:
        """Go on with steps on a thread of its own."""

        def run() -> None:
            try:
                self._drive(steps)
            finally:
                self._started.discard(thread)

        thread = threading.Thread(target=run, name="likewise-background", daemon=True)
        self._started.add(thread)
        try:
            thread.start()
        except BaseException:
            self._started.discard(thread)
            raise

    def _send(self, step: Send) -> Reply:
        sockets, node = self._sockets, step.node
        try:
            with due_in(step.timeout_s) as over:
                request = sockets.request(step)
                response = self._transports[node].handle_request(request)
                try:
                    body = sockets.body(response, node)
                    for piece in cast(Iterable[bytes], response.stream):
                        body.add(piece)
                        if over():
                            raise TimedOut(f"the answer of {node} was not there by the deadline")
                finally:
                    response.close()
            return reply_to(request, response, body)
        except LikewiseClientError:
            raise
        except Exception as error:
            raise translated(error, node) from error

    def _race(self, race: Race) -> tuple[Send, Reply]:
        runners = {self._run(race.first, race): race.first}
        done, pending = wait(runners, race.after_s)
        if not done and (second := race.second()) is not None:
            runners[self._run(second, race)] = second
            pending = set(runners)
        first = next(iter(runners))
        while True:
            for future in done:
                if future.exception() is None:
                    return runners[future], future.result()
            if not pending:
                return runners[first], first.result()
            done, pending = wait(pending, return_when=FIRST_COMPLETED)

    def _run(self, send: Send, race: Race) -> Future[Reply]:
        """Send on a thread of its own, which goes on to the end of it whoever has won."""

        def run() -> None:
            alive: bool | None = None
            try:
                reply = self._send(send)
                alive = reply.status_code != BAD_GATEWAY
                future.set_result(reply)
            except BaseException as error:
                alive = False if isinstance(error, Unavailable) else None
                future.set_exception(error)
            finally:
                race.over(send, alive)

        future: Future[Reply] = Future()
        threading.Thread(target=run, name="likewise-hedge", daemon=True).start()
        return future
