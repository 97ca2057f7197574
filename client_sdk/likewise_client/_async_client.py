"""The asynchronous client: it sends and sleeps; what and when, the exchange says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from likewise_client._answer import Answer, Entry, Page
from likewise_client._base import BaseClient, received
from likewise_client._errors import translated_errors
from likewise_client._exchange import Send, Sleep, Step, Steps
from likewise_client._methods import Soon
from likewise_client._operations import Pages

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class AsyncClient(BaseClient[Soon[Answer], httpx.AsyncBaseTransport]):
    """`Client` for asyncio: the same methods and settings, awaited. For one event loop at a time."""

    _http: httpx.AsyncClient

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _connect(self, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(**self._sockets(transport, httpx.AsyncHTTPTransport))

    @staticmethod
    def _method(operation: Callable[..., Steps[T]]) -> Callable[..., Soon[T]]:
        async def method(self: AsyncClient, /, *args: Any, **kwargs: Any) -> T:
            return await self._drive(operation(self._operations, *args, **kwargs))

        return method

    @staticmethod
    def _pages(operation: Callable[..., Pages]) -> Callable[..., AsyncIterator[Entry]]:
        async def method(self: AsyncClient, /, *args: Any, **kwargs: Any) -> AsyncIterator[Entry]:
            pages = operation(self._operations, *args, **kwargs)
            page: Page | None = None
            with suppress(StopIteration):
                while True:
                    page = await self._drive(pages.send(page))
                    for entry in page.entries:
                        yield entry

        return method

    def _doing(self, steps: Callable[[Any], Steps[T]]) -> Callable[[Any], Soon[T]]:
        async def doing(value: Any) -> T:
            return await self._drive(steps(value))

        return doing

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
