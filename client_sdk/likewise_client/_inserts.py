"""Inserts in the background, many in a request: sent when they are many enough, large enough or old enough.

What is to be sent is encoded when it is added, so that a result which cannot be sent raises where it comes from. There
is room for so much; who adds more waits, or sees it dropped, as asked.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from likewise_client import _entries as entries
from likewise_client._answer import Computed
from likewise_client._errors import InvalidInput, LikewiseClientError
from likewise_client._exchange import Steps

if TYPE_CHECKING:
    from typing_extensions import Self

    from likewise_client._async_client import AsyncClient
    from likewise_client._client import Client

log = logging.getLogger("likewise_client")

WhenFull = Literal["block", "drop"]


@dataclass(frozen=True)
class Batching:
    """When inserts in the background are sent, and how many may wait; `inserts` says what the fields mean."""

    entries: int = 200
    size_bytes: int = 1 << 20
    age_s: float = 1.0
    room: int = 2000
    when_full: WhenFull = "block"
    on_error: Callable[[LikewiseClientError, int], Any] | None = None

    def __post_init__(self) -> None:
        for name in ("entries", "size_bytes", "room"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise InvalidInput(f"inserts: {name} is a whole number, at least 1, not {getattr(self, name)!r}")
        if self.entries > entries.MOST_ENTRIES:
            raise InvalidInput(f"inserts: entries is at most {entries.MOST_ENTRIES}, as much as one request carries")
        if not isinstance(self.age_s, (int, float)) or not 0 <= self.age_s < math.inf:
            raise InvalidInput(f"inserts: age_s is a number of seconds, at least 0, not {self.age_s!r}")
        if self.when_full not in ("block", "drop"):
            raise InvalidInput(f"inserts: when_full is 'block' or 'drop', not {self.when_full!r}")


class Waiting:
    """The inserts that wait, and what became of the others. No lock and no clock of its own."""

    def __init__(self, function: str, batching: Batching) -> None:
        self.function = function
        self.batching = batching
        self.sent = 0
        """Inserts that a server took."""
        self.dropped = 0
        """Inserts that found no room."""
        self.lost = 0
        """Inserts whose request failed for good."""
        self._entries: deque[tuple[bytes, float]] = deque()
        self._bytes = 0
        self.under_way = 0
        self.flushing = False

    def __len__(self) -> int:
        return len(self._entries) + self.under_way

    @property
    def is_full(self) -> bool:
        """Whether another one has to wait, or is dropped."""
        return len(self) >= self.batching.room

    def add(self, entry: bytes, now: float) -> None:
        """Take one in."""
        self._entries.append((entry, now))
        self._bytes += len(entry)

    def wait_s(self, now: float) -> float:
        """Return the seconds until a request is due; 0: now, infinity: nothing waits."""
        if not self._entries:
            return math.inf
        batching = self.batching
        if self.flushing or len(self._entries) >= batching.entries or self._bytes >= batching.size_bytes:
            return 0.0
        return max(0.0, self._entries[0][1] + batching.age_s - now)

    def take(self) -> list[bytes]:
        """Return what the next request carries; it is under way from now on."""
        taken: list[bytes] = []
        size = 0
        while self._entries and len(taken) < self.batching.entries and (not taken or size < self.batching.size_bytes):
            entry, _ = self._entries.popleft()
            taken.append(entry)
            size += len(entry)
        self._bytes -= size
        self.under_way = len(taken)
        return taken

    def done(self, error: LikewiseClientError | None) -> None:
        """Take note of how the request that was under way ended."""
        count, self.under_way = self.under_way, 0
        if error is None:
            self.sent += count
            return
        self.lost += count
        log.warning("%s: %d computed results could not be shared: %s", self.function, count, error)
        if self.batching.on_error is not None:
            try:
                self.batching.on_error(error, count)
            except Exception:  # an app's telemetry never ends the sending
                log.exception("on_error raised, which is ignored")


class _Inserts:
    """What both kinds have in common."""

    def __init__(self, client: Any, function: str, batching: Batching) -> None:
        self._client = client
        self._waiting = Waiting(function, batching)
        self._exchange = client._operations.exchange
        self._closed = False

    def __len__(self) -> int:
        """Return how many are not through yet."""
        return len(self._waiting)

    @property
    def sent(self) -> int:
        """Inserts that a server took."""
        return self._waiting.sent

    @property
    def dropped(self) -> int:
        """Inserts that found no room, with `when_full="drop"`."""
        return self._waiting.dropped

    @property
    def lost(self) -> int:
        """Inserts whose request failed, after retries."""
        return self._waiting.lost

    def _encoded(self, computed: Computed) -> bytes:
        if self._closed:
            raise InvalidInput("these inserts were closed; ask the client for new ones")
        return entries.encoded_entry(computed)

    def _send(self, batch: list[bytes]) -> Steps[Any]:
        return self._exchange.run(entries.insert_encoded(self._waiting.function, batch))  # type: ignore[no-any-return]

    def _has_room(self) -> bool | None:
        """Whether there is room; None: there is none, and it is to be dropped."""
        if not self._waiting.is_full:
            return True
        if self._waiting.batching.when_full == "block":
            return False
        self._waiting.dropped += 1
        return None


class Inserts(_Inserts):
    """Inserts of a `Client` in the background, on a thread of its own; see `Client.inserts`. Used in a `with` block."""

    def __init__(self, client: Client, function: str, batching: Batching) -> None:
        super().__init__(client, function, batching)
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"likewise-inserts-{function}", daemon=True)
        self._thread.start()

    def add(self, computed: Computed) -> bool:
        """Share a result some time soon; return False where it was dropped for want of room.

        Raises InvalidInput for what cannot be sent.
        """
        entry = self._encoded(computed)
        with self._change:
            while (room := self._has_room()) is False:
                self._change.wait()
            if room:
                self._waiting.add(entry, self._exchange.clock())
                self._change.notify_all()
            return bool(room)

    def flush(self) -> None:
        """Send all that waits, and return once that is through."""
        with self._change:
            self._waiting.flushing = True
            self._change.notify_all()
            while len(self._waiting):
                self._change.wait()
            self._waiting.flushing = False

    def close(self) -> None:
        """Send all that waits, and end the thread."""
        with self._change:
            self._closed = self._waiting.flushing = True
            self._change.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while True:
            with self._change:
                while (wait_s := self._waiting.wait_s(self._exchange.clock())) > 0:
                    if self._closed:
                        return
                    self._change.wait(None if wait_s == math.inf else wait_s)
                batch = self._waiting.take()
            failure: LikewiseClientError | None = None
            try:
                self._client._drive(self._send(batch))
            except LikewiseClientError as error:
                failure = error
            with self._change:
                self._waiting.done(failure)
                self._change.notify_all()


class AsyncInserts(_Inserts):
    """Inserts of an `AsyncClient` in the background, in a task; see `Client.inserts`. Used in an `async with` block."""

    def __init__(self, client: AsyncClient, function: str, batching: Batching) -> None:
        super().__init__(client, function, batching)
        self._change = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def add(self, computed: Computed) -> bool:
        """Share a result some time soon; see `Inserts.add`."""
        entry = self._encoded(computed)
        async with self._change:
            if self._task is None:
                self._task = asyncio.create_task(self._work())
            while (room := self._has_room()) is False:
                await self._change.wait()
            if room:
                self._waiting.add(entry, self._exchange.clock())
                self._change.notify_all()
            return bool(room)

    async def flush(self) -> None:
        """Send all that waits, and return once that is through."""
        async with self._change:
            self._waiting.flushing = True
            self._change.notify_all()
            while len(self._waiting):
                await self._change.wait()
            self._waiting.flushing = False

    async def aclose(self) -> None:
        """Send all that waits, and end the task."""
        async with self._change:
            self._closed = self._waiting.flushing = True
            self._change.notify_all()
        if self._task is not None:
            await self._task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _work(self) -> None:
        while True:
            async with self._change:
                while (wait_s := self._waiting.wait_s(self._exchange.clock())) > 0:
                    if self._closed:
                        return
                    with suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._change.wait(), None if wait_s == math.inf else wait_s)
                batch = self._waiting.take()
            failure: LikewiseClientError | None = None
            try:
                await self._client._drive(self._send(batch))
            except LikewiseClientError as error:
                failure = error
            async with self._change:
                self._waiting.done(failure)
                self._change.notify_all()
