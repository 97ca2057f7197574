"""What comes back: answers, tickets, confirmations of inserts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["hit", "miss", "probe", "coalesced"]
"""What became of a request: reused, computed, computed to check, or shared with one in flight."""


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


@dataclass(frozen=True, slots=True)
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

    @property
    def from_cache(self) -> bool:
        """Whether the result was reused: a hit, or coalesced with a request in flight."""
        return self.outcome in ("hit", "coalesced")

    @property
    def found(self) -> bool:
        """Whether there is a result: always after `infer`, on a hit after `lookup`."""
        return bool(self.media_type)


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of an insert."""

    id: str | None
    """16 hexadecimal digits, or None where keeping it would have added nothing."""
    stored: bool
