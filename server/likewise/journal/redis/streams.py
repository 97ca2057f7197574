"""What a node knows of one function's stream in Redis: where it has read to, and what it lets in.

The keys of a function share a hash tag, so a cluster keeps them in one slot:

- `PREFIX:{name@version}:stream`: records in order, fields `n` (origin), `r` (frame), `a` (published again).
- `PREFIX:{name@version}:epoch`: a random string. Missing or changed: the stream was lost and begun anew.
- `PREFIX:{name@version}:learned:NODE`: a hash by key type of what a node's policies learned.
- `PREFIX:functions`: the set of all functions that have a stream.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from likewise.errors import JournalError
from likewise.journal import codec
from likewise.journal.withdrawals import Withdrawals
from likewise.records import Inserted, Invalidated, Record

_log = logging.getLogger(__name__)


class StreamId(NamedTuple):
    """A stream entry's id; ids of one stream only grow."""

    milliseconds: int
    number: int

    @classmethod
    def parse(cls, raw: bytes | str) -> StreamId:
        """Return the id that Redis wrote as `milliseconds-number`. Raises ValueError for what is none."""
        text = raw.decode() if isinstance(raw, bytes) else raw
        milliseconds, _, number = text.partition("-")
        found = cls(int(milliseconds), int(number or 0))
        if not 0 <= min(found) <= max(found) < 1 << 64:  # asked for again, Redis would refuse it each time
            raise ValueError(f"{text[:60]!r} is no id of a stream")
        return found

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


START = StreamId(0, 0)
StreamEntry = tuple[bytes, Mapping[bytes, bytes] | None]
"""What Redis returns for one entry: its id and its fields."""


