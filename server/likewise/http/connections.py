"""All connections of one server process: their shares, what they hold, and one timer for the deadlines of all."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Protocol
from weakref import WeakKeyDictionary

from uvicorn.server import ServerState

from likewise.http.limits import Limits
from likewise.http.turns import Turns
from likewise.http.unread import Unread

SPARE = 64
"""Connections beyond the limits that are still taken, each for one request: to be answered 503, or /livez."""
SMALL_BYTES = 65_536
"""A body with less than this has to make room only where no larger one can."""


class Connection(Protocol):
    """What the timer and the shares need to know of a connection."""

    deadline: float
    """When it is to be looked at, by the loop's clock."""

    def expire(self, now: float) -> None:
        """Do what has to be done once the deadline is over."""

    def make_room(self) -> None:
        """Give up the body that is being received."""

    def abort(self) -> None:
        """End at once."""


class Connections:
    """The connections of one server process."""

    def __init__(self, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self.limits = limits
        self.turns = Turns(loop)
        self.unread = Unread(limits.unread_bytes)
        self.held_bytes = 0
        """Bytes of all bodies of requests that are not answered yet."""
        self._loop = loop
        self._all: set[Connection] = set()
        self._spare: dict[Connection, None] = {}
        self._shares: dict[str, int] = {}
        self._receiving: dict[Connection, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._period_s = min(1.0, min(limits.keep_alive_s, limits.head_timeout_s, limits.body_timeout_s) / 4)
        self.idle_until = loop.time() + limits.keep_alive_s
        """Deadline of a connection that was just answered, exact to one round of the timer."""

    @classmethod
    def of(cls, state: ServerState, limits: Limits, loop: asyncio.AbstractEventLoop) -> Connections:
        """Return those of a server, which share what uvicorn lets its connections share."""
        found = _OF.get(state)
        if found is None:
            found = _OF[state] = cls(limits, loop)
        return found

    def add(self, connection: Connection, share: str) -> bool:
        """Take in a connection; False where all places or those of its address are taken, so that it is a spare one.

        share: what `share_of` says of its address.
        """
        self._all.add(connection)
        if self._timer is None:
            self._sweep()
        taken = self._shares.get(share, 0)
        if len(self._all) - len(self._spare) <= self.limits.max_connections and taken < self.limits.max_per_address:
            self._shares[share] = taken + 1
            return True
        self._spare[connection] = None
        if len(self._spare) > SPARE:
            next(iter(self._spare)).abort()
        return False

    def remove(self, connection: Connection, share: str) -> None:
        """Forget a connection that is lost; one may be lost but once."""
        self._all.discard(connection)
        self.unread.note(connection, share, 0)
        if connection in self._spare:
            del self._spare[connection]
            return
        self._shares[share] -= 1
        if not self._shares[share]:
            del self._shares[share]

    def hold(self, connection: Connection, size: int) -> bool:
        """Count bytes of a body as they arrive; False where even the largest others could not make room for them."""
        self._receiving[connection] = self._receiving.get(connection, 0) + size
        self.held_bytes += size
        while self.held_bytes > self.limits.held_bytes:
            other = self._longest(connection)
            if other is None:
                return False
            other.make_room()
        return True

    def _longest(self, connection: Connection) -> Connection | None:
        """Return who has been sending a body longest, a large one if there is one; not the connection itself."""
        small: Connection | None = None
        for each, size in self._receiving.items():
            if each is not connection:
                if size >= SMALL_BYTES:
                    return each
                small = small or each
        return small

    def received(self, connection: Connection) -> None:
        """Take note that a body is whole: it counts until it is let go, but need not make room any more."""
        self._receiving.pop(connection, None)

    def release(self, connection: Connection, size: int) -> None:
        """Take note that a request is answered, or given up, whose body had so many bytes."""
        self._receiving.pop(connection, None)
        self.held_bytes -= size

    def _sweep(self) -> None:
        now = self._loop.time()
        self.idle_until = now + self.limits.keep_alive_s
        for each in [each for each in self._all if each.deadline < now]:
            each.expire(now)
        self._timer = self._loop.call_later(self._period_s, self._sweep) if self._all else None


_OF: WeakKeyDictionary[ServerState, Connections] = WeakKeyDictionary()


def share_of(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 network of an IPv6 one, all of it one host's."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False).network_address)
