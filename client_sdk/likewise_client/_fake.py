"""What the fake server of `testing` keeps: functions with their entries, compared by plain distance."""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from likewise_client._wire import NPY

Key = Union[NDArray[np.float32], bytes]
"""A vector, or the bytes of an input that only equals itself."""


@dataclass
class StoredEntry:
    """An entry that a fake server keeps."""

    id: str
    keys: dict[str, Key]
    body: bytes
    media_type: str
    created_at: float
    expires_at: float
    tags: tuple[str, ...]


@dataclass
class FakeFunction:
    """A function that the fake server serves; change it while the test goes on."""

    name: str
    compute: Callable[[bytes], Any] | None = None
    """From a body to the result (JSON-able); None: devices compute and insert. What it raises is `model-failed`."""
    radius: float = 0.0
    """Reuse entries at most so far, in plain L2 distance; 0: of equal keys alone."""
    ttl_s: float = 3600.0
    dimension: int | None = None
    """Length of a key, where several keys in one lookup are to be told apart; default: that of the first insert."""
    probes: int = 0
    """So many of the next would-be hits become probes."""
    lease: float | None = None
    """Probability of a probe in the leases that devices get for their own cache; None: they get none."""
    changes: int = 0
    """How often entries were taken out."""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("hit", "miss", "probe"), 0))
    """Answers by outcome."""
    entries: list[StoredEntry] = field(default_factory=list, repr=False)
    tickets: dict[str, str] = field(default_factory=dict, repr=False)
    """Tickets still good: the node of each."""
    redeemed: int = 0
    """Inserts that named a good ticket, at the node that gave it."""

    def nearest(self, key: Key, key_type: str | None, control: str, now: float) -> StoredEntry | None:
        """Return the entry that answers a key, as the request's Cache-Control allows; drop what has expired."""
        self.entries[:] = [entry for entry in self.entries if entry.expires_at > now]
        best, found = self.radius, None
        for entry in self.entries:
            other = entry.keys.get(key_type or next(iter(entry.keys)), b"")
            distance = _distance(key, other)
            if distance <= best:
                best, found = distance, entry
        wanted = dict(part.strip().partition("=")[::2] for part in control.split(","))
        if found is not None and (
            now - found.created_at > float(wanted.get("max-age", "inf"))
            or found.expires_at - now < float(wanted.get("min-fresh", 0.0))
        ):
            return None
        return found

    def store(
        self, keys: dict[str, Key], body: bytes, media_type: str, ttl_s: float, tags: Iterable[str], now: float
    ) -> StoredEntry:
        """Keep a result."""
        entry = StoredEntry(secrets.token_hex(8), keys, body, media_type, now, now + ttl_s, tuple(tags))
        self.entries.append(entry)
        return entry

    def takes_probe(self) -> bool:
        """Say whether this would-be hit is a probe."""
        self.probes -= (probing := self.probes > 0)
        return probing

    def new_ticket(self, node: str) -> str:
        """Hand out a ticket."""
        ticket = secrets.token_urlsafe(9)
        self.tickets[ticket] = node
        return ticket


class RefusedError(Exception):
    """What a fake server refuses."""

    def __init__(self, status: int, slug: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail, self.retry_after_s = status, slug, detail, retry_after_s


def vector(data: bytes) -> NDArray[np.float32]:
    """Return a key from its bytes."""
    if len(data) % 4:
        raise RefusedError(422, "invalid-value", "A key is little-endian float32: four bytes a number.")
    return np.frombuffer(data, dtype="<f4")


def json_key(value: Any) -> NDArray[np.float32]:
    """Return a key from base64 or a list of numbers."""
    if isinstance(value, str):
        return vector(base64.b64decode(value))
    return np.asarray(value, dtype=np.float32)


def input_key(body: bytes, media_type: str) -> Key:
    """Return what a raw input is compared by: an array, or its bytes."""
    if media_type == NPY:
        array: NDArray[np.float32] = np.load(io.BytesIO(body), allow_pickle=False).astype(np.float32).ravel()
        return array
    return body


def _distance(one: Key, other: Key) -> float:
    if isinstance(one, bytes) or isinstance(other, bytes):
        return 0.0 if isinstance(one, bytes) and isinstance(other, bytes) and one == other else float("inf")
    return float(np.linalg.norm(one - other)) if one.shape == other.shape else float("inf")
