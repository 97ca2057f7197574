"""How a worker reaches the others of its server: a private Unix socket for each, in a folder of the supervisor's.

A lookup may meet one worker and the insert that names its ticket another. The verdict that the ticket stands for, and
the budget that it holds, are the first one's, so the second asks it to learn. An answer that does not come in time
counts as that of a ticket that nobody knows: the result is kept, and nothing is learned from it.

A frame may meet one worker and the state of its stream be another's: that one answers it (`workers.relay`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likewise.errors import LikewiseError
from likewise.types import Result
from likewise.workers.frames import MAX_ANSWER_BYTES, frame, read_frame
from likewise.workers.relay import Relay, Serve, Serving

log = logging.getLogger("likewise.workers")

TIMEOUT_S = 2.0
"""Longest that another worker is waited for."""
CONNECTIONS = 4
"""Connections that one worker takes from each of the others; more are closed."""

Learn = Callable[[str, str, Result, str], bool | None]
"""Takes a function's `name@version`, a ticket, and the result that was computed for it.

Returns whether the result is worth keeping; None: the ticket is not known.
"""
Report = Callable[[str], bytes]
"""Returns what is asked for of this worker alone, such as its metrics."""


@dataclass(frozen=True, slots=True)
class Place:
    """One of several workers."""

    folder: Path
    """Where the sockets are; only the user that serves gets in."""
    number: int
    """From 0 up."""
    count: int

    @property
    def prefix(self) -> str:
        """What the tickets of this worker begin with."""
        return f"{self.number}."

    def socket(self, number: int) -> Path:
        """Where worker `number` listens for the others."""
        return self.folder / f"{number}.sock"


class WorkerLink:
    """The side of one worker: answers the others, and asks them. Owned by its event loop."""

    def __init__(
        self,
        place: Place,
        learn: Learn,
        report: Report,
        *,
        max_result_bytes: int = 1 << 24,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Set up. learn, report: called for the others; max_result_bytes: of results that they bring."""
        self.place = place
        self._learn = learn
        self._report = report
        self._max_result_bytes = max_result_bytes
        self._others = {
            number: _Other(place.socket(number), timeout_s) for number in range(place.count) if number != place.number
        }
        self._served: set[asyncio.Task[None]] = set()
        self._serving: Serve | None = None
        self._relays = {number: Relay(place.socket(number)) for number in self._others}

    def serve(self, answer: Serve) -> None:
        """Have requests that other workers hand over answered. answer: from a header and a body to the same."""
        self._serving = answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen for the others while the block runs."""
        path = self.place.socket(self.place.number)
        path.unlink(missing_ok=True)  # of a worker of this number that was killed
        server = await asyncio.start_unix_server(self._serve, path)
        path.chmod(0o600)
        try:
            yield
        finally:
            server.close()
            for task in list(self._served):
                task.cancel()
            await asyncio.gather(*self._served, return_exceptions=True)
            for other in self._others.values():
                other.close()
            for relay in self._relays.values():
                relay.close()
            path.unlink(missing_ok=True)

    def owner(self, ticket: str) -> int | None:
        """Return which other worker issued a ticket; None: this one, or none that there is."""
        number, dot, _ = ticket.partition(".")
        other = int(number) if dot and number.isascii() and number.isdecimal() and len(number) < 5 else -1
        return other if other in self._others else None

    async def redeem(self, function: str, ticket: str, result: Result, account: str) -> bool | None:
        """Have the owner of a ticket learn from a result; return whether to keep it, None for an unknown ticket."""
        owner = self.owner(ticket)
        if owner is None:
            return None
        header = {"what": "redeem", "function": function, "ticket": ticket, "account": account}
        header["media_type"] = result.media_type
        answer = await self._others[owner].ask(header, result.body)
        keep = answer[0].get("keep") if answer else None
        return keep if isinstance(keep, bool) else None

    async def ask(self, number: int, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes] | None:
        """Hand a request over to another worker and return its answer, a header and a body; None where it is away.

        Requests reach it in the order of the calls, and are answered side by side.
        """
        return await self._relays[number].ask(header, body)

    async def collect(self, what: str) -> dict[int, bytes]:
        """Return what each other worker reports, by its number; those that do not answer in time are missing."""
        numbers = list(self._others)
        answers = await asyncio.gather(
            *(self._others[number].ask({"what": "report", "report": what}) for number in numbers)
        )
        return {number: answer[1] for number, answer in zip(numbers, answers, strict=True) if answer is not None}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        serving = Serving(writer, self._serving)
        try:
            while len(self._served) <= CONNECTIONS * self.place.count:
                header, body = await read_frame(reader, self._max_result_bytes)
                if header.get("what") == "serve":
                    await serving.begin(header, body)
                    continue
                if header.get("what") == "drop":
                    serving.drop(header.get("number"))
                    continue
                writer.write(self._answer(header, body))
                await writer.drain()
        except (EOFError, OSError, ValueError, asyncio.CancelledError):
            return  # it went away, or is none of ours
        except Exception:
            log.exception("another worker could not be answered")
        finally:
            self._served.discard(task)
            serving.close()
            writer.close()

    def _answer(self, header: dict[str, Any], body: bytes) -> bytes:
        if header.get("what") == "redeem":
            result = Result(body, str(header.get("media_type")))
            try:
                function, ticket, account = (str(header.get(each)) for each in ("function", "ticket", "account"))
                keep = self._learn(function, ticket, result, account)
            except LikewiseError:  # the function is served here no more, or not yet
                keep = None
            return frame({"keep": keep})
        return frame({}, self._report(str(header.get("report"))))


class _Other:
    """One other worker, asked one thing at a time over a connection that is kept."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, header: dict[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytes] | None:
        """Return its answer; None where there is none in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s), self._lock:
                # a kept connection may be of a worker that was killed: once more over another
                for _ in range(2 if self._streams else 1):
                    try:
                        return await self._exchange(frame(header, body))
                    except (EOFError, OSError, ValueError):
                        self.close()
                    except BaseException:
                        self.close()  # what comes late must not be taken for the next answer
                        raise
        return None

    async def _exchange(self, message: bytes) -> tuple[dict[str, Any], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(self._path)
        reader, writer = self._streams
        writer.write(message)
        await writer.drain()
        return await read_frame(reader, MAX_ANSWER_BYTES)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
