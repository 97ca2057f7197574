"""The asynchronous client: it sends and sleeps; what and when, the exchange says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx

from likewise_client._answer import Answer, Entry, Page
from likewise_client._base import CLOSING_S, BaseClient
from likewise_client._errors import LikewiseClientError, TimedOut, Unavailable
from likewise_client._exchange import BAD_GATEWAY, Background, Compute, Race, Send, Sleep, Step, Steps
from likewise_client._inserts import AsyncInserts
from likewise_client._methods import Soon
from likewise_client._operations import Pages
from likewise_client._reply import Reply
from likewise_client._sockets import reply_to, translated

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class AsyncClient(BaseClient[Soon[Answer], AsyncInserts, httpx.AsyncBaseTransport]):
    """`Client` for asyncio: the same methods and settings, awaited. For one event loop at a time."""

    _kind = httpx.AsyncHTTPTransport
    _inserts = AsyncInserts

    async def aclose(self) -> None:
        """Give back what the device's own cache holds of the error budget, and close all connections.

        Checks in the background are waited for, for some seconds.
        """
        if self._started:
            _, late = await asyncio.wait(set(self._started), timeout=CLOSING_S)
            for task in late:
                task.cancel()
        await self._drive(self._leave())
        for transport in set(self._transports.values()):
            await transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

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
        if isinstance(step, Race):
            return await self._race(step)
        if isinstance(step, Background):
            task = asyncio.ensure_future(self._drive(step.steps))
            self._started.add(task)
            return task.add_done_callback(self._started.discard)
        if isinstance(step, Compute) and step.blocking:
            return await asyncio.to_thread(step.run)
        return await (asyncio.sleep(step.seconds) if isinstance(step, Sleep) else step.run())

    async def _send(self, step: Send) -> Reply:
        if step.timeout_s is None:
            return await self._exchange(step)
        try:
            return await asyncio.wait_for(self._exchange(step), step.timeout_s)
        except asyncio.TimeoutError as error:
            raise TimedOut(f"the answer of {step.node} was not there by the deadline") from error

    async def _exchange(self, step: Send) -> Reply:
        sockets, node = self._sockets, step.node
        try:
            request = sockets.request(step)
            response = await self._transports[node].handle_async_request(request)
            try:
                body = sockets.body(response, node)
                async for piece in cast(AsyncIterable[bytes], response.stream):
                    body.add(piece)
            finally:
                await response.aclose()
            return reply_to(request, response, body)
        except LikewiseClientError:
            raise
        except Exception as error:
            raise translated(error, node) from error

    async def _race(self, race: Race) -> tuple[Send, Reply]:
        runners = {asyncio.ensure_future(self._run(race.first, race)): race.first}
        first = next(iter(runners))
        try:
            done, pending = await asyncio.wait(runners, timeout=race.after_s)
            if not done and (second := race.second()) is not None:
                runners[asyncio.ensure_future(self._run(second, race))] = second
                pending = set(runners)
            while True:
                for task in done:
                    if task.exception() is None:
                        return runners[task], task.result()
                if not pending:
                    return runners[first], first.result()
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in runners:
                task.cancel()

    async def _run(self, send: Send, race: Race) -> Reply:
        alive: bool | None = None
        try:
            reply = await self._send(send)
            alive = reply.status_code != BAD_GATEWAY
            return reply
        except Unavailable:
            alive = False
            raise
        finally:
            race.over(send, alive)
