"""Sends what a node appends to Redis: in order, many at once, again and again until Redis has it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.buffer import Buffer, Item
from likewise.journal.redis.refusals import CommandRefused
from likewise.journal.redis.streams import Link, Names
from likewise.records import Learned

_log = logging.getLogger(__name__)
_BATCH_BYTES = 2**20
_TELL_S = 60.0
"""What is wrong is logged again after this at the soonest, however often it comes and goes."""


class _Waiter(NamedTuple):
    position: int
    dropped: int
    done: asyncio.Future[None]


class Publisher:
    """Empties a buffer into streams.

    stream_entries: about how many records a stream keeps.
    batch: most records sent at once.
    retry_s: first and longest wait before Redis is tried again.
    learned_ttl_s: how long what a node learned is kept after it was last heard of.
    """

    def __init__(
        self,
        link: Link,
        names: Names,
        buffer: Buffer,
        *,
        node: str,
        origin: str,
        stream_entries: int,
        batch: int,
        retry_s: tuple[float, float],
        learned_ttl_s: int,
    ) -> None:
        self._link = link
        self._names = names
        self._buffer = buffer
        self._node = node
        self._origin = origin
        self._stream_entries = stream_entries
        self._batch = batch
        self._retry_s = retry_s
        self._learned_ttl_s = learned_ttl_s
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._waiters: list[_Waiter] = []
        self.in_flight: Sequence[Item] = ()
        self.failure = ""
        """What is wrong at the moment, in words; empty while all is well."""
        self._told: dict[str, float] = {}
        self.written = 0
        self.written_bytes = 0
        self.write_failures = 0
        self.refused = 0
        """Records that Redis refused for what stands at their function's key."""

    def wake(self) -> None:
        """Say that something is in the buffer."""
        self._wake.set()

    async def flush(self, timeout_s: float) -> None:
        """Return when all that is in the buffer is in Redis. Raises JournalError if it is not to be had now."""
        if not len(self._buffer) and not self.in_flight:
            return
        waiter = _Waiter(self._buffer.last_position, self._buffer.dropped, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._wake.set()
        self._urgent.set()
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.done
        except TimeoutError as error:
            raise JournalError(
                f"Redis did not take what was appended within {timeout_s:g} s; it will be sent later."
            ) from error
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def run(self) -> None:
        """Send for ever; cancel it to stop."""
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._urgent.clear()
            while items := self._buffer.take(self._batch, _BATCH_BYTES):
                error = await self._send(items)
                lasting = error is not None and (len(self._buffer) > 0 or not isinstance(error, CommandRefused))
                failures = failures + 1 if lasting else 0
                self._settle(items[-1].position, error)
                if lasting:
                    await self._back_off(failures)

    async def _send(self, items: list[Item]) -> JournalError | None:
        self.in_flight = items
        left = items
        try:
            if self.failure and not self._link.clustered:
                await self._link.ask("EXISTS", self._names.functions)  # while it is away, nothing is packed in vain
            answers = await self._link.ask_many(self._commands(items))
            # One command per item, in order, then the bookkeeping.
            left = [item for item, answer in zip(items, answers, strict=False) if self._waits(item, answer)]
            errors = [answer for answer in answers if isinstance(answer, JournalError)]
            if errors:
                raise errors[0]
        except JournalError as error:
            self.write_failures += 1
            if error.detail != self.failure:
                self._tell("Redis does not take records; they wait and are sent later. %s", error.detail)
            self.failure = error.detail
            return error
        else:
            if self.failure:
                self._tell("Redis takes records again.%s", "")
                self.failure = ""
            return None
        finally:  # also when cancelled: what Redis may not have is not forgotten
            self._buffer.put_back(left)
            self.in_flight = ()
            self.written += len(items) - len(left)
            self.written_bytes += sum(len(item.frame) for item in items) - sum(len(item.frame) for item in left)

    def _waits(self, item: Item, answer: object) -> bool:
        """Say whether a record has to be sent again.

        An entry that Redis refuses for what stands at the function's key would be refused for ever, and keep back those
        of other functions; once the key is free, what lives here is published again.
        """
        if isinstance(answer, CommandRefused) and item.kind != codec.INVALIDATED:
            self.refused += 1
            return False
        return isinstance(answer, JournalError)

    def _tell(self, text: str, detail: str) -> None:
        now = time.monotonic()
        self._told = {told: at for told, at in self._told.items() if now - at < _TELL_S}
        if detail not in self._told:
            self._told[detail] = now
            _log.warning(text, detail)

    def _commands(self, items: Sequence[Item]) -> list[Sequence[str | bytes | int]]:
        commands: list[Sequence[str | bytes | int]] = []
        learned: set[str] = set()
        for item in items:
            if item.kind == codec.LEARNED:
                record = codec.decode(item.frame)
                assert isinstance(record, Learned)
                key = self._names.learned(item.function, self._node)
                learned.add(key)
                commands.append(("HSET", key, record.key_type, item.frame))
                continue
            key = self._names.stream(item.function)
            fields: tuple[str | bytes, ...] = ("n", self._origin, "r", item.frame)
            if item.again:
                fields += ("a", "1")
            commands.append(("XADD", key, "MAXLEN", "~", self._stream_entries, "*", *fields))
        functions = {item.function for item in items}
        commands.append(("SADD", self._names.functions, *functions))
        commands.extend(("EXPIRE", key, self._learned_ttl_s) for key in learned)
        return commands

    def _settle(self, position: int, error: JournalError | None) -> None:
        for waiter in self._waiters:
            if waiter.done.done():
                continue
            if error is not None:
                waiter.done.set_exception(error)
            elif self._buffer.dropped > waiter.dropped:
                waiter.done.set_exception(
                    JournalError("The journal's buffer overflowed; its oldest entries were dropped.")
                )
            elif position >= waiter.position:
                waiter.done.set_result(None)
        self._waiters = [waiter for waiter in self._waiters if not waiter.done.done()]

    async def _back_off(self, failures: int) -> None:
        first, longest = self._retry_s
        wait_s = min(longest, first * 2.0 ** min(failures - 1, 20)) * random.uniform(0.5, 1.0)
        await asyncio.sleep(first)
        try:
            async with asyncio.timeout(wait_s):
                await self._urgent.wait()
        except TimeoutError:
            return
        self._urgent.clear()
