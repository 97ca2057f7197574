"""Whose request is begun now, and whose waits for its turn: one who asks for much must not hold up the others.

All state belongs to one event loop, so what is begun there delays everybody. Connections whose requests lately were
hits are served as they come: that takes microseconds. Those that have others do the work (requests that are computed,
or that the ASGI application answers) begin as many of them in one round of the loop as take `ROUND_S`; the others
wait in a lane (`lanes.py`) while the loop looks after everybody else. Connections of which little is known yet, new
ones above all, wait in lanes of their own that go ahead: first those with a request of the kind that hits are.

Where rounds take over `CROWDED_S` all the same, there are too many of the former, too: they wait as well, in lanes that
go first, and those ahead whose requests have been hits for some time. So what comes is read soon, its time counts from
then, and what cannot be answered in time costs no more than that.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from itertools import chain, cycle
from time import perf_counter

from likewise.http.lanes import Lane, Waits
from likewise.http.problems import Headers

ROUND_S = 0.001
"""What a round of the loop may take before fewer requests are begun in the next one."""
CROWDED_S = 0.01
"""What one takes that everybody notices."""
LOOK_S = 0.05
"""How often those are looked for whose time is over."""
BRIEF = 16
"""Rounds after each other in which only what may be a hit is begun, while connections come: a few are accepted in each,
so a device behind a hundred of them waits for many."""
MOST = 64
"""Requests begun in one round at most."""
HEAVY, HEAVIEST = 8, 12
"""Load from which on a connection has to wait, which is a new one's, too; and the most that is counted."""
STEADY = 4
"""Load below which a connection has had hits for some time: a new one, after three of them."""
HIT, COMPUTED, HANDED_ON = -2, 1, 4
"""What an answer adds to the load: a hit, a result that was computed, what the ASGI application answered.

A crowded server has hits computed as well, so some of that in a row is no fault.
"""


