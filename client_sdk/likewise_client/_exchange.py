"""The whole exchange without I/O: choose a node, send, judge, fail over, back off, read the answer.

A plain generator that yields what is to be done (`Send`, `Sleep`, `Compute`) and is sent what came of it. Both
clients drive it and add nothing but the doing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from likewise_client._answer import Inserted, Ticket
from likewise_client._calls import Call, problem_of
from likewise_client._errors import (
    ConnectionFailed,
    LikewiseClientError,
    Overloaded,
    ServerProblem,
    TimedOut,
    Unavailable,
)
from likewise_client._nodes import Nodes
from likewise_client._retry import NEVER, Retry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send this and answer with an httpx.Response, or throw ConnectionFailed or TimedOut."""

    node: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds and answer with None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Compute:
    """Run the device's own function and answer with its result (awaited, in an async client)."""

    run: Callable[[], Any]


Step = Send | Sleep | Compute
Steps = Generator[Step, Any, T]
"""An exchange under way; returns a T."""


class Exchange:
    """What all exchanges of one client share. Safe to share between threads."""

    def __init__(
        self,
        nodes: Nodes,
        retry: Retry,
        headers: Mapping[str, str],
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        """Take the nodes, the settings, the headers of every request, and sources of time and chance."""
        self.nodes = nodes
        self.clock = clock
        self._retry = retry
        self._headers = dict(headers)
        self._rng = rng

    def run(self, call: Call[T], *, patient: bool = True, node: str | None = None) -> Steps[T]:
        """Carry one call through.

        patient: False asks only nodes that are up, each once, and never sleeps.
        node: ask this one alone.
        Raises a LikewiseClientError.
        """
        retry = self._retry if patient else NEVER
        start = self.clock()
        failure: LikewiseClientError | None = None
        for round_number in range(retry.rounds):
            tried: list[str] = []
            retry_after_s = 0.0
            while chosen := self._next(call.function, tried, patient, node):
                tried.append(chosen)
                try:
                    return (yield from self._send(call, chosen))
                except (Unavailable, ServerProblem) as error:
                    failure = error
                    if not _worth_repeating(error, call.repeatable):
                        raise
                    if isinstance(error, Overloaded):
                        retry_after_s = max(retry_after_s, error.retry_after_s)
            if round_number + 1 == retry.rounds:
                break
            wait_s = retry.delay_s(round_number, retry_after_s, self._rng)
            if self.clock() - start + wait_s > retry.deadline_s:
                break
            yield Sleep(wait_s)
        raise failure or ConnectionFailed("every node is down, and it is too early to try one again")

    def insert(self, with_ticket: Call[Inserted], without: Call[Inserted], ticket: str | None) -> Steps[Inserted]:
        """Insert where the ticket is good, or without the ticket elsewhere if that node is gone."""
        home = ticket.node if isinstance(ticket, Ticket) else ""
        if home not in self.nodes.urls or len(self.nodes.urls) == 1:
            return (yield from self.run(with_ticket))
        try:
            return (yield from self.run(with_ticket, node=home, patient=False))
        except Unavailable as error:
            if not _worth_repeating(error, repeatable=False):
                raise
            return (yield from self.run(without))

    def everywhere(self, call: Call[int]) -> Steps[int]:
        """Carry a call to every node and return the highest count; raise the last failure, after all were asked."""
        highest = 0
        failure: LikewiseClientError | None = None
        for node in self.nodes.urls:
            try:
                highest = max(highest, (yield from self.run(call, node=node)))
            except LikewiseClientError as error:
                failure = error
        if failure:
            raise failure
        return highest

    def _next(self, function: str, tried: list[str], patient: bool, node: str | None) -> str | None:
        if node is None:
            return self.nodes.choose(function, tried, patient=patient)
        return None if tried else self.nodes.take(node)

    def _send(self, call: Call[T], node: str) -> Steps[T]:
        alive: bool | None = None
        try:
            headers = {**self._headers, **call.headers}
            response: httpx.Response = yield Send(node, call.method, node + call.path, headers, call.body)
            alive = response.status_code != httpx.codes.BAD_GATEWAY
        except (ConnectionFailed, TimedOut):
            alive = False
            raise
        finally:  # also when the caller is cancelled
            self.nodes.done(node, alive=alive)
        if response.status_code >= 400:
            raise problem_of(response)
        if response.status_code >= 300:
            raise ServerProblem(response.status_code, "Redirected", "a node's URL must lead to the server itself")
        return call.read(response, node)


def _worth_repeating(error: LikewiseClientError, repeatable: bool) -> bool:
    """Whether another try may help and cannot harm."""
    match error:
        case Overloaded():
            return True
        case ConnectionFailed():
            return repeatable or not error.sent
        case TimedOut():
            return repeatable
        case ServerProblem():
            return repeatable and error.status in (502, 504) and error.slug != "not-cached"
        case _:
            return False
