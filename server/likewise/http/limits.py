"""What one HTTP connection, one address and all of them together may take."""

from __future__ import annotations

from dataclasses import dataclass

from likewise.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one server process; times in seconds."""

    keep_alive_s: float = 75.0
    """A connection without a request is closed after this."""
    max_connections: int = 4096
    max_per_address: int = 3072
    head_bytes: int = 65_536
    """Longest head of a request, all bytes up to the body."""
    head_timeout_s: float = 10.0
    """Time for a head, from its first byte; on a new connection from its beginning."""
    body_timeout_s: float = 30.0
    """Time for a body, from the end of the head, and more as `min_rate` has it."""
    body_bytes: int = 1 << 28
    """Longest body of any route; routes have limits of their own below it."""
    held_bytes: int = 1 << 29
    """All bodies together of requests that are not answered yet."""
    unread_bytes: int = 1 << 28
    """All answers together that clients have not read yet."""
    min_rate: int = 4096
    """Bytes a second in which a slow client has to send a body and to read an answer."""
    patience_s: float = 10.0
    """How long a request waits for its turn at most, from its first byte; less where it has a Request-Timeout."""
    write_timeout_s: float = 30.0
    """Time in which a client has to read some of its answer."""


def connection_limits(settings: Settings) -> Limits:
    """Return the limits that the settings give."""
    return Limits(
        keep_alive_s=settings.keep_alive_s,
        max_connections=settings.max_connections,
        max_per_address=settings.max_connections_per_address or max(1, settings.max_connections * 3 // 4),
        head_bytes=settings.max_head_bytes,
        head_timeout_s=settings.head_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        body_bytes=settings.max_upload_bytes,
        held_bytes=max(settings.max_held_bytes, settings.max_upload_bytes),
        unread_bytes=settings.max_unread_bytes,
        min_rate=settings.min_rate,
        patience_s=settings.queue_timeout_s,
        write_timeout_s=settings.write_timeout_s,
    )
