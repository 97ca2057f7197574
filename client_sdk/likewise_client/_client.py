"""The synchronous client: it sends and sleeps; what and when, the exchange says."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack, overload

import httpx
from numpy.typing import ArrayLike

from likewise_client import _calls as calls
from likewise_client._answer import Answer, Computed, Entry, Inserted, Page
from likewise_client._base import BaseClient, Settings
from likewise_client._calls import CacheControl
from likewise_client._errors import translated_errors
from likewise_client._exchange import Compute, Send, Sleep, Step, Steps
from likewise_client._reuse import KeyFunction, ReuseOptions
from likewise_client._wire import Input

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")


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
    verify: a TLS context, for an authority of one's own; default: the system's authorities.
    transport: what carries requests, such as testing.FakeServer.
    clock, rng: sources of monotonic seconds and of jitter.

    Nothing is sent before the first call. Raises InvalidInput for a URL or an access key that cannot be used;
    every method raises a LikewiseClientError.
    """

    def __init__(
        self,
        nodes: str | Sequence[str] = "http://127.0.0.1:8080",
        *,
        transport: httpx.BaseTransport | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(nodes, settings)
        self._http = httpx.Client(transport=transport, timeout=self._timeout, limits=self._limits, verify=self._verify)

    def infer(
        self,
        function: str,
        input: Input,
        *,
        media_type: str | None = None,
        cache: CacheControl | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
    ) -> Answer:
        """Return the function's result for an input, reused or computed on the server.

        function: `name` or `name@version`.
        input: encoded bytes, a NumPy array (sent as .npy), a path (by its suffix), or lists and dicts (JSON).
        media_type: what bytes are in; told from their first bytes where absent.
        cache: "no-cache" recomputes, "no-store" leaves no trace, "only-if-cached" never computes (NotCached).
        max_age_s, min_fresh_s: reuse only what is at most so old, or stays valid at least so long.
        """
        return self._drive(self._infer(function, input, media_type, cache, max_age_s, min_fresh_s))

    @overload
    def lookup(
        self,
        function: str,
        *,
        keys: ArrayLike,
        key_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
    ) -> list[Answer]: ...
    @overload
    def lookup(
        self,
        function: str,
        *,
        key: ArrayLike,
        key_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
    ) -> Answer: ...
    @overload
    def lookup(
        self,
        function: str,
        *,
        input: Input,
        key_type: str | None = None,
        media_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
    ) -> Answer: ...
    def lookup(
        self,
        function: str,
        *,
        key: ArrayLike | None = None,
        keys: ArrayLike | None = None,
        input: Input | None = None,
        key_type: str | None = None,
        media_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
    ) -> Answer | list[Answer]:
        """Return what is safe to reuse for a key (d,), keys (n, d), or a raw input; nothing is ever computed.

        An answer with `found` False carries the ticket for the insert of what the device then computes.
        max_age_s, min_fresh_s: reuse only what is at most so old, or stays valid at least so long.
        """
        answer: Answer | list[Answer] = self._drive(
            self._lookup(function, key, keys, input, key_type, media_type, max_age_s, min_fresh_s)
        )
        return answer

    def insert(
        self,
        function: str,
        result: Any,
        *,
        key: ArrayLike | None = None,
        keys: Mapping[str, ArrayLike] | None = None,
        input: Input | None = None,
        media_type: str | None = None,
        result_media_type: str | None = None,
        cost_s: float | None = None,
        ttl_s: float | None = None,
        tags: Sequence[str] = (),
        ticket: str | None = None,
        durable: bool = False,
    ) -> Inserted:
        """Share a result that the device computed.

        result: anything JSON holds, a NumPy array (as .npy), or bytes of `result_media_type`.
        key, keys or input: which input it was: one key, keys by key type, or the raw input of `media_type`.
        cost_s: seconds it took; what was dear is kept longer.
        ttl_s: seconds it may be reused, at most what the function allows.
        tags: for `invalidate`. ticket: from the lookup's answer. durable: wait until it is on disk.
        """
        computed = Computed(result, key, keys, input, media_type, result_media_type, cost_s, ttl_s, tags, ticket)
        return self._drive(self._insert(function, computed, durable))

    def insert_many(self, function: str, computed: Iterable[Computed], *, durable: bool = False) -> list[Inserted]:
        """Share many results that devices computed, some hundred in a request; return what became of each, in order.

        All go to the function's node; a ticket of another node is not good there, and its result is kept all the same.
        A request is taken whole or not at all. Where one fails the error is raised, and those before it stay.
        """
        return self._drive(self._insert_many(function, computed, durable))

    def page(self, function: str, *, limit: int = 100, behind: Page | None = None) -> Page:
        """Return up to `limit` (at most 1,000) of a function's entries, in the order of insertion.

        behind: the page before, whose node is asked again; None: the first page.
        """
        return self._drive(self._page(function, limit, behind))

    def entries(self, function: str, *, limit: int = 500) -> Iterator[Entry]:
        """Yield all entries of a function at its node, page by page; entries may come and go meanwhile."""
        page: Page | None = None
        while page is None or page.after is not None:
            page = self.page(function, limit=limit, behind=page)
            yield from page.entries

    def register(
        self, name: str, spec: str | Mapping[str, Any], files: Mapping[str, bytes | Path] | None = None
    ) -> dict[str, Any]:
        """Serve a function from now on, or in place of one of its name; return its description.

        spec: what function.toml holds, as TOML text or as a mapping. files: those that it names, as bytes or paths.
        One node takes it; nodes that share follow. Takes an access key with scope admin.
        """
        return self._drive(self._exchange.run(calls.register(name, spec, files or {})))

    def unregister(self, name: str) -> None:
        """Serve a function no more, with all its entries; nodes that share follow. Raises UnknownFunction."""
        self._drive(self._exchange.run(calls.unregister(name)))

    def invalidate(self, function: str, *, id: str | None = None, tag: str | None = None, all: bool = False) -> int:  # noqa: A002 as in the protocol's query
        """Take entries out on every node: one by id, those with a tag, or all; return how many.

        The count is the highest of any node, as nodes that share hold the same entries. Where a node cannot
        be asked, the others still are, and then the error is raised.
        """
        return self._drive(self._invalidate(function, id, tag, all))

    def functions(self) -> list[dict[str, Any]]:
        """Return the functions that are served, as docs/protocol.md describes them."""
        return self._drive(self._exchange.run(calls.functions()))

    def stats(self) -> dict[str, Any]:
        """Return a node's counters, per function, as docs/protocol.md describes them."""
        return self._drive(self._exchange.run(calls.stats()))

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
        reuse = self._reuse(function, key, **options)

        def decorate(compute: Callable[[In], Out]) -> Callable[[In], Out]:
            @functools.wraps(compute)
            def reusing(value: In) -> Out:
                result: Out = self._drive(reuse.steps(self._exchange, value, lambda: compute(value)))
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
        match step:
            case Send():
                with translated_errors(step.node):
                    return self._http.request(step.method, step.url, headers=step.headers, content=step.body)
            case Sleep():
                return time.sleep(step.seconds)
            case Compute():
                return step.run()
