"""Messages that wait for a thread of their own to deliver them, so that no camera waits for a receiver."""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable

from likewise_watch.backoff import Backoff

log = logging.getLogger(__name__)


DRAINS = 12
"""How many times `drain_s` it takes to bring messages to their end, at most, while some are delivered."""


class Later(Exception):
    """A message could not be delivered now. wait_s: what the receiver asked for."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Refused(Exception):
    """A message that will never be taken."""


class Outbox:
    """A queue, bounded in messages and bytes, whose oldest message goes where it is full.

    deliver: called with one message after another; raises Later where it should be tried again, Refused where not.
    tries: of one message at most. drain_s: how long `close` waits for the next delivery.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[bytes], None],
        limit: int,
        limit_bytes: int,
        *,
        tries: int = 8,
        drain_s: float = 5.0,
        backoff: Backoff | None = None,
    ) -> None:
        self._name = name
        self._deliver = deliver
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._tries = tries
        self._drain_s = drain_s
        self._backoff = backoff or Backoff(random.Random())
        self._waiting: deque[bytes] = deque()
        self._nbytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._ended = threading.Event()
        self._complained = False
        self._failing = False
        self._under_way = False
        self._reason = "no answer came in time"
        self.lost = 0
        """Messages that were pushed out, refused, or given up."""
        self.delivered = 0
        self._thread = threading.Thread(target=self._run, name=f"outbox {name}", daemon=True)
        self._thread.start()

    def put(self, message: bytes, patient: bool = False) -> None:
        """Take a message. patient: wait for room as long as messages are delivered; else never wait."""
        with self._changed:
            if patient:
                self._changed.wait_for(lambda: self._closing or self._failing or self._has_room(len(message)))
            if self._closing:
                return
            if len(message) > self._limit_bytes:
                self._lose("is larger than the queue")
                return
            self._waiting.append(message)
            self._nbytes += len(message)
            while not self._has_room(0):
                self._nbytes -= len(self._waiting.popleft())
                self._lose("was pushed out of a full queue")
            self._changed.notify_all()

    def close(self) -> None:
        """Deliver what waits, for a while; what is left is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for _ in range(DRAINS):
            before = self.delivered
            self._thread.join(self._drain_s)
            if not self._thread.is_alive() or self.delivered == before:
                break
        with self._changed:
            left = len(self._waiting) + self._under_way
            if left:
                self._lose(f"was given up at the end: {self._reason}")
                self.lost += left - 1
            self._waiting.clear()
            self._ended.set()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                message = self._waiting.popleft()
                self._nbytes -= len(message)
                self._under_way = True
                self._changed.notify_all()
            self._bring(message)

    def _bring(self, message: bytes) -> None:
        for attempt in range(1, self._tries + 1):
            try:
                self._deliver(message)
            except Refused as error:
                self._settle(f"was refused: {error}")
                return
            except Later as error:
                self._reason = str(error)
                self._fails(True)
                if attempt == self._tries:
                    self._settle(f"was given up after {attempt} tries: {error}")
                    return
                if self._ended.wait(max(self._backoff.next_s(), min(error.wait_s, 60.0))):
                    return
            else:
                self._backoff.reset()
                self._fails(False)
                self._settle()
                return

    def _settle(self, loss: str = "") -> None:
        """Count the message under way. loss: how it was lost; empty: it was delivered."""
        with self._changed:
            if self._ended.is_set():  # `close` counted it
                return
            self._under_way = False
            if loss:
                self._lose(loss)
            else:
                self._complained = False
                self.delivered += 1

    def _has_room(self, nbytes: int) -> bool:
        return len(self._waiting) + bool(nbytes) <= self._limit and self._nbytes + nbytes <= self._limit_bytes

    def _fails(self, failing: bool) -> None:
        with self._changed:
            self._failing = failing
            self._changed.notify_all()

    def _lose(self, how: str) -> None:
        self.lost += 1
        if not self._complained:
            log.warning("%s: a result %s.", self._name, how)
            self._complained = True  # once until it works again; the summary has the number
