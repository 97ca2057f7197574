"""What became of requests, as the ways write it down and the figures read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

WAYS = ("device", "edge_no_reuse", "device_cache", "edge_cache", "both")
"""All on the device; all on the edge without reuse; each tier alone; both tiers."""


class From(StrEnum):
    """Where an answer came from."""

    DEVICE_MODEL = "device model"
    DEVICE_CACHE = "device cache"
    EDGE_MODEL = "edge model"
    EDGE_CACHE = "edge cache"
    NOWHERE = "nowhere"
    """It failed."""


@dataclass(frozen=True, slots=True)
class Check:
    """What checking an answer took that a device had given: nobody waited for it."""

    seconds: float
    up_bytes: int
    down_bytes: int
    computed: bool
    """Whether it came to a run of the model; not where it failed."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One request of a way."""

    position: int
    """In the trace."""
    label: str
    """Empty where it failed."""
    source: From
    probe: bool
    latency_s: float
    up_bytes: int
    down_bytes: int
    busy_s: float
    """CPU seconds of the phone."""
    error: str = ""
    at_s: float = 0.0
    """When it was answered, since the beginning of the run."""
    link_s: float = 0.0
    """Of the latency, what the network took."""
    stored: bool = False
    """Whether the edge kept what it computed, and told its peers."""
    check: Check | None = None
    """Of an answer of the device that was checked in the background."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What one request of a function takes of a core here, in CPU seconds: medians, measured when the run began."""

    model_s: float
    key_s: float
    """Decoding an input and extracting its key."""
    lookup_s: float
    """Searching a device's tier and deciding."""

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


CHECKED = f"{From.DEVICE_CACHE.value}, checked"
"""What a simulation calls the source of an answer that its device gave and had checked afterwards."""

BUCKETS = (0, 1, 2, 4, 8, 16, 32)
"""Least count of each bucket of history."""


def bucket(count: int) -> int:
    """Return the bucket of so many earlier requests for a thing."""
    return sum(count >= least for least in BUCKETS) - 1