class Amount:
    """How many entries to ask for at once, by how large they were lately: a thousand may be megabytes each."""

    def __init__(self, most: int, most_bytes: int = 8 << 20, first: int = 32) -> None:
        """Set up. most: entries at once; most_bytes: of an answer, as far as that can be told before."""
        self.count = min(most, first)
        self._most = most
        self._most_bytes = most_bytes

    def take(self, entries: Sequence[StreamEntry], count: int) -> None:
        """Take note of what came where `count` were asked for."""
        size = sum(len(fields.get(b"r", b"")) for _, fields in entries if fields)
        if size > self._most_bytes:
            self.count = max(1, len(entries) * self._most_bytes // size)
        elif len(entries) >= count and 4 * size < self._most_bytes:
            self.count = min(self._most, 4 * self.count)

    def fail(self) -> None:
        """Take note that nothing came, perhaps since all of it takes longer than an answer may."""
        self.count = max(1, self.count // 4)


class Names(NamedTuple):
    """How keys are called."""

    prefix: str

    @property
    def functions(self) -> str:
        """The set of functions that have a stream."""
        return f"{self.prefix}:functions"

    @property
    def registered(self) -> str:
        """The set of functions registered at run time, see `registration_store.py`."""
        return f"{self.prefix}:{{registered}}"

    def registered_change(self, name: str) -> str:
        """The newest change of one of them."""
        return f"{self.prefix}:{{registered}}:{name}"

    def stream(self, function: str) -> str:
        """A function's records."""
        return f"{self.prefix}:{{{function}}}:stream"

    def epoch(self, function: str) -> str:
        """The word that names a function's stream for as long as it is not lost."""
        return f"{self.prefix}:{{{function}}}:epoch"

    def learned(self, function: str, node: str) -> str:
        """What one node learned."""
        return f"{self.prefix}:{{{function}}}:learned:{node}"


class StreamStatus(NamedTuple):
    """What Redis says about a stream at one moment."""

    epoch: str
    """Empty: there is none."""
    first: StreamId | None
    last: StreamId | None
    has_position: bool
    """Whether the entry up to which this node has read is still there."""


class Stream:
    """One function's stream as this node has read it.

    origin: how this process signs what it publishes; its own records are not let in again.
    withdrawals: invalidations known to this node; shared by all its streams.
    """

    def __init__(self, function: str, origin: str, withdrawals: Withdrawals) -> None:
        self.function = function
        self.position = START
        self.epoch = ""
        self.generation = 0
        """Grows when `position` jumps back: what was asked for before is then not to be looked at."""
        self.catch_up_to = START
        """Where the stream ended when this node began to read it from its start."""
        self.emptied = False
        """Lost by Redis: this node's live entries have to be published again, once it has caught up."""
        self.seen: set[int] = set()
        """Ids found in the stream since it was lost."""
        self.begins = False
        """This node gave the stream its present epoch."""
        self.wiped = False
        """This node's entries were dropped, so its own records are let in as well until it has caught up."""
        self.unsent: dict[int, Inserted] = {}
        """By id: what this node had not sent yet when its entries were dropped."""
        self.refused = 0
        """Entries that came after they had been invalidated."""
        self.corrupt = 0
        self.broken = ""
        """Why it cannot be read, where its key or that of its epoch is no stream or word; empty: it can."""
        self._origin = origin.encode()
        self._withdrawals = withdrawals

    @property
    def caught_up(self) -> bool:
        """Whether all has been read that was there when the reading began."""
        return self.position >= self.catch_up_to

    def judge(self, status: StreamStatus) -> str:
        """Return what has become of the stream: "", "trimmed" beyond the position, or "lost" in part or whole."""
        if self.epoch and status.epoch != self.epoch:
            return "lost"
        if self.position == START or status.has_position:
            return ""
        if status.first is None or status.first <= self.position:
            return "lost"
        return "trimmed"

    def rewind(self, status: StreamStatus) -> None:
        """Read it again from its start."""
        self.position = START
        self.epoch = status.epoch
        self.catch_up_to = status.last or START
        self.generation += 1

    def admit(self, entries: Iterable[StreamEntry]) -> list[Record]:
        """Move the position behind entries and return those records of theirs that are news to this node.

        Raises ValueError, TypeError or AttributeError, and lets nothing in, where they are none of a stream, or do not
        stand behind the position.
        """
        records: list[Record] = []
        for at, fields in _read(entries, self.position):
            self.position = at
            if not fields:  # deleted inside the stream
                continue
            own = fields.get(b"n") == self._origin
            if own and not self.emptied and not self.wiped:
                continue
            try:
                record = codec.decode(fields.get(b"r", b""))
            except JournalError as error:
                self.corrupt += 1
                _log.error("Entry %s of the stream of %s is skipped: %s", self.position, self.function, error.detail)
                continue
            news = record.function == self.function and self._is_news(record, b"a" in fields)
            if news and (self.wiped or not own):
                records.append(record)
        return records

    def _is_news(self, record: Record, again: bool) -> bool:
        if isinstance(record, Invalidated):
            known = again and self._withdrawals.knows(record)
            self._withdrawals.add(record)
            return not known
        if isinstance(record, Inserted):
            entry = record.entry
            if self.emptied:
                self.seen.add(entry.id)
            if self._withdrawals.covers(self.function, entry):
                self.refused += 1
                return False
        return True


def _read(entries: Iterable[StreamEntry], position: StreamId) -> list[tuple[StreamId, Mapping[bytes, bytes] | None]]:
    """Return entries with their ids read, each of them behind the position and the one before."""
    found = []
    for raw_id, fields in entries:
        last, position = position, StreamId.parse(raw_id)
        if position <= last:
            raise ValueError(f"entry {position} stands behind {last}")
        if fields and not isinstance(fields.get(b"r", b""), bytes):
            raise ValueError(f"entry {position} holds no record")
        found.append((position, fields))
    return found


class Link(Protocol):
    """A connection to Redis. Every method raises JournalError, and nothing else, when Redis does not do it."""

    async def ask(self, *command: str | bytes | int) -> Any:
        """Send one command and return its answer."""

    async def ask_many(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Any]:
        """Send commands at once and return their answers; one that failed alone has a JournalError in its place."""

    async def read(self, positions: Mapping[str, StreamId], count: int, block_ms: int) -> dict[str, list[StreamEntry]]:
        """Return what stands behind positions by stream's key, at most `count` each; wait for it if there is none."""

    @property
    def clustered(self) -> bool:
        """Whether streams live on different servers, so that each is read by itself."""
