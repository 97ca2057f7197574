"""The asynchronous client: it sends and sleeps; what and when, the exchange says."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
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
Soon = Coroutine[Any, Any, T]
In = TypeVar("In")
Out = TypeVar("Out")


def _method(
    operation: Callable[Concatenate[Operations, P], Steps[T]],
) -> Callable[Concatenate[AsyncClient, P], Soon[T]]:
    """Return the coroutine method that carries out an operation."""

    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._drive(operation(self._operations, *args, **kwargs))

    return describe(method, operation)


class AsyncClient(BaseClient):
    """`Client` for asyncio: the same methods and settings, awaited. For one event loop at a time."""

    def __init__(
        self,
        nodes: str | Sequence[str] = "http://127.0.0.1:8080",
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(nodes, **settings)
        self._http = httpx.AsyncClient(**self._sockets(transport, httpx.AsyncHTTPTransport))

    infer = _method(Operations.infer)
    lookup: Lookup[Coroutine[Any, Any, Answer], Coroutine[Any, Any, list[Answer]]] = cast(
        Any, _method(Operations.lookup)
    )
    insert = _method(Operations.insert)
    insert_many = _method(Operations.insert_many)
    page = _method(Operations.page)
    register = _method(Operations.register)
    unregister = _method(Operations.unregister)
    invalidate = _method(Operations.invalidate)
    functions = _method(Operations.functions)
    stats = _method(Operations.stats)

    async def entries(self, function: str, *, limit: int = 500) -> AsyncIterator[Entry]:
        """Yield all entries of a function; see `Client.entries`."""
        page: Page | None = None
        while page is None or page.after is not None:
            page = await self.page(function, limit=limit, behind=page)
            for entry in page.entries:
                yield entry

    def stream(self, function: str, name: str, *, drop_late: bool = False) -> Stream[Coroutine[Any, Any, Answer]]:
        """Return the stream of one camera; see `Client.stream`."""
        return Stream(self.infer, function, name, drop_late)

    def reuse(
        self, function: str, *, key: KeyFunction | None = None, **options: Unpack[ReuseOptions]
    ) -> Callable[[Callable[[In], Awaitable[Out]]], Callable[[In], Awaitable[Out]]]:
        """Decorate a coroutine function of one input; see `Client.reuse`.

        A blocking function is wrapped as `async def f(x): return await asyncio.to_thread(g, x)`.
        Raises TypeError for anything but a coroutine function.
        """
        reuse = Reuse(function, key, **options)

        def decorate(compute: Callable[[In], Awaitable[Out]]) -> Callable[[In], Awaitable[Out]]:
            if not inspect.iscoroutinefunction(compute):
                raise TypeError("AsyncClient.reuse decorates coroutine functions; Client.reuse the others")

            @functools.wraps(compute)
            async def reusing(value: In) -> Out:
                steps = reuse.steps(self._operations.exchange, value, lambda: compute(value))
                result: Out = await self._drive(steps)
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
        if isinstance(step, Send):
            return await self._send(step)
        return await (asyncio.sleep(step.seconds) if isinstance(step, Sleep) else step.run())

    async def _send(self, step: Send) -> httpx.Response:
        body = bytearray()
        with translated_errors(step.node):
            request = self._http.stream(step.method, step.url, headers=step.headers, content=step.body)
            async with request as answer:
                async for chunk in answer.aiter_bytes():
                    self._add(body, chunk, step.node)
                return received(answer, body)
