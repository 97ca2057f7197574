"""What a device has of one function: entries, the lease, and the rule by which it answers from them.

The promise rests on this: each would-be hit tosses a private coin, heads goes to the server as a probe or a check, and
while one is under way no more is answered by near entries than the lease has tokens for beside it (`Lease.toss`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise_client._answer import Answer
from likewise_client._calls import Local
from likewise_client._device.keys import MakeKey
from likewise_client._device.lease import Lease, Terms
from likewise_client._device.pack import Packed
from likewise_client._device.projection import Projection
from likewise_client._device.store import Kept, Store

PREFETCH = 8
"""Entries that it takes with one answer, beside the answer's own, while there is room for them."""

REMEMBERED_KEYS = 64
"""Keys that were asked for, of which the server is told when the device warms up."""

Key = NDArray[np.float32]


@dataclass
class Query:
    """One request, as the tier looks at it."""

    digest: bytes
    """Of the bytes of the input."""
    key: Key | None
    number: int = 0
    """Of those that were sent, ascending."""
    sent_at: float = 0.0
    lease: str = ""
    """The lease that the request was sent under."""
    probe: str = ""
    """The entry that would have answered it, or did."""
    watch: bool = False
    """It asks for no lease, since another one does."""
    wants: bool = False
    """It asks for the first lease."""
    space: str = ""
    """Digest of the projection among whose keys it asks for radii; empty: among keys as they are."""


