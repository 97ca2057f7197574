"""The thread that sends a source's frames and gives the answers to the sinks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from likewise.errors import SettingsError
from likewise_client import (
    Answer,
    Conflict,
    Forbidden,
    LikewiseClientError,
    NotFound,
    Overloaded,
    ServerProblem,
    Stream,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from likewise_watch.backoff import Backoff
from likewise_watch.counts import Counts
from likewise_watch.encoding import Encode
from likewise_watch.errors import SourceLost
from likewise_watch.found import Found, Frame, Shot, Sink
from likewise_watch.handoff import Handoff

log = logging.getLogger(__name__)

_PASSING = (408, 429, 502, 503, 504)
_REFUSED = (Unauthorized, Forbidden, NotFound, UnsupportedMediaType, TooLarge)


class Sender:
    """Sends frames of one source, one after another, so that they stay in order.

    wait_s: how long a server that answered before may refuse access, or not know the function, as one does that is
    starting again, before that is the end.
    """

    def __init__(
        self,
        stream: Stream[Answer],
        encode: Encode,
        sinks: Sequence[Sink],
        counts: Counts,
        stop: threading.Event,
        backoff: Backoff,
        wait_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._encode = encode
        self._sinks = sinks
        self._counts = counts
        self._stop = stop
        self._backoff = backoff
        self._wait_s = wait_s
        self._clock = clock
        self._away = False
        self._refused_since: float | None = None

    def run(self, frames: Handoff[Shot]) -> None:
        """Send all frames that come.

        Raises SettingsError where the server will not take them, LikewiseError where a sink takes no more.
        """
        while (shot := frames.get()) is not None and not self._stop.is_set():
            try:
                frame = shot.frame()
            except SourceLost as error:
                log.warning("%s: %s", self._counts.name, error.detail)
                self._counts.failed += 1
                continue
            found = self._ask(frame, frames)
            if found is not None:
                for sink in self._sinks:
                    sink.put(found)

    def _ask(self, frame: Frame, frames: Handoff[Shot]) -> Found | None:
        """Return what came of a frame; None for one that was dropped."""
        body, media_type = self._encode(frame.pixels)
        counts = self._counts
        counts.sent += 1
        while not self._stop.is_set():
            began = self._clock()
            try:
                answer = self._stream.infer(body, media_type=media_type, number=frame.number)
            except LikewiseClientError as error:
                if isinstance(error, Conflict) and error.slug == "late-frame":
                    break
                if not self._passes(error):
                    counts.failed += 1
                    return Found(self._counts.name, frame, None, self._clock() - began, str(error))
                self._pause(error)
                if frames.newer():
                    break
                continue
            return self._answered(frame, answer, self._clock() - began)
        counts.late += not self._stop.is_set()
        return None

    def _answered(self, frame: Frame, answer: Answer, latency_s: float) -> Found:
        counts = self._counts
        if self._away:
            log.warning("%s: the server answers again", self._counts.name)
        self._away, self._refused_since = False, None
        self._backoff.reset()
        counts.answered += 1
        counts.hits += answer.from_cache
        counts.latency_s += latency_s
        counts.kinds[answer.outcome] = counts.kinds.get(answer.outcome, 0) + 1
        return Found(self._counts.name, frame, answer, latency_s)

    def _passes(self, error: LikewiseClientError) -> bool:
        """Return whether the frame is worth sending again. Raises SettingsError where no frame ever will be."""
        if isinstance(error, Unavailable) or (isinstance(error, ServerProblem) and error.status in _PASSING):
            self._refused_since = None
            return True
        if not isinstance(error, _REFUSED):
            return False
        now = self._clock()
        self._refused_since = now if self._refused_since is None else self._refused_since
        may_change = isinstance(error, (Unauthorized, Forbidden, NotFound)) and self._counts.answered
        if not may_change or now - self._refused_since > self._wait_s:
            raise SettingsError(f"Function `{self._stream.function}`: {error}") from None
        return True

    def _pause(self, error: LikewiseClientError) -> None:
        if not self._away:
            self._away = True
            self._counts.server_losses += 1
            log.warning("%s: %s. Trying again.", self._counts.name, str(error).rstrip("."))
        asked_s = error.retry_after_s if isinstance(error, Overloaded) else 0.0
        self._stop.wait(max(self._backoff.next_s(), min(asked_s, 60.0)))
