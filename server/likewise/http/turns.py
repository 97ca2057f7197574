"""Whose request is begun now, and whose waits for its turn: one who asks for much must not hold up the others.

All state belongs to one event loop, so what is begun there delays everybody. Connections whose requests lately were
hits are served as they come: that takes microseconds. Those that have others do the work (requests that are computed,
or that the ASGI application answers) begin as many of them in one round of the loop as take `ROUND_S`; the others
wait, first come, first served, while the loop looks after everybody else. Connections of which little is known yet, new
ones above all, wait in lanes of their own that go ahead: first those with a request of the kind that hits are.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections import deque
from time import perf_counter

from likewise.http.problems import Headers

ROUND_S = 0.002
"""What a round of the loop may take before fewer requests are begun in the next one."""
BRIEF = 16
"""Rounds after each other in which only what may be a hit is begun, while connections come: uvloop accepts one in each
round, so a device behind a hundred of them would wait for a hundred rounds."""
MOST = 64
"""Requests begun in one round at most."""
HEAVY, HEAVIEST = 8, 12
"""Load from which on a connection has to wait, which is a new one's, too; and the most that is counted."""
HIT, COMPUTED, HANDED_ON = -2, 1, 4
"""What an answer adds to the load: a hit, a result that was computed, what the ASGI application answered.

A crowded server has hits computed as well, so some of that in a row is no fault.
"""


class Turns:
    """Gives turns on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._quick: deque[TakesTurns] = deque()
        self._little_known: deque[TakesTurns] = deque()
        self._heavy: deque[TakesTurns] = deque()
        self._heavy_next = True
        self._came = False
        self._brief = 0
        self._most = MOST
        self._left = MOST
        self._began = 0.0
        self._counting = False

    def take(self, load: int = HEAVIEST, quick: bool = False) -> bool:
        """Take a turn in this round for a connection of that load; False where there is none left: `wait`.

        quick: its request is of the kind that hits are.
        """
        if self._quick or not self._left:
            return False
        if not (quick and load <= HEAVY) and (self._little_known or (load > HEAVY and self._heavy)):
            return False
        if self._counting and perf_counter() - self._began > ROUND_S:
            return False
        self._left -= 1
        self._count()
        return True

    def wait(self, connection: TakesTurns, quick: bool = False) -> None:
        """Have `take_turn` called in one of the next rounds."""
        if connection.load > HEAVY:
            self._heavy.append(connection)
        else:
            (self._quick if quick else self._little_known).append(connection)
        self._count()

    def came(self) -> None:
        """Take note of a new connection: others may be behind it."""
        self._came = True

    def _count(self) -> None:
        if not self._counting:
            self._counting = True
            self._began = perf_counter()
            self._loop.call_soon(self._next_round)

    def _next_round(self) -> None:
        now = perf_counter()
        self._most = max(1, self._most // 2) if now - self._began > ROUND_S else min(MOST, self._most + 1)
        self._began = now
        self._left = self._most
        self._begin(self._quick)
        self._brief = self._brief + 1 if self._came and self._brief < BRIEF else 0
        self._came = False
        if not self._brief:
            self._begin_others()
        self._counting = bool(self._quick or self._little_known or self._heavy) or self._left < self._most
        if self._counting:
            self._loop.call_soon(self._next_round)

    def _begin_others(self) -> None:
        """Begin at least one, whoever else there is, and one of those that do much at least every other time."""
        first, second = (self._heavy, self._little_known) if self._heavy_next else (self._little_known, self._heavy)
        self._heavy_next = not self._heavy_next
        if lane := first or second:
            self._left = max(0, self._left - 1)
            lane.popleft().take_turn()
        self._begin(self._little_known)
        self._begin(self._heavy)

    def _begin(self, lane: deque[TakesTurns]) -> None:
        while self._left and lane and perf_counter() - self._began < ROUND_S:
            self._left -= 1
            lane.popleft().take_turn()


class TakesTurns(ABC):
    """A connection's part in it."""

    turns: Turns
    deadline: float
    load = HEAVY
    """How much work its requests lately were, from 0 to `HEAVIEST`."""
    waits = False
    has_turn = False
    """True for the request at hand, while its pieces arrive together."""

    def may_begin(self, quick: bool = False) -> bool:
        """Say whether the request at hand may be begun now; otherwise it waits for its turn, without a deadline.

        quick: the request is of the kind that hits are.
        """
        if self.load < HEAVY or self.has_turn or self.turns.take(self.load, quick):
            self.has_turn = True
            return True
        self.waits = True
        self.deadline = math.inf
        self.turns.wait(self, quick)
        return False

    def weigh(self, headers: Headers, work: int) -> None:
        """Take note of an answer that was not given at once: a hit after all, or so much work."""
        hit = any(name == b"cache-status" and value.startswith(b"likewise; hit") for name, value in headers)
        self.load = max(0, self.load + HIT) if hit else min(HEAVIEST, self.load + work)

    def is_quick(self, data: bytes, at: int) -> bool:
        """Say whether the head at data[at:] is that of a request of the kind that hits are."""
        return False

    @abstractmethod
    def take_turn(self) -> None:
        """Begin the request that waited."""
