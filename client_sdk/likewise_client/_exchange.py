"""The whole exchange without I/O: choose a node, send, judge, fail over, back off, read the answer.

A plain generator that yields what is to be done (`Send`, `Race`, `Sleep`, `Compute`, `Background`) and is sent what
came of it. Both clients drive it and add nothing but the doing.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, Union, cast

from likewise_client._answer import Answer, Ticket
from likewise_client._budget import Budget
from likewise_client._calls import Call
from likewise_client._device.computing import Computing, Where
from likewise_client._device.tier import Tier
from likewise_client._errors import (
    ConnectionFailed,
    DeadlineExceeded,
    LikewiseClientError,
    MalformedAnswer,
    Overloaded,
    ServerProblem,
    TimedOut,
    Unavailable,
)
from likewise_client._hedge import Hedge, Latencies
from likewise_client._nodes import Nodes
from likewise_client._read import read_problem
from likewise_client._reply import Reply
from likewise_client._retry import NEVER, Retry
from likewise_client._telemetry import Tally, Trail

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Send this and answer with a Reply, or throw ConnectionFailed, TimedOut or MalformedAnswer."""

    node: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_s: float | None = None
    """Seconds after which the answer is of no use."""


@dataclass(frozen=True)
class Race:
    """Send the first; where it takes longer than `after_s`, send a second, too.

    Answer with the Send that won and its Reply; where both fail, throw what the first one met.
    """

    first: Send
    after_s: float
    second: Callable[[], Send | None]
    """Called when it is time; None: the first one goes on alone."""
    over: Callable[[Send, bool | None], None]
    """To be told of each that was sent, once it is through: the node is alive, is not, or it cannot be told."""


@dataclass(frozen=True)
class Sleep:
    """Wait so many seconds and answer with None."""

    seconds: float


@dataclass(frozen=True)
class Compute:
    """Run the device's own function and answer with its result (awaited, in an async client)."""

    run: Callable[[], Any]
    blocking: bool = False
    """It is a plain function that takes its time, in an async client, too."""


@dataclass(frozen=True)
class Background:
    """Go on with these steps beside the caller, and answer with None at once."""

    steps: Steps[None]


