"""What is asked and what is answered: a request as the pipeline sees it, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from likewise.types import Input, Key, Neighbors, Result, Session


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


@dataclass(frozen=True, slots=True)
class Control:
    """What a request's Cache-Control asks for. Source: RFC 9111, section 5.2.1."""

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


NO_CONTROL = Control()


@dataclass(slots=True)
class Asked:
    """One request as the pipeline sees it: what is asked for, by whom, and how long its stages took so far."""

    key_type: str
    key: Key
    session: Session | None = None
    """The device that asks; None where it is not known, or is to leave no trace."""
    control: Control = NO_CONTROL
    started: float = 0.0
    """When it came, by perf_counter; it is over when it is answered."""
    limit: float = float("inf")
    """Tokens that a probe of it may reserve at most."""
    body: bytes = b""
    value: Input | None = None
    """The decoded input; None for a lookup by key."""
    digest: bytes = b""
    """Stands for what the model sees, 16 bytes; empty: not known, so nothing is an exact repeat of it."""
    signature: str = ""
    """Type and shape of an input that may have several; only entries with the same one are its neighbors."""
    neighbors: Neighbors | None = None
    """Its neighbors, once they were looked up."""
    read_s: float = -1.0
    lookup_s: float = -1.0
    decide_s: float = -1.0
    infer_s: float = -1.0
