"""The sink that records requests in a capture: handed over on the event loop, encoded and written by a thread."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from likewise.captures.files import CaptureWriter
from likewise.captures.record import Recorded, encode, encode_lost
from likewise.errors import SettingsError
from likewise.events import Answered
from likewise.types import Clock

log = logging.getLogger("likewise.sinks.capture")

PERIOD_S = 0.1
"""Time between two writes: about as much is lost where the process is killed."""
SILENCE_S = 60.0
"""Time between two lines of the log about requests that are not in the capture."""
SHARE = 4
"""Times as much as is free may wait of one account: four fifths where it is alone, and there is room for others.

Source: Choudhury and Hahne, Dynamic Queue Length Thresholds, IEEE/ACM Transactions on Networking, 1998.
"""
_OVERHEAD_BYTES = 512
"""What a request that waits takes beside its input and its result."""


class CaptureSink:
    """Records what it is told of; a `likewise.events.Sink`.

    Requests that are to leave no trace are left out. What the disk does not take in time is left out and counted.
    """

    def __init__(self, writer: CaptureWriter, *, inputs: bool, pending_bytes: int, clock: Clock = time.time) -> None:
        """Set up. inputs: keep them, and the devices' names; else keys alone, and pseudonyms that nobody can resolve.

        pending_bytes: of requests that may wait to be written; those of one account leave a fifth to others.
        """
        self._writer = writer
        self._inputs = inputs
        self._limit = pending_bytes
        self._clock = clock
        self._salt = secrets.token_bytes(32)  # of this process, and never written
        self._waiting: deque[tuple[Recorded, str, int]] = deque()
        self._taken = self._done = 0  # bytes: one counts on the loop, the other on the thread
        self._came: Counter[str] = Counter()  # bytes by account, of those that wait
        self._refused = 0
        self._told = self._logged = 0  # of those: in the capture, and in the log
        self._silent_until = 0.0
        self._stop = threading.Event()

    def __call__(self, event: Answered) -> None:
        """Take in how a request ended."""
        asked, result = event.asked, event.result
        if asked is None and event.outcome is not None:  # it is to leave no trace
            return
        size = _OVERHEAD_BYTES + (len(asked.body) if asked else 0) + (len(result.body) if result else 0)
        free = self._limit - (self._taken - self._done)
        if size > free or self._came[event.account] + size > SHARE * free:
            self._refused += 1
            return
        self._taken += size
        self._came[event.account] += size
        self._waiting.append((self._recorded(event), event.account, size))  # decoded inputs are not held

    @property
    def lost(self) -> int:
        """Requests that were left out so far."""
        return self._refused

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write while the block runs, and all that is left at its end."""
        thread = threading.Thread(target=self._run, name="likewise-capture", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self._write()
        self._write(last=True)
        try:
            self._writer.close()
        except OSError as error:
            log.error("The capture could not be brought to disk: %s", error)

    def _write(self, last: bool = False) -> None:
        waiting = self._waiting
        frames: list[bytes] = []
        size = 0
        self._came = Counter()
        for _ in range(len(waiting)):
            record, account, each = waiting.popleft()
            size += each
            if not self._inputs and record.device:
                record = replace(record, device=self._pseudonym(record.device, account))
            frames.append(encode(record))
        lost = self._refused - self._told
        written, why = 0, "came faster than they could be written"
        try:
            for frame in frames:
                self._writer.write([frame])
                written += 1
            if lost:
                self._writer.write([encode_lost(self._clock(), lost)])
                self._told += lost
        except (OSError, SettingsError) as error:
            self._refused += len(frames) - written
            why = f"could not be written ({error})"
        self._done += size
        if self._refused > self._logged and (last or time.monotonic() >= self._silent_until):
            log.warning("%d requests are not in the capture; the latest %s", self._refused, why)
            self._logged, self._silent_until = self._refused, time.monotonic() + SILENCE_S

    def _recorded(self, event: Answered) -> Recorded:
        took = max(0.0, event.total_s)
        came = self._clock() - took
        outcome = "" if event.outcome is None else event.outcome.value
        asked = event.asked
        if asked is None:
            return Recorded(came, took, event.function, "", outcome, event.reason)
        device = asked.session.device if asked.session else ""
        kept = self._inputs and len(asked.body) > 0
        return Recorded(
            came,
            took,
            event.function,
            device,
            outcome,
            event.reason,
            asked.media_type if kept else "",
            asked.body if kept else b"",
            "" if kept else asked.key_type,
            None if kept else asked.key,
            event.result,
        )

    def _pseudonym(self, device: str, account: str) -> str:
        return hashlib.blake2b(f"{account}\0{device}".encode(), key=self._salt, digest_size=8).hexdigest()
