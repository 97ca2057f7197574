"""The seams: what the core asks of indexes, policies, models and journals, and nothing more."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from likewise.errors import Overloaded
from likewise.records import EntryBlock, Record, Registered
from likewise.requests import Asked
from likewise.types import (
    Entry,
    Halfway,
    Input,
    Key,
    Keys,
    Lesson,
    Neighbors,
    PolicyStatistics,
    Result,
    Sample,
    Session,
    Slots,
    Tensor,
    Verdict,
)


class Index(Protocol):
    """Nearest-neighbor search over keys of one dimension, by L2 distance. Owned by one event loop."""

    @property
    def dimension(self) -> int:
        """Length of a key."""

    def __len__(self) -> int:
        """Return the number of live keys."""

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in the index; keys has shape (n, dimension)."""

    def remove(self, slots: Slots) -> None:
        """Take slots out; unknown ones are a no-op. A removed slot is never found again and may be added anew."""

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots), both of shape (n, k), nearest first; +inf and -1 where there are fewer than k."""

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) of the at most k nearest keys, nearest first, without padding."""

    def memory_bytes(self) -> int:
        """Return the bytes it holds, keys included, to a good estimate."""


class Projection(Protocol):
    """A map from keys as they come to keys that are searched instead. Never changes; any thread may call it."""

    @property
    def dimension(self) -> int:
        """Length of a projected key."""

    def one(self, key: Key) -> Key:
        """Return one projected key, shape (dimension,)."""

    def many(self, keys: Keys) -> Keys:
        """Return projected keys, shape (n, dimension)."""


class Policy(Protocol):
    """Decides where reuse is safe, and learns from what was computed. Pure: no clock, no lock, no I/O."""

    def decide(
        self,
        neighbors: Neighbors,
        session: Session | None = None,
        ledger: Any = None,
        limit: float = math.inf,
        deferred: bool = False,
    ) -> Verdict:
        """Return the verdict for one request and account for it; call exactly once per request.

        session: that of the device that asks, where it is known; a policy that uses it also writes it.
        ledger: that of the account that asks; None: the one that all share. Policies without a promise ignore it.
        limit: tokens that a probe may reserve; where that is 0, nothing is reused that would have to be probed.
        deferred: somebody else settles it, and may never do so.
        """

    def confident(self, neighbors: Neighbors, ledger: Any = None) -> bool:
        """Say whether such neighbors would be reused, without accounting for anything (for coalescing)."""

    def learn(self, verdict: Verdict, label: int) -> Lesson:
        """Take in the computed label of a request; `verdict` is what `decide` returned for it, unchanged."""

    def abandon(self, verdict: Verdict) -> None:
        """Say that no answer will come for a verdict to compute (the model failed, the device went away)."""

    def statistics(self) -> PolicyStatistics:
        """Return a snapshot of the counters."""

    def state(self) -> Mapping[str, Any]:
        """Return all that was learned, JSON-able, for the journal."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned once, in this or an earlier process. Raises InvalidValue if unusable."""


@runtime_checkable
class LearnsFromPeers(Protocol):
    """What a policy has besides, that learns from computed requests of other nodes."""

    @property
    def evidence_schema(self) -> str:
        """Names what the numbers of its evidence are; policies with one schema can learn from each other."""

    def sample(self, verdict: Verdict, wrong: bool) -> Sample | None:
        """Return what others may learn from a verdict, now that it was computed; None: nothing."""

    def observe(self, samples: Iterable[Sample]) -> None:
        """Take in another node's samples; spends nothing. Raises InvalidValue for what cannot be a sample."""


@runtime_checkable
class ForeseesErrors(Protocol):
    """What a policy has besides, that knows how likely reuse is wrong."""

    def foreseen_error(self, neighbors: Neighbors, session: Session | None = None) -> float:
        """Return the probability that the result which would be reused is wrong, without accounting for anything.

        session: that of the device that asks. 1 where nothing would be reused.
        """


class Extractor(Protocol):
    """Turns a decoded input into a key."""

    @property
    def dimension(self) -> int:
        """Length of the key."""

    def __call__(self, value: Input) -> Key:
        """Return the key: shape (dimension,), float32, finite. Raises InvalidValue for an input it cannot take."""


class Model(Protocol):
    """A loaded model. `run` blocks and may be called from several threads."""

    def run(self, batch: Tensor) -> Sequence[Tensor]:
        """Return the outputs for a batch of shape (n, ...). Raises ModelFailed."""

    @property
    def dynamic_batch(self) -> bool:
        """True where n may be anything, False where the model takes one at a time."""