Step = Union[Send, Race, Sleep, Compute, Background]
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
        *,
        tally: Tally | None = None,
        hedge: Hedge | None = None,
    ) -> None:
        """Take the nodes, the settings, the headers of every request, and sources of time and chance."""
        self.nodes = nodes
        self.clock = clock
        self.tally = tally or Tally()
        self.tier: Tier | None = None
        """The device's own, asked first; None: there is none."""
        self.computing: Computing | None = None
        self._retry = retry
        self._budget = Budget(retry.budget, retry.burst, retry.per_s, clock)
        self._headers = dict(headers)
        self._rng = rng
        self._latencies = Latencies(hedge) if hedge else None

    def run(
        self, call: Call[T], *, patient: bool = True, node: str | None = None, tally: Tally | None = None
    ) -> Steps[T]:
        """Carry one call through.

        patient: False asks only nodes that are up, each once, and never sleeps.
        node: ask this one alone.
        tally: counts the call, too.
        Raises a LikewiseClientError.
        """
        trail = Trail(self.clock(), call.deadline_s)
        try:
            value: Any
            if call.where != "edge" and call.local is not None and self.computing is not None:
                asked, where = cast("Call[Answer]", replace(call, where="edge")), cast(Where, call.where)
                value = yield from self.computing.answer(self, asked, call.local, trail, where, patient=patient)
            else:
                value = yield from self.reach(call, trail, patient=patient, node=node)
        except LikewiseClientError as error:
            self.count(call, trail, None, error, tally)
            raise
        self.count(call, trail, value, None, tally)
        return cast(T, value)

    def reach(self, call: Call[T], trail: Trail, *, patient: bool = True, node: str | None = None) -> Steps[Any]:
        """Do what `run` does, by the device's own tier or a server, uncounted. trail: takes down what it costs."""
        if self.tier is None or call.local is None:
            return (yield from self.carry(call, trail, patient=patient, node=node))
        asked = cast("Call[Answer]", call)
        return (yield from self.tier.answer(self, asked, call.local, trail, patient=patient, node=node))

    @staticmethod
    def compute(run: Callable[[], Any], *, blocking: bool = False) -> Compute:
        """Return the step that runs a function on the device."""
        return Compute(run, blocking)

    def carry(self, call: Call[T], trail: Trail, *, patient: bool = True, node: str | None = None) -> Steps[T]:
        """Do what `run` does, past the device's own tier and uncounted. trail: takes down what it costs."""
        retry = self._retry if patient else NEVER
        self._budget.deposit()
        failure: LikewiseClientError | None = None
        for round_number in itertools.count():
            tried: list[str] = []
            retry_after_s = 0.0
            while chosen := self._next(call.owner or call.function, tried, patient, node):
                tried.append(chosen)
                try:
                    return (yield from self._send(call, chosen, trail))
                except (Unavailable, ServerProblem) as error:
                    failure = error
                    if not _worth_repeating(error, call.repeatable):
                        raise
                    retry_after_s = max(retry_after_s, _retry_after_s(error))
                    if _has_cost(error) and len(tried) < len(self.nodes.urls) and not self._budget.take():
                        break
            wait_s = retry.wait_s(round_number, self.clock() - trail.start, retry_after_s, self._rng)
            if wait_s is None or wait_s >= trail.left_s(self.clock()) or not self._budget.take():
                break
            yield Sleep(wait_s)
        raise failure or ConnectionFailed("every node is down, and it is too early to try one again")

    @staticmethod
    def background(steps: Steps[None]) -> Background:
        """Return the step that goes on with others beside the caller."""
        return Background(steps)

    def count(
        self, call: Call[Any], trail: Trail, value: Any, error: LikewiseClientError | None, other: Tally | None = None
    ) -> None:
        """Count a call that is through. value: what it returned; other: counts it, too."""
        spent_s = self.clock() - trail.start
        for tally in (self.tally,) if other is None else (self.tally, other):
            tally.add(call, trail, value, spent_s, error)

    def redeem(
        self,
        with_ticket: Call[T],
        without: Call[T],
        ticket: str | None,
        *,
        patient: bool = True,
        tally: Tally | None = None,
    ) -> Steps[T]:
        """Send where the ticket is good, or without the ticket elsewhere if that node is gone."""
        home = ticket.node if isinstance(ticket, Ticket) else ""
        if home not in self.nodes.urls or len(self.nodes.urls) == 1:
            return (yield from self.run(with_ticket, patient=patient, tally=tally))
        try:
            return (yield from self.run(with_ticket, node=home, patient=False, tally=tally))
        except Unavailable as error:
            if not _worth_repeating(error, with_ticket.repeatable):
                raise
            return (yield from self.run(without, patient=patient, tally=tally))

    def everywhere(self, call: Call[int]) -> Steps[int]:
        """Carry a call to every node and return the highest count; raise the last failure, after all were asked.

        Every node is asked before any is asked again.
        """
        trail, highest = Trail(self.clock(), call.deadline_s), 0
        failure: LikewiseClientError | None = None
        left = list(self.nodes.urls)
        for round_number in itertools.count():
            again: dict[str, LikewiseClientError] = {}
            for node in left:
                self._budget.deposit()
                try:
                    highest = max(highest, (yield from self._send(call, self.nodes.take(node), trail)))
                except LikewiseClientError as error:
                    if _worth_repeating(error, call.repeatable):
                        again[node] = error
                    else:
                        failure = error
            if not again:
                break
            longest_s = max(map(_retry_after_s, again.values()), default=0.0)
            wait_s = self._retry.wait_s(round_number, self.clock() - trail.start, longest_s, self._rng)
            if wait_s is None or wait_s >= trail.left_s(self.clock()) or not self._budget.take(len(again)):
                failure = next(iter(again.values()))
                break
            left = list(again)
            yield Sleep(wait_s)
        self.count(call, trail, highest, failure)
        if failure:
            raise failure
        return highest

    def _next(self, owner: str, tried: list[str], patient: bool, node: str | None) -> str | None:
        if node is None:
            return self.nodes.choose(owner, tried, patient=patient)
        return None if tried else self.nodes.take(node)

    def _send(self, call: Call[T], node: str, trail: Trail) -> Steps[T]:
        trail.node = node
        trail.attempts += 1
        send = self._request(call, node, trail)
        kind = call.operation, call.function
        after_s = self._latencies.wait_s(kind) if self._latencies and call.repeatable else None
        began = self.clock()
        if after_s is None:
            reply = yield from self._alone(send)
        else:
            send, reply = yield Race(send, after_s, lambda: self._second(call, node, trail), self._over)
            node = trail.node = send.node
        if self._latencies:
            self._latencies.add(kind, self.clock() - began)
        trail.sent += reply.sent
        trail.received += reply.received
        try:
            if reply.status_code >= 400:
                raise read_problem(reply)
            if reply.status_code >= 300:
                raise ServerProblem(reply.status_code, "Redirected", "a node's URL must lead to the server itself")
            return call.read(reply, node)
        except LikewiseClientError:
            raise
        except Exception as error:  # whatever a server makes up, an app meets no other errors than this package's
            raise MalformedAnswer(f"{node} sent an answer that the protocol does not know: {error!r}") from error

    def _alone(self, send: Send) -> Steps[Reply]:
        alive: bool | None = None
        try:
            reply: Reply = yield send
            alive = reply.status_code != BAD_GATEWAY
            return reply
        except (ConnectionFailed, TimedOut):
            alive = False
            raise
        finally:  # also when the caller is cancelled
            self.nodes.done(send.node, alive=alive)

    def _request(self, call: Call[Any], node: str, trail: Trail) -> Send:
        headers = {**self._headers, **call.headers}
        if call.deadline_s is None:
            return Send(node, call.method, node + call.path, headers, call.body)
        left_s = call.deadline_s if trail.attempts == 1 else trail.left_s(self.clock())
        if left_s <= 0:
            self.nodes.done(node, alive=None)
            raise TimedOut(f"the deadline of {call.deadline_s:g} s passed before {node} could be asked")
        headers["Request-Timeout"] = f"{left_s:.6g}"
        return Send(node, call.method, node + call.path, headers, call.body, left_s)

    def _second(self, call: Call[Any], first: str, trail: Trail) -> Send | None:
        if not self._budget.take():
            return None
        node = self.nodes.choose(call.owner or call.function, [first], patient=False) or self.nodes.take(first)
        trail.attempts += 1
        try:
            return self._request(call, node, trail)
        except TimedOut:
            return None

    def _over(self, send: Send, alive: bool | None) -> None:
        self.nodes.done(send.node, alive=alive)


BAD_GATEWAY = 502


def _worth_repeating(error: LikewiseClientError, repeatable: bool) -> bool:
    """Whether another try may help and cannot harm."""
    if isinstance(error, Overloaded):
        return True
    if isinstance(error, DeadlineExceeded):
        return False
    if isinstance(error, ConnectionFailed):
        return repeatable or not error.sent
    if isinstance(error, TimedOut):
        return repeatable
    if isinstance(error, ServerProblem):
        return repeatable and error.status in (502, 504) and error.slug != "not-cached"
    return False


def _has_cost(error: LikewiseClientError) -> bool:
    """Whether a server may have worked on the request that failed."""
    return not isinstance(error, ConnectionFailed) or error.sent


def _retry_after_s(error: LikewiseClientError) -> float:
    return error.retry_after_s if isinstance(error, Overloaded) else 0.0
