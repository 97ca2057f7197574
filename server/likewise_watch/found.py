"""What came of a frame, on its way to the sinks."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from likewise_client import Answer
from likewise_watch.encoding import Pixels


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that is to be sent."""

    number: int
    """Its place among all frames that were read of the source, from 0, over all connections."""
    taken_at: float
    """When it was decoded, Unix time."""
    position_s: float | None
    """Seconds from the start of a recording; None for a camera."""
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame as it was decoded: it becomes a picture when it is sent, and never where a newer one comes first."""

    number: int
    taken_at: float
    position_s: float | None
    view: Callable[[], Pixels]
    """Raises SourceLost for a frame that cannot be shown."""

    def frame(self) -> Frame:
        """Return the frame with its picture."""
        return Frame(self.number, self.taken_at, self.position_s, self.view())


@dataclass(frozen=True, slots=True)
class Found:
    """A frame and its answer."""

    stream: str
    frame: Frame
    answer: Answer | None
    """None: the server could not answer it."""
    latency_s: float
    error: str = ""

    def document(self) -> bytes:
        """Return what is told of it, as one line of JSON."""
        answer = self.answer
        told: dict[str, Any] = {"stream": self.stream, "frame": self.frame.number, "time": _time(self.frame.taken_at)}
        if self.frame.position_s is not None:
            told["position_s"] = round(self.frame.position_s, 6)
        if answer is None:
            return orjson.dumps({**told, "error": self.error})
        told.update(outcome=answer.outcome, detail=answer.detail or None, latency_ms=round(self.latency_s * 1000, 3))
        result = _json(answer)
        if result is not None:
            told["result"] = result
        else:
            told.update(result_base64=base64.b64encode(answer.body).decode(), media_type=answer.media_type)
        return orjson.dumps(told)


class Sink(Protocol):
    """Where results go. Called from the threads of all sources."""

    def put(self, found: Found) -> None:
        """Take a result; quickly, whatever becomes of it. Raises LikewiseError where nothing can be taken any more."""

    def close(self) -> None:
        """Bring to its end what was taken, within the limits of the sink."""

    @property
    def lost(self) -> int:
        """Results that were taken and could not be delivered."""


def _json(answer: Answer) -> orjson.Fragment | None:
    """Return a result as JSON on one line; None for one that is no JSON, or none that RFC 8259 allows."""
    if answer.media_type != "application/json":
        return None
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    lines = b"\n" in answer.body or b"\r" in answer.body  # as a device inserted it
    return orjson.Fragment(orjson.dumps(value) if lines else answer.body)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
