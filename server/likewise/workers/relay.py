"""Requests that one worker hands over to another: many at once over one connection, each answered when it is done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from likewise.workers.frames import MAX_ANSWER_BYTES, frame, read_frame

log = logging.getLogger("likewise.workers")

Serve = Callable[[dict[str, Any], bytes], Awaitable[tuple[dict[str, Any], bytes]]]
"""Answers a request, a header and a body, with the same; never raises."""
Answer = tuple[dict[str, Any], bytes]

AT_ONCE = 256
"""Requests of one other worker that are answered at once; more are read when others are done."""
CONNECT_S = 2.0
"""Longest that a connection is waited for."""


class Relay:
    """The way to one other worker. Belongs to one event loop.

    An answer is waited for as long as the connection stands: how long a request may take is the other's business.
    """

    def __init__(self, path: Path) -> None:
        """Set up. path: the socket on which the other worker listens."""
        self._path = path
        self._connecting = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Answer | None]] = {}
        self._last = 0

    async def ask(self, header: dict[str, Any], body: bytes) -> Answer | None:
        """Return the other worker's answer; None where it cannot be reached, or goes away before it answers.

        None, too, for a header that is too long to hand over: it would end the connection, which others share.
        """
        self._last += 1
        number = self._last
        try:
            message = frame({**header, "what": "serve", "number": number}, body)
        except ValueError:
            return None
        writer: asyncio.StreamWriter | None = None
        try:
            async with self._connecting:  # taken in the order of the calls, so requests keep it
                writer = self._writer or await self._connect()
                future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
                self._waiting[number] = future
                writer.write(message)
                await writer.drain()
            return await future
        except (OSError, TimeoutError):
            return None
        except asyncio.CancelledError:
            if number in self._waiting and writer is not None and not writer.is_closing():
                writer.write(frame({"what": "drop", "number": number}))
            raise
        finally:
            self._waiting.pop(number, None)

    async def _connect(self) -> asyncio.StreamWriter:
        async with asyncio.timeout(CONNECT_S):
            reader, self._writer = await asyncio.open_unix_connection(self._path)
        self._reading = asyncio.create_task(self._read(reader, self._writer))
        return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, OSError, ValueError):
            while True:
                header, body = await read_frame(reader, MAX_ANSWER_BYTES)
                future = self._waiting.get(header.get("number", -1))
                if future is not None and not future.done():
                    future.set_result((header, body))
        writer.close()
        if self._writer is writer:
            self._writer = None
            for future in self._waiting.values():  # nobody else will answer them
                if not future.done():
                    future.set_result(None)

    def close(self) -> None:
        """Close the connection, if there is one; who still waits is told that nobody answers."""
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)


class Serving:
    """The requests that came over one connection and are being answered."""

    def __init__(self, writer: asyncio.StreamWriter, serve: Serve | None) -> None:
        """Set up. serve: None where nothing is taken over."""
        self._writer = writer
        self._serve = serve
        self._tasks: dict[asyncio.Task[None], object] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def begin(self, header: dict[str, Any], body: bytes) -> None:
        """Begin to answer a request; wait for room first where too many are under way. Raises ValueError."""
        if self._serve is None:
            raise ValueError("this worker takes nothing over")
        await self._room.acquire()
        task = asyncio.create_task(self._answer(self._serve, header, body))
        self._tasks[task] = header.get("number")
        task.add_done_callback(self._done)

    def drop(self, number: object) -> None:
        """Stop answering a request that nobody waits for any more."""
        for task, each in self._tasks.items():
            if each == number:
                task.cancel()

    async def _answer(self, serve: Serve, header: dict[str, Any], body: bytes) -> None:
        found, content = await serve(header, body)
        self._writer.write(frame({**found, "number": header.get("number")}, content))
        with suppress(OSError):  # who asked went away
            await self._writer.drain()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a request of another worker could not be answered", exc_info=error)
            self._writer.close()  # better no answer than none for ever

    def close(self) -> None:
        """Drop what is under way: nobody waits for it any more."""
        for task in self._tasks:
            task.cancel()