class Turns:
    """Gives turns on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._steady = Lane()
        self._light = Lane()
        self._quick = Lane()
        self._little_known = Lane()
        self._heavy = Lane()
        self._lanes = (self._steady, self._light, self._quick, self._little_known, self._heavy)
        self._orders = cycle((
            (self._steady, self._light, self._quick), (self._quick, self._steady, self._light),
            (self._steady, self._quick, self._light), (self._light, self._steady, self._quick),
        ))  # fmt: skip
        self._late: deque[Waits] = deque()
        self._look_at = 0.0
        self._heavy_next = True
        self._came = False
        self._brief = 0
        self._most = MOST
        self._left = MOST
        self._began = 0.0
        self._counting = False
        self.crowded = False
        """True while rounds take so long that those wait for their turn as well whose requests lately were hits."""

    def take(self, load: int = HEAVIEST, quick: bool = False) -> bool:
        """Take a turn in this round for a connection of that load; False where there is none left: `wait`.

        quick: its request is of the kind that hits are.
        """
        if self._steady or self._light or not self._left:
            return False
        if load >= HEAVY and (
            self._quick or (not (quick and load == HEAVY) and (self._little_known or (load > HEAVY and self._heavy)))
        ):
            return False
        if self._counting and perf_counter() - self._began > ROUND_S:
            return False
        self._left -= 1
        self.count()
        return True

    def wait(self, connection: TakesTurns, quick: bool = False) -> None:
        """Have `take_turn` called in one of the next rounds."""
        if connection.load > HEAVY:
            lane = self._heavy
        elif connection.load < HEAVY:
            lane = self._steady if connection.load < STEADY else self._light
        else:
            lane = self._quick if quick else self._little_known
        lane.add(connection, perf_counter())
        self.count()

    def leave(self, connection: TakesTurns) -> None:
        """Forget a connection that is lost while it waits."""
        any(lane.remove(connection) for lane in self._lanes)

    def came(self) -> None:
        """Take note of a new connection: others may be behind it."""
        self._came = True

    def count(self) -> None:
        """Measure this round, in which something was begun that takes long."""
        if not self._counting:
            self._counting = True
            self._began = perf_counter()
            self._loop.call_soon(self._next_round)

    def _next_round(self) -> None:
        now = perf_counter()
        took_s = now - self._began
        self._most = max(1, self._most // 2) if took_s > ROUND_S else min(MOST, self._most + 1)
        self._began = now
        self._left = self._most
        for lane in next(self._orders):
            self._begin(lane)
        self._brief = self._brief + 1 if self._came and self._brief < BRIEF else 0
        self._came = False
        if not self._brief:
            self._begin_others()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._late.extend(chain.from_iterable(lane.late(now) for lane in self._lanes))
        self._refuse()
        self.crowded = took_s > CROWDED_S or bool(self._steady or self._light)
        waiting = any(self._lanes) or self._late
        self._counting = bool(waiting) or self.crowded or self._left < self._most
        if self._counting:
            self._loop.call_soon(self._next_round)

    def _begin_others(self) -> None:
        """Begin at least one, whoever else there is, and one of those that do much at least every other time."""
        first, second = (self._heavy, self._little_known) if self._heavy_next else (self._little_known, self._heavy)
        self._heavy_next = not self._heavy_next
        if lane := first or second:
            self._left = max(0, self._left - 1)
            lane.next(perf_counter()).take_turn()
        self._begin(self._little_known)
        self._begin(self._heavy)

    def _begin(self, lane: Lane) -> None:
        while self._left and lane and (now := perf_counter()) - self._began < ROUND_S:
            self._left -= 1
            lane.next(now).take_turn()

    def _refuse(self) -> None:
        """Refuse some whose time is over: that is cheap, and there may be thousands."""
        until = perf_counter() + ROUND_S / 2
        while self._late and perf_counter() < until:
            self._late.popleft().take_turn(late=True)


def borne(load: int, work: int) -> int:
    """Return what a load is after an answer that took some work."""
    return max(0, min(HEAVIEST, load + work))


class TakesTurns(Waits):
    """A connection's part in it."""

    turns: Turns
    deadline: float
    load = HEAVY
    """How much work its requests lately were, from 0 to `HEAVIEST`."""
    came = 0.0
    """When the first byte of the request at hand was read, by perf_counter; of one sent ahead, when it was next."""
    timeout_s = math.inf
    """For how long an answer to it is of use, by its own words; infinite: nothing is known."""
    patience_s = math.inf
    """For how long any waits at most."""
    recognized = False
    """Whether its first head has been looked at."""
    late = False
    """True for a request that has waited for longer than its answer is of use, or would."""
    waits = False
    has_turn = False
    """True for the request at hand, while its pieces arrive together."""

    def may_begin(self, quick: bool = False) -> bool:
        """Say whether the request at hand may be begun now; otherwise it waits for its turn, without a deadline.

        quick: the request is of the kind that hits are.
        """
        turns = self.turns
        if self.has_turn or (self.load < HEAVY and not turns.crowded) or turns.take(self.load, quick):
            self.has_turn = True
            return True
        self.waits = True
        self.deadline = math.inf
        turns.wait(self, quick)
        return False

    def is_of_use_for(self, timeout_s: float) -> None:
        """Take note of the time that a request which waits gives itself, from when it came; 0: as any."""
        self.timeout_s = timeout_s or math.inf
        self.due = self.came + min(self.timeout_s, self.patience_s)

    @property
    def timed_out(self) -> bool:
        """Whether the time that a late request gave itself is over, not all patience."""
        return self.timeout_s <= self.patience_s

    def weigh(self, headers: Headers, work: int) -> None:
        """Take note of an answer that was not given at once: a hit after all, or so much work."""
        hit = any(name == b"cache-status" and value.startswith(b"likewise; hit") for name, value in headers)
        self.bear(HIT if hit else work)

    def bear(self, work: int) -> None:
        """Add the work of an answer to the load."""
        self.load = borne(self.load, work)

    def recognize(self, head: bytes) -> None:
        """Expect of a new connection what is known of requests with its first head."""
        self.recognized = True

    def is_quick(self, data: bytes, at: int) -> bool:
        """Say whether the head at data[at:] is that of a request of the kind that hits are."""
        return False