class Runner(Protocol):
    """What computes a function's results in full: a local model, or another server. Belongs to one event loop."""

    async def run(
        self,
        value: Input | Halfway,
        *,
        probe: bool,
        within_s: float = float("inf"),
        account: str = "",
        wanted: asyncio.Future[None] | None = None,
    ) -> tuple[Result, float]:
        """Return the result for an input and what it cost, in seconds.

        probe: nobody else may make it fail for want of room; it may take long. Cancelled before it began, nothing is
        computed. within_s: raise DeadlineExceeded where it has not begun by then; a probe is owed, and begins all the
        same. account: who asks, of those that share what there is. wanted: done once others wait for the result, too:
        it had better come soon. Raises Overloaded, ModelFailed, InvalidValue.
        """

    def takes_probes(self, account: str) -> bool:
        """Say whether one more probe of an account would be settled soon; if not, it should begin none."""

    def expect_probes(self, expected: Callable[[], bool]) -> None:
        """Take note of what says whether a probe may be about to come, which it would be well to have room for."""

    @property
    def patience_s(self) -> float:
        """How long a request should wait at most."""

    @property
    def mean_cost_s(self) -> float:
        """Moving average of what a result costs, in seconds."""

    @property
    def queued(self) -> int:
        """Inputs that wait."""

    @property
    def wait_s(self) -> float:
        """Seconds that one more input would take that is no probe, as far as can be told; 0 where nothing waits."""

    @property
    def computed(self) -> int:
        """Inputs computed so far."""

    def overloaded(self, why: str) -> Overloaded:
        """Return the error for a request that cannot wait any longer."""


class Rung(Protocol):
    """A way to an answer that is cheaper than to compute it; a function's rungs, in order of cost, are its ladder."""

    def offer(self, asked: Asked) -> Verdict | None:
        """Return what it offers for a request: to reuse an entry, or why not; None: it has nothing to say.

        Accounts for the request, so it is to be called once for each.
        """


class Registrations(Protocol):
    """The functions registered at run time that this node keeps."""

    def kept(self) -> Mapping[str, float]:
        """Return when each was registered, in seconds since the Unix epoch, by name without version; quick."""

    def registration(self, name: str) -> Registered | None:
        """Return one with its files, or None if it is not kept (any more). Reads files: call it off the event loop."""


class Journal(Protocol):
    """The truth from which indexes are derived. `append` never blocks the event loop."""

    @property
    def shared(self) -> bool:
        """Whether other nodes read what this one appends."""

    async def start(self) -> None:
        """Open what has to be opened. Raises JournalError with a remedy."""

    def append(self, record: Record) -> None:
        """Buffer one record for writing, in order; dropped and counted when the buffer is full.

        What only other nodes have a use for (observed, registered, unregistered) is not kept where there are none.
        """

    async def flush(self) -> None:
        """Return when everything appended so far is as durable as this journal makes it. Raises JournalError."""

    def blocks(self) -> AsyncIterator[EntryBlock]:
        """Yield live entries from the last snapshot, many at once; a `replay` after it yields only the rest.

        Nothing where there is no snapshot. An id may come again in the replay: the first one counts.
        """

    def replay(self) -> AsyncIterator[Sequence[Record]]:
        """Yield all records kept, oldest first, in batches; live entries only where the journal can tell."""

    def follow(self) -> AsyncIterator[Sequence[Record]]:
        """Yield what other nodes append, in order, for ever; ends at once where there are no other nodes."""

    async def seal(self, blocks: Iterable[EntryBlock], *, prune: bool = True) -> None:
        """Keep a snapshot of all live entries, as of this call or later, for `blocks` after a restart.

        With `prune`, other entries of the functions named are forgotten. Raises JournalError.
        """

    def sealed(self) -> tuple[Path, str] | None:
        """Return where the last snapshot is and a digest that tells it from others; None: there is none. Any thread."""

    def supply(self, live: Callable[[str], Iterable[Entry]], registrations: Registrations | None = None) -> None:
        """Say where this node's live entries of a function are, and the functions registered at run time.

        For a journal that may lose them and ask back, or that other nodes read.
        """

    def expect(self, function: str) -> None:
        """Say that this node serves a function from now on, `name@version`: all that others have of it is to come."""

    @property
    def failure(self) -> str:
        """What is wrong at the moment, in words; empty while all is well."""

    @property
    def damage(self) -> str:
        """What was found damaged since the start, and what to do about it, in words; empty: nothing."""

    def statistics(self) -> Mapping[str, float]:
        """Return counters and gauges by name: appended, written, dropped, pending, bytes, up (1 or 0), ..."""

    async def close(self) -> None:
        """Flush within a bounded time and release everything."""
