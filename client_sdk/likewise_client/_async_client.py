"""The asynchronous client: it sends and sleeps; what and when, the exchange says."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
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


class AsyncClient(BaseClient):
    """`Client` for asyncio: the same methods and settings, awaited. For one event loop at a time."""

    def __init__(
        self,
        nodes: str | Sequence[str] = "http://127.0.0.1:8080",
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(nodes, settings)
        self._http = httpx.AsyncClient(
            transport=transport, timeout=self._timeout, limits=self._limits, verify=self._verify
        )

    async def infer(
        self,
        function: str,
        input: Input,
        *,
        media_type: str | None = None,
        cache: CacheControl | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
    ) -> Answer:
        """Return the function's result for an input, reused or computed on the server; see `Client.infer`."""
        return await self._drive(self._infer(function, input, media_type, cache, max_age_s, min_fresh_s))

    @overload
    async def lookup(
        self,
        function: str,
        *,
        keys: ArrayLike,
        key_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
    ) -> list[Answer]: ...
    @overload
    async def lookup(
        self,
        function: str,
        *,
        key: ArrayLike,
        key_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
    ) -> Answer: ...
    @overload
    async def lookup(
        self,
        function: str,
        *,
        input: Input,
        key_type: str | None = None,
        media_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
    ) -> Answer: ...
    async def lookup(
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
        """Return what is safe to reuse, and never compute; see `Client.lookup`."""
        answer: Answer | list[Answer] = await self._drive(
            self._lookup(function, key, keys, input, key_type, media_type, max_age_s, min_fresh_s)
        )
        return answer

    async def insert(
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
        """Share a result that the device computed; see `Client.insert`."""
        computed = Computed(result, key, keys, input, media_type, result_media_type, cost_s, ttl_s, tags, ticket)
        return await self._drive(self._insert(function, computed, durable))

    async def insert_many(
        self, function: str, computed: Iterable[Computed], *, durable: bool = False
    ) -> list[Inserted]:
        """Share many results, some hundred in a request; see `Client.insert_many`."""
        return await self._drive(self._insert_many(function, computed, durable))

    async def page(self, function: str, *, limit: int = 100, behind: Page | None = None) -> Page:
        """Return some of a function's entries; see `Client.page`."""
        return await self._drive(self._page(function, limit, behind))

    async def entries(self, function: str, *, limit: int = 500) -> AsyncIterator[Entry]:
        """Yield all entries of a function; see `Client.entries`."""
        page: Page | None = None
        while page is None or page.after is not None:
            page = await self.page(function, limit=limit, behind=page)
            for entry in page.entries:
                yield entry

    async def register(
        self, name: str, spec: str | Mapping[str, Any], files: Mapping[str, bytes | Path] | None = None
    ) -> dict[str, Any]:
        """Serve a function from now on, or in place of one of its name; see `Client.register`."""
        return await self._drive(self._exchange.run(calls.register(name, spec, files or {})))

    async def unregister(self, name: str) -> None:
        """Serve a function no more; see `Client.unregister`."""
        await self._drive(self._exchange.run(calls.unregister(name)))

    async def invalidate(
        self,
        function: str,
        *,
        id: str | None = None,
        tag: str | None = None,
        all: bool = False,  # noqa: A002 as in the protocol's query
    ) -> int:
        """Take entries out on every node; see `Client.invalidate`."""
        return await self._drive(self._invalidate(function, id, tag, all))

    async def functions(self) -> list[dict[str, Any]]:
        """Return the functions that are served, as docs/protocol.md describes them."""
        return await self._drive(self._exchange.run(calls.functions()))

    async def stats(self) -> dict[str, Any]:
        """Return a node's counters, per function, as docs/protocol.md describes them."""
        return await self._drive(self._exchange.run(calls.stats()))

    def reuse(
        self, function: str, *, key: KeyFunction | None = None, **options: Unpack[ReuseOptions]
    ) -> Callable[[Callable[[In], Awaitable[Out]]], Callable[[In], Awaitable[Out]]]:
        """Decorate a coroutine function of one input; see `Client.reuse`.

        A blocking function is wrapped as `async def f(x): return await asyncio.to_thread(g, x)`.
        Raises TypeError for anything but a coroutine function.
        """
        reuse = self._reuse(function, key, **options)

        def decorate(compute: Callable[[In], Awaitable[Out]]) -> Callable[[In], Awaitable[Out]]:
            if not inspect.iscoroutinefunction(compute):
                raise TypeError("AsyncClient.reuse decorates coroutine functions; Client.reuse the others")

            @functools.wraps(compute)
            async def reusing(value: In) -> Out:
                result: Out = await self._drive(reuse.steps(self._exchange, value, lambda: compute(value)))
                return result

            return reusing

        return decorate

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _drive(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    done = await self._perform(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(done)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _perform(self, step: Step) -> Any:
        match step:
            case Send():
                with translated_errors(step.node):
                    return await self._http.request(step.method, step.url, headers=step.headers, content=step.body)
            case Sleep():
                return await asyncio.sleep(step.seconds)
            case Compute():
                return await step.run()
