"""The whole exchange without I/O: choose a node, send, judge, fail over, back off, read the answer.

A plain generator that yields what is to be done (`Send`, `Sleep`, `Compute`) and is sent what came of it. Both
clients drive it and add nothing but the doing.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, Union, cast

import httpx

from likewise_client._answer import Inserted, Ticket
from likewise_client._calls import Call
from likewise_client._device.tier import Tier
from likewise_client._errors import (
    ConnectionFailed,
    LikewiseClientError,
    MalformedAnswer,
    Overloaded,
    ServerProblem,
    TimedOut,
    Unavailable,
)
from likewise_client._nodes import Nodes
from likewise_client._read import read_problem
from likewise_client._retry import NEVER, Retry

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Send this and answer with an httpx.Response, or throw ConnectionFailed or TimedOut."""

    node: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Sleep:
    """Wait so many seconds and answer with None."""

    seconds: float


@dataclass(frozen=True)
class Compute:
    """Run the device's own function and answer with its result (awaited, in an async client)."""

    run: Callable[[], Any]


Step = Union[Send, Sleep, Compute]
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
        self.tier: Tier | None = None
        """The device's own, asked first; None: there is none."""
        self._retry = retry
        self._headers = dict(headers)
        self._rng = rng

    def run(self, call: Call[T], *, patient: bool = True, node: str | None = None) -> Steps[T]:
        """Carry one call through.

        patient: False asks only nodes that are up, each once, and never sleeps.
        node: ask this one alone.
        Raises a LikewiseClientError.
        """
        if self.tier is not None and call.local is not None:
            found: Any = yield from self.tier.answer(self, cast(Any, call), call.local, patient=patient, node=node)
            return cast(T, found)
        retry = self._retry if patient else NEVER
        start = self.clock()
        failure: LikewiseClientError | None = None
        for round_number in itertools.count():
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
                    retry_after_s = max(retry_after_s, _retry_after_s(error))
            wait_s = retry.wait_s(round_number, self.clock() - start, retry_after_s, self._rng)
            if wait_s is None:
                break
            yield Sleep(wait_s)
        raise failure or ConnectionFailed("every node is down, and it is too early to try one again")

    def insert(
        self, with_ticket: Call[Inserted], without: Call[Inserted], ticket: str | None, *, patient: bool = True
    ) -> Steps[Inserted]:
        """Insert where the ticket is good, or without the ticket elsewhere if that node is gone."""
        home = ticket.node if isinstance(ticket, Ticket) else ""
        if home not in self.nodes.urls or len(self.nodes.urls) == 1:
            return (yield from self.run(with_ticket, patient=patient))
        try:
            return (yield from self.run(with_ticket, node=home, patient=False))
        except Unavailable as error:
            if not _worth_repeating(error, repeatable=False):
                raise
            return (yield from self.run(without, patient=patient))

    def everywhere(self, call: Call[int]) -> Steps[int]:
        """Carry a call to every node and return the highest count; raise the last failure, after all were asked.

        Every node is asked before any is asked again.
        """
        start, highest = self.clock(), 0
        failure: LikewiseClientError | None = None
        left = list(self.nodes.urls)
        for round_number in itertools.count():
            again: dict[str, LikewiseClientError] = {}
            for node in left:
                try:
                    highest = max(highest, (yield from self._send(call, self.nodes.take(node))))
                except LikewiseClientError as error:
                    if _worth_repeating(error, call.repeatable):
                        again[node] = error
                    else:
                        failure = error
            longest_s = max(map(_retry_after_s, again.values()), default=0.0)
            wait_s = self._retry.wait_s(round_number, self.clock() - start, longest_s, self._rng) if again else None
            if wait_s is None:
                failure = next(iter(again.values()), failure)
                break
            left = list(again)
            yield Sleep(wait_s)
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
        try:
            if response.status_code >= 400:
                raise read_problem(response)
            if response.status_code >= 300:
                raise ServerProblem(response.status_code, "Redirected", "a node's URL must lead to the server itself")
            return call.read(response, node)
        except LikewiseClientError:
            raise
        except Exception as error:  # whatever a server makes up, an app meets no other errors than this package's
            raise MalformedAnswer(f"{node} sent an answer that the protocol does not know: {error!r}") from error


def _worth_repeating(error: LikewiseClientError, repeatable: bool) -> bool:
    """Whether another try may help and cannot harm."""
    if isinstance(error, Overloaded):
        return True
    if isinstance(error, ConnectionFailed):
        return repeatable or not error.sent
    if isinstance(error, TimedOut):
        return repeatable
    if isinstance(error, ServerProblem):
        return repeatable and error.status in (502, 504) and error.slug != "not-cached"
    return False


def _retry_after_s(error: LikewiseClientError) -> float:
    return error.retry_after_s if isinstance(error, Overloaded) else 0.0
