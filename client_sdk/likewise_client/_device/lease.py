"""A device's side of a lease: what the server's headers say, and the coin that stands for the promise."""

from __future__ import annotations

import base64
import math
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from likewise_client._device.pack import Packed, read_pack

MOST_PREFETCHED_BYTES = 1 << 18
"""Of the entries that come with one answer, when they are unpacked."""

CHECKED_LATER = 3.0
"""Fewest tokens with which a would-be hit may be answered first and checked afterwards."""
BESIDE = 2
"""Most would-be hits that are answered while a check is under way."""

Toss = Literal["answer", "check", "probe", "ask"]
"""What becomes of a would-be hit: it answers; it answers and is checked in the background; it is sent as a probe, which
answers; it is sent as any other request."""

_VERSION = re.compile(r"([0-9a-f]{8})\.([0-9]{1,15})")
_ENTRY = re.compile(r"[0-9a-f]{16}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True)
class Terms:
    """What the headers of one answer say about leases and about the entry."""

    id: str = ""
    """Empty: there is no lease."""
    pi: float = 1.0
    ttl_s: float = 0.0
    origin: str = ""
    number: int = 0
    reset: bool = False
    drop: tuple[str, ...] = ()
    verdict: str = ""
    """`confirmed`, `contradicted`, `pending` or `abandoned`, of a probe; empty otherwise."""
    checking: bool = False
    """A probe of this lease is being checked."""
    radius: float = 0.0
    exact: bool = False
    valid_s: float = math.inf
    """For which the result stays valid."""
    key: NDArray[np.float32] | None = field(default=None, compare=False)
    prefetched: tuple[Packed, ...] = field(default=(), compare=False)
    """Entries that came with the answer, beside its own."""
    space: str = ""
    """Digest of the projection among whose keys the radii are; empty: among keys as they are."""


def read_terms(headers: Mapping[str, str]) -> Terms | None:
    """Return what the headers of an answer say; None: nothing. Raises ValueError for what means nothing."""
    text = headers.get("likewise-lease")
    if text is None:
        return None
    first, *parameters = (part.strip() for part in text.split(";"))
    if not _ID.fullmatch(first):
        raise ValueError(f"a lease named {first[:40]!r}")
    found = dict(part.partition("=")[::2] for part in parameters)
    version = _VERSION.fullmatch(found.get("version", ""))
    if version is None:
        raise ValueError("a lease without the version of its function")
    live = first != "none"
    pi = _number(found.get("pi", "")) if live else 1.0
    ttl_s = _number(found.get("ttl", "")) if live else 0.0
    if not 0.0 < pi <= 1.0:
        raise ValueError(f"a lease with probability {pi}")
    drop = tuple(part for part in found.get("drop", "").split(",") if part)
    if not all(_ENTRY.fullmatch(each) for each in drop):
        raise ValueError("entries taken out that are none")
    verdict = next((word for word in ("confirmed", "contradicted", "pending", "abandoned") if word in found), "")
    radius, exact, valid_s = _reuse(headers.get("likewise-reuse", ""))
    return Terms(
        first if live else "",
        pi,
        ttl_s,
        version[1],
        int(version[2]),
        "reset" in found,
        drop,
        verdict,
        "checking" in found,
        radius,
        exact,
        valid_s,
        _key(headers.get("likewise-key")),
        _prefetched(headers.get("likewise-prefetch")),
        headers.get("likewise-projection", ""),
    )


def terms_of(change: Mapping[str, Any]) -> Terms:
    """Return what an event says was taken out. Raises ValueError, KeyError or TypeError for what is none."""
    version = _VERSION.fullmatch(change["version"])
    drop = tuple(change["entries"])
    if version is None or not all(_ENTRY.fullmatch(each) for each in drop):
        raise ValueError("a change without its version, or of entries that are none")
    return Terms(origin=version[1], number=int(version[2]), reset=change["reset"] is True, drop=drop)


def _reuse(text: str) -> tuple[float, bool, float]:
    found = dict(part.strip().partition("=")[::2] for part in text.split(";"))
    valid_s = _number(found["ttl"]) if "ttl" in found else math.inf
    return _number(found.get("radius", "0")), "exact" in found, valid_s


def _key(text: str | None) -> NDArray[np.float32] | None:
    if text is None:
        return None
    content = base64.b64decode(text, validate=True)
    if not content or len(content) % 4:
        raise ValueError("a key that is no float32 numbers")
    key = np.frombuffer(content, "<f4").astype(np.float32)
    if not (np.abs(key) < 1e15).all():
        raise ValueError("a key with numbers that cannot be")
    return key


def _prefetched(text: str | None) -> tuple[Packed, ...]:
    if text is None:
        return ()
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(base64.b64decode(text, validate=True), MOST_PREFETCHED_BYTES)
    except zlib.error as error:
        raise ValueError(f"prefetched entries that are not compressed: {error}") from error
    if not inflater.eof:
        raise ValueError("prefetched entries that are cut short, or too many")
    return tuple(read_pack(content)[1])


def _number(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0.0):
        raise ValueError(f"{text!r} where a number belongs")
    return value


@dataclass
class Lease:
    """The lease that a device holds for one function, or held last."""

    id: str = ""
    pi: float = 1.0
    expires_at: float = -math.inf
    """By the device's own clock."""
    answered: int = 0
    """Would-be hits answered under it, but for those that are checked: the answer to the check counts for them."""
    repeats: int = 0
    probing: bool = False
    """A probe is under way, or being checked: no near hits meanwhile, but for a few beside a check."""
    settled_after: int = 0
    """While probing: an answer to a request with a number above this one says whether the probe is settled."""
    over: bool = False
    """It ended, and never begins again; another one may."""
    lost: bool = False
    """A probe of it was lost."""
    since: int = 0
    """Number of the request that brought it."""
    _under_way: int = 0
    """Probes and checks that are not settled."""
    _pending: int = 0
    """Those of them that were answered and are being checked."""
    _room: int = 0
    """Would-be hits that may still be answered beside the check under way."""
    _rate: float = 1.0
    """With which probability it was checked; those beside it are probed with the same."""
    _came: int = 0
    """Would-be hits that came while the last check, or the one under way, was not settled."""

    def live(self, now: float) -> bool:
        """Whether it stands."""
        return bool(self.id) and not self.over and now < self.expires_at

    def toss(self, coin: Callable[[], float], *, background: bool) -> Toss:
        """Toss the coin of a would-be hit under a lease that stands, and take note of what comes of it.

        The lease holds c = (1 - pi) / pi tokens. A probe answers in the hit's place, so that 1 - pi of wrong hits are
        served and pi are charged c. A check in the background comes after the answer: all wrong hits are served, and
        1 / (c - m) are charged c, the m for as many hits that may be answered before the check is settled: as many as
        came meanwhile the last time. Either way what is served is no more than what is charged, in expectation
        (docs/accuracy.md). background: whether hits may be checked after they were answered.
        """
        if self.pi >= 1.0:
            return "ask"
        if self.probing:
            self._came += background
            if not (background and self._room):
                return "ask"
            self._room -= 1
            if coin() >= self._rate:
                self.answered += 1
                return "answer"
            self._room = 0
            self._under_way += 1
            return "probe"
        tokens = (1.0 - self.pi) / self.pi
        later = background and tokens >= CHECKED_LATER
        room = min(self._came, BESIDE, int(tokens - CHECKED_LATER)) if later else 0
        self._rate = 1.0 / (tokens - room) if later else self.pi
        if coin() >= self._rate:
            self.answered += 1
            return "answer"
        self.probing, self.settled_after = True, 1 << 62
        self._room, self._came, self._under_way = room, 0, 1
        return "check" if later else "probe"

    def pend(self, number: int) -> None:
        """Take note that a probe has an answer, and is being checked. number: of the newest request that was sent."""
        self.settled_after = number
        self._pending += 1

    def settle(self, count: int = 1) -> None:
        """Take note that so many probes, or checks, were confirmed."""
        self._under_way = max(0, self._under_way - count)
        self.probing = self._under_way > 0

    def end(self, *, lost: bool = False) -> None:
        """Answer nothing by it any more."""
        self.over, self.probing, self._under_way, self._pending = True, False, 0, 0
        self.lost = self.lost or lost

    def take(self, terms: Terms, sent_at: float, number: int) -> None:
        """Take in what an answer says. sent_at: when its request was sent; number: of the request, ascending.

        What an older request than that which brought the lease was told is of no account: it was overtaken.
        """
        if number < self.since:
            return
        if terms.id and terms.id != self.id:
            self.__init__(terms.id, terms.pi, sent_at + terms.ttl_s, since=number)  # type: ignore[misc]
        elif not terms.id:
            self.end()
        elif not self.over:
            self.pi = terms.pi
            self.expires_at = max(self.expires_at, sent_at + terms.ttl_s)
            if self.probing and number > self.settled_after and not terms.checking:
                self.settle(self._pending)
                self._pending = 0
