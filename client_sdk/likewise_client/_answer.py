"""What goes and comes: answers, tickets, results to insert, entries that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from numpy.typing import ArrayLike

from likewise_client._errors import MalformedAnswer
from likewise_client._typed import read_result
from likewise_client._wire import Input

T = TypeVar("T")

Outcome = Literal["hit", "miss", "probe", "coalesced", "variant"]
"""What became of a request: reused, computed, computed to check, shared with one in flight, or by a cheaper model."""


class Ticket(str):
    """Names a lookup that found nothing, for the insert that follows. Good for a minute, once.

    `node` is where it is good; a client with several nodes sends the insert there.
    """

    node: str

    def __new__(cls, value: str, node: str = "") -> Ticket:
        """Make a ticket as the server wrote it."""
        ticket = super().__new__(cls, value)
        ticket.node = node
        return ticket

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # copies and pickles keep the node
        return str(self), self.node


@dataclass(frozen=True)
class Answer:
    """The answer to `infer` or `lookup`, and how it came about."""

    outcome: Outcome
    result: Any = None
    """JSON as Python values, .npy as an array, text as str, else bytes. None where a lookup found nothing."""
    body: bytes = field(default=b"", repr=False)
    """The result's raw bytes; empty where there is none."""
    media_type: str = ""
    """Media type of `body`, without parameters; empty where there is none."""
    entry: str | None = None
    """16 hexadecimal digits: the entry it came from or was stored as; None where nothing was stored."""
    age_s: float = 0.0
    """Seconds since the result was computed; 0 for a fresh one."""
    ttl_s: float | None = None
    """Seconds for which it stays valid; None where the server did not say."""
    stored: bool = False
    """The computed result was kept as an entry."""
    ticket: Ticket | None = None
    """On a lookup without a result: pass it to `insert` with what you compute."""
    node: str = ""
    """Base URL of the server that answered."""
    detail: str = ""
    """Why, as the server puts it: "exact" on a hit of the very same input, "probe", "coalesced"; may be empty."""
    variant: str = ""
    """The variant of the model that computed it; empty: the full model did, or nobody did now."""
    source: Literal["server", "device"] = "server"
    """Who answered: a server, or this device; then `detail` is "near", "exact", "offline" or "computed"."""

    @property
    def from_device(self) -> bool:
        """Whether this device answered by itself, without a server."""
        return self.source == "device"

    @property
    def from_cache(self) -> bool:
        """Whether the result was reused: a hit, or coalesced with a request in flight."""
        return self.outcome in ("hit", "coalesced")

    def as_(self, kind: type[T]) -> T:
        """Return the result as a value of a type, such as `Label`, `Detections`, a dataclass or a TypedDict.

        Models of pydantic's validate it themselves. Members that the type does not name are passed over.
        Raises MalformedAnswer, naming the place, for a result that does not fit, or where there is none.
        """
        if not self.found:
            raise MalformedAnswer(f"there is no result to read: nothing was found ({self.outcome})")
        return read_result(self.result, kind)

    @property
    def found(self) -> bool:
        """Whether there is a result: always after `infer`, on a hit after `lookup`."""
        return bool(self.media_type)


@dataclass(frozen=True)
class Inserted:
    """What became of an insert."""

    id: str | None
    """16 hexadecimal digits, or None where keeping it would have added nothing."""
    stored: bool


@dataclass(frozen=True)
class Computed:
    """A result that the device computed, for `insert_many`; its fields are what `insert` takes."""

    result: Any
    """Anything JSON holds, a NumPy array (as .npy), or bytes of `result_media_type`."""
    key: ArrayLike | None = None
    keys: Mapping[str, ArrayLike] | None = None
    input: Input | None = None
    media_type: str | None = None
    result_media_type: str | None = None
    cost_s: float | None = None
    ttl_s: float | None = None
    tags: Sequence[str] = ()
    ticket: str | None = None


@dataclass(frozen=True)
class Entry:
    """An entry that a server keeps, without keys and result."""

    id: str
    """16 hexadecimal digits."""
    label: str
    """What makes its result equal to others."""
    media_type: str
    size_bytes: int
    """Length of the result."""
    cost_s: float
    """Seconds it took to compute."""
    use_count: int
    """How often it was reused."""
    age_s: float
    ttl_s: float | None
    """Seconds for which it stays valid; None: without end."""
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Some of a function's entries, in the order of insertion."""

    entries: tuple[Entry, ...]
    after: str | None
    """Where the next page begins, at the same node; None: this was the last."""
    node: str
    """Base URL of the server that answered."""
