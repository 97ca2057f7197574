"""Connections whose requests wait for a turn: who is served first, and who is not worth serving any more.

A short queue is first come, first served. Where the first of an address has waited for `STANDING_S`, more comes than is
served: whoever has waited long is answered late in any case, so the last who came is served first, but for one turn in
`OLDEST_EVERY`, for those that are patient; and who cannot be served while the answer is of use is told so before
anything of the input is read. Addresses take turns. Source: B. Maurer, "Fail at Scale", ACM Queue 13(8), 2015 (adaptive
LIFO; bounds of time in place of length, after CoDel, RFC 8289).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from likewise.shares import Shares
from likewise.throughput import STANDING_S, Throughput

OLDEST_EVERY = 8
"""One in so many turns goes to who has waited longest in any case, so that nobody who is patient waits in vain."""


class Waits(ABC):
    """A connection with a request that waits for its turn."""

    share = ""
    """The address that it counts for."""
    since = 0.0
    """When it began to wait, by perf_counter."""
    due = 0.0
    """When it is of no use any more to begin its request, by the same clock."""

    @abstractmethod
    def take_turn(self, late: bool = False) -> None:
        """Begin the request that waited. late: refuse it instead, unread."""


class Lane:
    """Connections that wait for the same kind of turn."""

    def __init__(self) -> None:
        self._waiting: Shares[Waits] = Shares()
        self._turns = 0
        self._throughput = Throughput()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, connection: Waits, now: float) -> None:
        """Take in a connection that waits from now on."""
        if not self._waiting:
            self._throughput.begin(now)
        connection.since = now
        self._waiting.add(connection.share, connection)

    def next(self, now: float) -> Waits:
        """Take out whose turn it is. There must be one."""
        share = next(self._waiting.accounts())
        self._turns += 1
        newest = self._turns % OLDEST_EVERY and self._stands(share, now)
        connection = self._waiting.newest(share) if newest else self._waiting.oldest(share)
        self._waiting.take(share, connection)
        self._throughput.served(now)
        return connection

    def remove(self, connection: Waits) -> bool:
        """Take out a connection that is lost; return whether it was here."""
        return self._waiting.remove(connection.share, connection)

    def late(self, now: float) -> list[Waits]:
        """Take out those whose time is over, or will be before their turn, by the pace of late."""
        late: list[Waits] = []
        shares = list(self._waiting.accounts())
        pace_s = len(shares) * self._throughput.pace_s(now)
        for share in shares:
            waiting = list(self._waiting.those_of(share))
            if self._stands(share, now):
                waiting.reverse()
            ahead = 0
            for each in waiting:
                if now + ahead * pace_s >= each.due:
                    self._waiting.remove(share, each)
                    late.append(each)
                else:
                    ahead += 1
        return late

    def _stands(self, share: str, now: float) -> bool:
        return now - self._waiting.oldest(share).since > STANDING_S
