"""What is asked and what is answered: a request as the pipeline sees it, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from time import perf_counter
from typing import Any, NamedTuple

from likewise.types import Halfway, Input, Key, Neighbors, Result, Session

_FOREVER = float("inf")


class Outcome(StrEnum):
    """What became of a request, after acting."""

    HIT = "hit"
    EXACT = "exact"
    """A hit for the very input that was computed before: it cannot be false."""
    COALESCED = "coalesced"
    """Answered with an inference that was in flight already."""
    VARIANT = "variant"
    """Computed by a cheaper model of the same function, within the error budget."""
    MISS = "miss"
    PROBE = "probe"
    BYPASS = "bypass"
    """Computed for a request that is to leave no trace."""


class Answer(NamedTuple):
    """What a request gets back, and how it came about."""

    result: Result
    outcome: Outcome
    reason: str
    entry_id: int = -1
    """The entry it came from or was stored as; -1 where nothing was stored."""
    age_s: float = 0.0
    ttl_s: float = float("inf")
    stored: bool = False
    confidence: float = float("-inf")
    variant: str = ""
    """Name of the variant that computed it; empty: none did."""


class Ticket(NamedTuple):
    """A lookup's answer where nothing is safe to reuse: name it when inserting what was computed."""

    token: str
    """Empty for a request that is to leave no trace."""
    outcome: Outcome
    """Miss; or probe: reuse looked safe, but is to be checked; or bypass."""


class StreamTag(NamedTuple):
    """Which stream a frame belongs to."""

    name: str
    number: int = -1
    """Its place in the stream, ascending; -1: frames are taken in the order in which they come."""
    drop_late: bool = False
    """Whether a frame that comes after a newer one is refused."""


@dataclass(frozen=True, slots=True)
class Control:
    """What a request's Cache-Control asks for (RFC 9111, section 5.2.1), its stream, and how long it waits."""

    no_cache: bool = False
    """Compute, then learn from it and keep it."""
    no_store: bool = False
    """Compute, and leave no trace."""
    only_if_cached: bool = False
    """Never compute for this answer."""
    max_age_s: float = float("inf")
    """Reuse only entries at most this old."""
    min_fresh_s: float = 0.0
    """Reuse only entries that stay valid for at least this long."""
    stream: StreamTag | None = None
    """The camera that the input is a frame of."""
    timeout_s: float = float("inf")
    """An answer that takes longer is of no use; counted from when the request is read."""
    claim: Any = None
    """The probe that a device makes by its lease; goes with `no_cache`."""


NO_CONTROL = Control()


@dataclass(eq=False)
class Asked:
    """One request as the pipeline sees it: what is asked for, by whom, and how long its stages took so far.

    Made for each request, so what most of them leave at its default stays with the class.
    """

    key_type: str
    key: Key
    session: Session | None = None
    """The device that asks; None where it is not known. One that is to leave no trace is in no list of devices."""
    control: Control = NO_CONTROL
    started: float = 0.0
    """When it came, by perf_counter; it is over when it is answered."""
    limit: float = float("inf")
    """Tokens that a probe of it may reserve at most."""
    deferred: bool = False
    """Whether a device settles its probe, and may never do so."""
    media_type: str = field(default="", init=False)
    body: bytes = field(default=b"", init=False)
    value: Input | None = field(default=None, init=False)
    """The decoded input; None for a lookup by key, and until it is needed where the same bytes came before."""
    decode: Callable[[str, bytes], Input] | None = field(default=None, init=False)
    """Decodes the body again."""
    large: bool = field(default=False, init=False)
    """Whether it was read off the event loop: whatever else takes the input has to stay off it, too."""
    body_digest: bytes = field(default=b"", init=False)
    """SHA-256 of a large body, which would take long to be hashed on the event loop."""
    others: dict[str, Key] | None = field(default=None, init=False)
    """Its keys of other types than the primary one, by name, of a large input; None: not made yet."""
    halfway: Halfway | None = field(default=None, init=False)
    """How far the model has come with it, where an early layer of the model made the key."""
    digest: bytes = field(default=b"", init=False)
    """Stands for what the model sees, 16 bytes; empty: not known, so nothing is an exact repeat of it."""
    signature: str = field(default="", init=False)
    """Type and shape of an input that may have several; only entries with the same one are its neighbors."""
    neighbors: Neighbors | None = field(default=None, init=False)
    """Its neighbors, once they were looked up."""
    offered: Any = field(default=None, init=False)
    """What its stream has for it; the streams' business."""
    wanted: asyncio.Future[None] | None = field(default=None, init=False)
    """Done once others wait for its result, too; None: nobody can."""
    opinions_s: float = field(default=0.0, init=False)
    """What variants took of it that nobody has accounted for yet."""
    read_s: float = field(default=-1.0, init=False)
    lookup_s: float = field(default=-1.0, init=False)
    decide_s: float = field(default=-1.0, init=False)
    infer_s: float = field(default=-1.0, init=False)

    @property
    def account(self) -> str:
        """Whose budgets it spends; empty: those that all without an access key share."""
        return "" if self.session is None else self.session.account

    @property
    def identity(self) -> bytes:
        """Stands for the very bytes that were sent."""
        return self.body_digest or self.body

    def decoded(self) -> Input:
        """Return the decoded input of a request that has one."""
        if self.value is None:
            assert self.decode is not None
            self.value = self.decode(self.media_type, self.body)
        return self.value

    @property
    def left_s(self) -> float:
        """Seconds for which an answer is still of use."""
        timeout_s = self.control.timeout_s
        return timeout_s if timeout_s == _FOREVER else timeout_s - (perf_counter() - self.started)