@dataclass
class Place:
    """Not locked: whoever calls has to see to it. All times are by the device's own monotonic clock."""

    function: str
    store: Store
    background: bool = True
    """Whether near hits may be checked after they were answered."""
    lease: Lease = field(default_factory=Lease)
    origin: str = ""
    number: int = -1
    """The newest version known, with the origin; -1: none."""
    make_key: MakeKey | None = None
    cosine: bool = False
    projection: Projection | None = None
    """By which keys are searched, as the server does; None: as they are."""
    space: str = ""
    """Digest of the projection that made the keys in `store`, whose radii are among such keys; empty: none did."""
    described: bool = False
    complete: bool = True
    """Whether the projection is there, if there is one for this device."""
    ask_at: float = -math.inf
    """When the server may be asked for a description again."""
    wait_s: float = 0.0
    """How long that was put off the last time."""
    wanting: bool = False
    """A request that asks for the first lease is under way."""
    asked: int = 0
    sent: int = 0
    hits: int = 0
    repeated: int = 0
    probes: int = 0
    unsaved: int = 0
    keys: deque[Key] = field(default_factory=lambda: deque(maxlen=REMEMBERED_KEYS))

    @property
    def version(self) -> str:
        """The newest version known, as the protocol writes it; empty: none."""
        return f"{self.origin}.{self.number}" if self.number >= 0 else ""

    @property
    def kept_as(self) -> str:
        """What `restore` needs beside the entries: version and space. Before there were spaces, such are no version."""
        return f"{self.version}@{self.space}" if self.space else self.version

    def describe(
        self, make_key: MakeKey | None, projection: Projection | None, *, cosine: bool, complete: bool = True
    ) -> None:
        """Take in how keys are made, and searched: entries in another space than this are dropped."""
        self.make_key, self.projection, self.cosine, self.described = make_key, projection, cosine, True
        self.complete = complete
        space = "" if projection is None else projection.sha256
        if space != self.space:
            self.store.clear()
            self.space = space

    def find(self, local: Local, query: Query, now: float, coin: Callable[[], float]) -> tuple[Kept, str] | None:
        """Return what answers a request, and why; None: ask the server.

        Where the query names a probe afterwards, the server is to be asked in any case, after the answer or for it.
        """
        self.asked += 1
        if query.key is not None and self.described:
            self.keys.append(query.key)
        lease = self.lease
        if not lease.live(now):
            return None
        kept = self.store.exact(query.digest, now)
        if kept is not None and _fresh(kept, local, now):
            lease.repeats += 1
            self.repeated += 1
            return kept, "exact"
        kept = self._nearest(query, now)
        if kept is None or not _fresh(kept, local, now):
            return None
        toss = lease.toss(coin, background=self.background and not local.lookup)
        if toss in ("check", "probe"):
            query.probe = kept.entry or ""
            self.probes += 1
        if toss in ("ask", "probe"):
            return None
        self.hits += 1
        return kept, "near"

    def spare(self, query: Query, now: float) -> Kept | None:
        """Return what could answer without any lease."""
        kept = self.store.exact(query.digest, now)
        return self._nearest(query, now) if kept is None else kept

    def wish(self, query: Query, now: float) -> str:
        """Return the Likewise-Lease header of a request that is sent now."""
        lease = self.lease
        self.sent += 1
        query.number, query.sent_at, query.lease = self.sent, now, lease.id
        query.space = self.space if self.described else ""
        query.watch = not lease.id and self.wanting
        query.wants = not (lease.id or query.watch)
        self.wanting = self.wanting or query.wants
        parts = [lease.id or ("watch" if query.watch else "want")]
        if self.version:
            parts.append(f"version={self.version}")
        if lease.id:
            parts.append(f"answered={lease.answered}; repeats={lease.repeats}")
        if query.probe:
            parts.append(f"probe={query.probe}")
        elif lease.lost:
            parts.append("lost")
        elif lease.id and not lease.probing:
            parts.append("idle")
        if query.key is None:
            parts.append("key")
        if self.described and not query.watch and (room := min(PREFETCH, self.store.room)) > 0:
            parts.append(f"prefetch={room}")
        return "; ".join(parts)

    def take(self, query: Query, answer: Answer, terms: Terms | None, now: float) -> None:
        """Take in an answer of the server. terms: what it says of leases; None: nothing."""
        lease = self.lease
        if terms is None:
            self.lose(query)
            return
        current = self._follow(terms)
        if query.probe and lease.id == query.lease:
            if terms.verdict in ("contradicted", "abandoned"):
                self.store.remove(query.probe)
                lease.end()
            elif terms.verdict == "confirmed":
                lease.settle()
            elif terms.verdict == "pending":
                lease.pend(self.sent)
            else:  # whoever answered did not know the lease
                lease.end(lost=True)
        if not query.watch:
            lease.take(terms, query.sent_at, query.number)
        if current:
            self._put(terms.prefetched, terms.space, now)
        if current and answer.found:
            self._keep(query, answer, terms, now)
        if terms.space != query.space == self.space:
            self.described = False  # any more: whoever answered has no such projection

    def change(self, terms: Terms) -> int:
        """Take in that entries were taken out; return how many of them were here."""
        before = len(self.store)
        self._follow(terms)
        return before - len(self.store)

    def lose(self, query: Query) -> None:
        """Take note that a request got no answer: where it was a probe, the lease is over."""
        if query.probe and self.lease.id == query.lease:
            self.lease.end(lost=True)
            query.probe = ""

    def load(self, header: dict[str, Any], packed: list[Packed], now: float) -> int:
        """Take entries in that are as new as what is known, the best of them last, so that they stay longest."""
        if not self._newest(str(header.get("version", ""))):
            return 0
        return self._put(packed, str(header.get("projection", "")), now)

    def restore(self, header: dict[str, Any], packed: list[Packed], now: float) -> None:
        """Take entries in as this device kept them, by their keys as they are searched, before anything else."""
        version, _, self.space = str(header.get("version", "")).partition("@")
        for each in reversed(packed) if self._newest(version) else ():
            self.store.put(each.key, each.radius, _kept(each, now))

    def _nearest(self, query: Query, now: float) -> Kept | None:
        if query.key is None or not self.described:
            return None  # what was kept may be in a space that is not known yet
        return self.store.nearest(self._searched(query.key), now)

    def _searched(self, key: Key) -> Key:
        return key if self.projection is None else self.projection.one(key)

    def _takes(self, key: Key | None, space: str) -> bool:
        """Say whether an entry can be kept: radii of one space say nothing of keys in another."""
        return key is not None and space == self.space and (self.described or not space)

    def _put(self, packed: Sequence[Packed], space: str, now: float) -> int:
        taken = [each for each in packed if self._takes(each.key, space)]
        for each in reversed(taken):
            self.store.put(self._searched(each.key), each.radius, _kept(each, now))
        return len(taken)

    def _newest(self, version: str) -> bool:
        """Return whether entries of a version are as new as what is known; those of another origin replace it."""
        origin, _, text = version.partition(".")
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else -1
        if number < 0 or (origin == self.origin and number < self.number):
            return False
        if origin != self.origin:
            self.store.clear()
            self.lease.end()
            self.origin, self.number = origin, number
        return True

    def _follow(self, terms: Terms) -> bool:
        """Drop what was taken out; return whether the answer is as new as what is known."""
        if terms.origin != self.origin:
            if self.origin or terms.reset:
                self.store.clear()
            self.origin, self.number = terms.origin, terms.number
            return True
        if terms.number < self.number:
            return False
        if terms.reset or (terms.number > self.number and not terms.drop):
            self.store.clear()  # all went; or something did, and the answer does not say what
        for entry in terms.drop:
            self.store.remove(entry)
        self.number = terms.number
        return True

    def _keep(self, query: Query, answer: Answer, terms: Terms, now: float) -> None:
        ttl_s = math.inf if answer.ttl_s is None else answer.ttl_s
        expires_at = query.sent_at + max(0.0, min(ttl_s, terms.valid_s))
        kept = Kept(answer.entry, answer.body, answer.media_type, now - answer.age_s, expires_at)
        if terms.exact:
            self.store.remember(query.digest, kept)
        key = terms.key if terms.key is not None else query.key
        if answer.entry is not None and key is not None and self._takes(key, terms.space):
            self.store.put(self._searched(key), terms.radius, kept)
            self.unsaved += 1


def _kept(each: Packed, now: float) -> Kept:
    return Kept(each.entry, each.body, each.media_type, now - each.age_s, now + each.ttl_s)


def _fresh(kept: Kept, local: Local, now: float) -> bool:
    return (local.max_age_s is None or now - kept.created_at <= local.max_age_s) and (
        local.min_fresh_s is None or kept.expires_at - now >= local.min_fresh_s
    )
