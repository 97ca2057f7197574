"""The one event that tells how a request ended, and what may listen to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from likewise.requests import Asked, Outcome
from likewise.types import Result


class Answered(NamedTuple):
    """How a request ended. Durations are in seconds; one that is negative was not measured, or did not happen."""

    function: str
    """`name@version`."""
    outcome: Outcome | None
    """None: it was refused, or failed."""
    reason: str
    """That of the verdict; the problem's slug where there is no outcome."""
    total_s: float = -1.0
    read_s: float = -1.0
    """Decoding the input and extracting its key."""
    lookup_s: float = -1.0
    """Finding the nearest neighbors."""
    decide_s: float = -1.0
    infer_s: float = -1.0
    """Inference, the wait for it included."""
    saved_s: float = 0.0
    """Inference that was not necessary."""
    account: str = ""
    """Whose error budget it was."""
    asked: Asked | None = None
    """The request itself; None where it was refused, or is to leave no trace."""
    result: Result | None = None
    """What was answered; None for a lookup that found nothing."""


Sink = Callable[[Answered], None]
"""Takes in an event, on the event loop: a microsecond, no I/O."""
