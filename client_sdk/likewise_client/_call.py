"""One request as a value: what to send, whether it may be repeated, how to read the answer, until when it is of use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from likewise_client._answer import Answer, Ticket
from likewise_client._errors import InvalidInput, TimedOut
from likewise_client._reply import Reply

T = TypeVar("T")


@dataclass(frozen=True)
class Local:
    """What a device's own tier has to know of a request that it may answer."""

    function: str
    value: Any
    body: bytes
    media_type: str
    key: NDArray[np.float32] | None = None
    """Of a lookup by key; None: the key is made from the value."""
    max_age_s: float | None = None
    min_fresh_s: float | None = None

    @property
    def lookup(self) -> bool:
        """Whether it is a lookup by key."""
        return self.key is not None


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, not yet bound to a node."""

    method: str
    path: str
    """Path and query, beginning with a slash."""
    read: Callable[[Reply, str], T]
    """Turns a successful response of a node into the value that the caller gets."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    function: str = ""
    """As the app named it."""
    repeatable: bool = True
    """Safe to send again even if the server may have seen it."""
    operation: str = ""
    """What the app called."""
    owner: str = ""
    """What the node is chosen by, where it is not the function."""
    deadline_s: float | None = None
    """Seconds after which an answer is of no use to the app; None: none."""
    local: Local | None = None
    """What a device's own tier may answer; None: nothing."""
    where: str = "edge"
    """Where it is computed: "edge", "device", "auto"."""


def within(call: Call[T], deadline_s: float | None) -> Call[T]:
    """Return a call with a deadline, in seconds from when it is made."""
    if deadline_s is None:
        return call
    if not isinstance(deadline_s, (int, float)) or not 0 < deadline_s < math.inf:
        raise InvalidInput(f"deadline_s is a number of seconds above 0, not {deadline_s!r}")
    return replace(call, deadline_s=deadline_s)


def later(call: Call[T], spent_s: float) -> Call[T]:
    """Return a call with what is left of its deadline. Raises TimedOut where nothing is."""
    if call.deadline_s is None:
        return call
    if spent_s >= call.deadline_s:
        raise TimedOut(f"the deadline of {call.deadline_s:g} s passed before the input could be sent")
    return replace(call, deadline_s=call.deadline_s - spent_s)


def for_ticket(call: Call[Answer], ticket: Ticket | None) -> Call[Answer]:
    """Return an inference that settles the ticket of the lookup before it, past the device's own tier."""
    return replace(call, headers={**call.headers, "Likewise-Ticket": ticket}, local=None) if ticket else call
