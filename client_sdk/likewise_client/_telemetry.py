"""What a client tells its app of the calls that it made: an event for each, and sums of all."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

from likewise_client._answer import Answer, Outcome
from likewise_client._calls import Call
from likewise_client._errors import LikewiseClientError

log = logging.getLogger("likewise_client")


CHECK = "check"
"""The operation of a request that checks, in the background, what the device answered by itself."""


class Event(NamedTuple):
    """One call, with all its attempts, and how it ended."""

    operation: str
    """What was called: "infer", "lookup", "insert", …; "check" for what the client checks in the background."""
    function: str
    """As it was named; empty for a call about no function."""
    node: str
    """Base URL of the node asked last; empty where none could be, or the device answered by itself."""
    outcome: Outcome | None
    """That of an answer to `infer`, or to a `lookup` of one key or input; None for other calls, and for an error."""
    latency_s: float
    """From the call to its end, backoff included."""
    attempts: int
    """Requests sent; 0 where no node could be asked, or the device answered by itself."""
    bytes_sent: int
    """Heads and bodies of all answered requests, as HTTP/1.1 writes them."""
    bytes_received: int
    """Heads and bodies of all answers, bodies as they came over the wire."""
    error: LikewiseClientError | None
    """What was raised; None for success."""


class CacheInfo(NamedTuple):
    """Sums over all calls so far, like those of `functools.lru_cache`."""

    hits: int
    """Results that were reused."""
    misses: int
    """Results that had to be computed, by the server or the device."""
    probes: int
    """Results that were computed to check."""
    coalesced: int
    """Results shared with a request in flight."""
    bytes_sent: int
    bytes_received: int
    mean_latency_s: float
    """Mean over all calls; 0 before the first."""


class Trail:
    """What a call has cost so far."""

    __slots__ = ("attempts", "due", "node", "received", "sent", "start")

    def __init__(self, start: float, deadline_s: float | None) -> None:
        self.start = start
        self.due = math.inf if deadline_s is None else start + deadline_s
        self.node = ""
        self.attempts = self.sent = self.received = 0

    def left_s(self, now: float) -> float:
        """Return the seconds that are left until the deadline."""
        return self.due - now


class Tally:
    """Counts calls. Safe to share between threads."""

    def __init__(self, on_answer: Callable[[Event], Any] | None = None) -> None:
        """Set up. on_answer: is told each call; what it raises is logged and goes no further."""
        self._on_answer = on_answer
        self._lock = threading.Lock()
        self._outcomes: dict[str, int] = dict.fromkeys(get_args(Outcome), 0)
        self._calls = 0
        self._sent = 0
        self._received = 0
        self._latency_s = 0.0

    def add(
        self, call: Call[Any], trail: Trail, value: Any, latency_s: float, error: LikewiseClientError | None
    ) -> None:
        """Count a call. value: what it returned."""
        operation, sent, received = call.operation, trail.sent, trail.received
        outcome = value.outcome if isinstance(value, Answer) else None
        answers = value if operation == "lookup" and isinstance(value, list) else ()
        with self._lock:
            if outcome is not None:
                self._outcomes[outcome] += 1
            for answer in answers:
                self._outcomes[answer.outcome] += 1
            self._sent += sent
            self._received += received
            if operation != CHECK:  # nobody called it, or waited for it
                self._calls += 1
                self._latency_s += latency_s
        if self._on_answer is not None:
            event = Event(
                operation, call.function, trail.node, outcome, latency_s, trail.attempts, sent, received, error
            )
            try:
                self._on_answer(event)
            except Exception:  # an app's telemetry never costs it an answer
                log.exception("on_answer raised, which is ignored")

    def info(self) -> CacheInfo:
        """Return the sums."""
        with self._lock:
            outcomes, calls = self._outcomes, self._calls
            return CacheInfo(
                outcomes["hit"],
                outcomes["miss"],
                outcomes["probe"],
                outcomes["coalesced"],
                self._sent,
                self._received,
                self._latency_s / calls if calls else 0.0,
            )
