"""Results as sinks get them."""

from __future__ import annotations

import json
from typing import Any

from cameras import quadrant

from likewise_client import Answer
from likewise_watch.found import Found, Frame

RESULT = {"label": "north-west", "confidence": 0.75}


def found(number: int = 0, result: Any = RESULT, stream: str = "cam", position_s: float | None = None) -> Found:
    """Return a hit for a frame of a camera, or of a recording where a position is given."""
    body = json.dumps(result).encode()
    answer = Answer("hit", result, body, "application/json")
    return Found(stream, Frame(number, 1e9 + number / 10, position_s, quadrant(number % 4, number)), answer, 0.0125)
