"""The thread that reads a source: opens it, again and again where it is a camera, and hands sampled frames over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from likewise.errors import LikewiseError, SettingsError
from likewise_watch.address import Address
from likewise_watch.backoff import Backoff
from likewise_watch.camera import Camera, pixels
from likewise_watch.counts import Counts
from likewise_watch.errors import SourceLost
from likewise_watch.found import Shot
from likewise_watch.handoff import Handoff
from likewise_watch.sampler import Sampler

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """How sources are read."""

    rate: float | None = None
    """Frames per second at most; None: all."""
    realtime: bool = False
    """Play recordings at their own pace, as a camera would."""
    once: bool = False
    """Take the end of a live source for its end, instead of waiting for it to come back."""
    most: int | None = None
    """Frames of each source that are sent at most."""
    max_pixels: int = 25_000_000
    max_width: int | None = None
    timeout_s: float = 10.0
    """Silence of a source after which it counts as lost."""
    wait_s: float = 10.0
    """How long a source may take to be there at first."""
    buffer: int = 4
    """Frames of a recording that are decoded ahead."""


class Reader:
    """Reads one source to its end, or until `stop` is set."""

    def __init__(
        self,
        address: Address,
        reading: Reading,
        counts: Counts,
        stop: threading.Event,
        backoff: Backoff,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._address = address
        self._reading = reading
        self._counts = counts
        self._stop = stop
        self._backoff = backoff
        self._clock = clock
        self._wall = wall
        self._sampler = Sampler(reading.rate)
        self._opened = threading.Event()
        self.handoff: Handoff[Shot] | None = None
        """None before it is open for the first time."""

    def wait(self) -> Handoff[Shot] | None:
        """Wait until the source is open for the first time, or never will be; return where its frames come."""
        self._opened.wait()
        return self.handoff

    def give_up(self) -> None:
        """Let nobody wait for the source any more; it may hang while it is opened."""
        self._opened.set()

    def run(self) -> None:
        """Read. Raises SettingsError for a source that cannot be read, SourceLost for a recording that breaks off."""
        try:
            self._run()
        finally:
            self._counts.state = "ended"
            self._opened.set()
            if self.handoff is not None:
                self._counts.replaced = self.handoff.replaced
                self.handoff.end()

    def _run(self) -> None:
        began = self._clock()
        while not self._stop.is_set():
            try:
                camera = Camera(self._address, self._reading.timeout_s, self._reading.max_pixels)
            except LikewiseError as error:
                if self.handoff is None and (
                    isinstance(error, SettingsError) or self._clock() - began >= self._reading.wait_s
                ):
                    raise SettingsError(error.detail) from None
                self._pause("waiting", error)
                continue
            with camera:
                self._open(camera)
                try:
                    over = self._read(camera)
                    lost = SourceLost(f"{self._address.shown} ended.")
                except SourceLost as error:
                    if not camera.live:
                        raise
                    over, lost = False, error
            if over or not camera.live or self._reading.once:
                if not self._counts.read and not self._stop.is_set():
                    raise SettingsError(f"{self._address.shown} has no frame that can be decoded.")
                return
            self._pause("lost", lost)

    def _open(self, camera: Camera) -> None:
        if self.handoff is None:
            latest = camera.live or self._reading.realtime
            self.handoff = Handoff(1 if latest else self._reading.buffer, latest)
            self._opened.set()
        else:
            self._counts.reconnects += 1
            log.warning("%s is back", self._address.shown)
        self._counts.state = "live" if camera.live else "reading"

    def _pause(self, state: str, error: LikewiseError) -> None:
        if self._counts.state != state:
            log.warning("%s Trying again.", error.detail)
        self._counts.state = state
        self._stop.wait(self._backoff.next_s())

    def _read(self, camera: Camera) -> bool:
        """Hand over the frames of one connection; return whether no more are wanted."""
        assert self.handoff is not None
        counts, started, first_s = self._counts, self._clock(), None
        undecodable = counts.undecodable
        for at, frame in enumerate(camera.frames()):
            if self._stop.is_set():
                return True
            self._backoff.reset()
            number = counts.read
            counts.read += 1
            counts.undecodable = undecodable + camera.undecodable
            position_s = None
            if not camera.live:
                stamp_s = frame.time if frame.time is not None else at / (camera.rate or 25.0)
                first_s = stamp_s if first_s is None else first_s
                position_s = stamp_s - first_s
            if not self._sampler.takes(self._clock() if position_s is None else position_s):
                continue
            if position_s is not None and self._reading.realtime:
                self._stop.wait(max(0.0, started + position_s - self._clock()))
            counts.sampled += 1
            view = partial(pixels, frame, self._reading.max_width)
            if not self.handoff.put(Shot(number, self._wall(), position_s, view)):
                return True
            counts.replaced = self.handoff.replaced
            if counts.sampled == self._reading.most:
                return True
        return False
