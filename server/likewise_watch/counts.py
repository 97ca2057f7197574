"""What is counted of each source, over all its connections."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Counts of one source. Each field has one thread that writes it."""

    name: str
    source: str
    """Without credentials."""
    read: int = 0
    """Frames decoded."""
    sampled: int = 0
    """Frames that the rate lets through; each is answered, dropped, failed, or was under way at the end."""
    undecodable: int = 0
    """Packets that could not be decoded, as after a loss."""
    replaced: int = 0
    """Frames dropped because a newer one was there before they were sent."""
    reconnects: int = 0
    """Times that the source came back."""
    sent: int = 0
    """Frames that the server was asked about."""
    answered: int = 0
    late: int = 0
    """Frames dropped because the server, or the network, was too slow for them."""
    failed: int = 0
    """Frames that the server could not answer."""
    hits: int = 0
    latency_s: float = 0.0
    """Sum over answered frames."""
    server_losses: int = 0
    """Times that the server went away, or was too busy to answer."""
    state: str = "opening"
    error: str = ""
    """Why it ended before its end; empty: it did not."""
    kinds: dict[str, int] = field(default_factory=dict)
    """Answers by outcome."""

    @property
    def dropped(self) -> int:
        """Frames that came late."""
        return self.replaced + self.late

    @property
    def mean_latency_s(self) -> float:
        """Mean time of an answer, as seen here; NaN before the first."""
        return self.latency_s / self.answered if self.answered else math.nan

    def document(self) -> dict[str, object]:
        """Return the counts as JSON has them."""
        return {
            "stream": self.name,
            "source": self.source,
            "read": self.read,
            "sampled": self.sampled,
            "sent": self.sent,
            "answered": self.answered,
            "dropped": self.dropped,
            "failed": self.failed,
            "undecodable": self.undecodable,
            "hits": self.hits,
            "outcomes": self.kinds,
            "mean_latency_ms": round(self.mean_latency_s * 1000, 3) if self.answered else None,
            "reconnects": self.reconnects,
            "server_losses": self.server_losses,
            "error": self.error or None,
        }
