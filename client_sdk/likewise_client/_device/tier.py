"""The device's own tier: asked before any server, and told of every answer that comes from one.

The rule that the promise rests on is here: each would-be hit tosses a private coin, heads goes to the server as a
probe, and while a probe is under way nothing is answered by near entries.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from likewise_client import _calls as calls
from likewise_client._answer import Answer
from likewise_client._calls import Call, Local
from likewise_client._device import disk
from likewise_client._device.cache import DeviceCache, DeviceCacheInfo
from likewise_client._device.keys import MakeKey, key_maker, scaled
from likewise_client._device.lease import Lease, Terms, read_terms
from likewise_client._device.pack import Packed
from likewise_client._device.store import Kept, Store
from likewise_client._errors import InvalidInput, LikewiseClientError, MalformedAnswer, Unavailable
from likewise_client._wire import decode_result, encode_key, text_of

if TYPE_CHECKING:
    from likewise_client._exchange import Steps

log = logging.getLogger("likewise_client")

ASK_AGAIN_S = 30.0
"""Seconds after which a server that did not describe a function is asked again."""
SAVE_EVERY = 256
"""Entries that come in between two times that the tier is kept on disk."""
REMEMBERED_KEYS = 64
"""Keys that were asked for, of which the server is told when the device warms up."""

Key = NDArray[np.float32]


class Exchange(Protocol):
    """What the tier needs of the exchange that it belongs to."""

    def run(self, call: Call[Any], *, patient: bool = True, node: str | None = None) -> Steps[Any]:
        """Carry one call through."""


@dataclass
class Place:
    """What the tier has of one function."""

    function: str
    store: Store
    lease: Lease = field(default_factory=Lease)
    origin: str = ""
    number: int = -1
    """The newest version known, with the origin; -1: none."""
    make_key: MakeKey | None = None
    cosine: bool = False
    described: bool = False
    ask_at: float = -math.inf
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


@dataclass
class Query:
    """One request, as the tier looks at it."""

    digest: bytes
    key: Key | None
    number: int = 0
    sent_at: float = 0.0
    lease: str = ""
    """The lease that the request was sent under."""
    probe: str = ""
    """The entry that would have answered it."""
    watch: bool = False
    """It asks for no lease, since another one does."""
    wants: bool = False
    """It asks for the first lease."""


class Tier:
    """The entries and leases of one client. Safe to share between threads and tasks: it locks, for microseconds."""

    def __init__(
        self,
        cache: DeviceCache,
        clock: Callable[[], float] = time.monotonic,
        coin: Callable[[], float] | None = None,
    ) -> None:
        """Set up. coin: uniform numbers in [0, 1) that nobody can foresee; default: the operating system's."""
        self._cache = cache
        self._clock = clock
        self._coin = coin or SystemRandom().random
        self._folder = None if cache.path is None else Path(cache.path)
        self._places: dict[str, Place] = {}
        self._lock = threading.RLock()

    def info(self, function: str) -> DeviceCacheInfo:
        """Return the counters of one function."""
        with self._lock:
            place = self._place(function)
            pi = place.lease.pi if place.lease.live(self._clock()) else 1.0
            return DeviceCacheInfo(
                len(place.store), place.store.repeats, place.store.bytes, place.hits, place.repeated, place.probes,
                place.asked, pi,
            )  # fmt: skip

    def answer(
        self, exchange: Exchange, call: Call[Answer], local: Local, *, patient: bool, node: str | None
    ) -> Steps[Answer]:
        """Answer from the tier where it may, else carry the call through and learn from what comes back."""
        place = self._place(local.function)
        if not place.described:
            yield from self._describe(exchange, place, node)
        query = Query(self._digest(local), self._key(place, local))
        found = self._find(place, local, query)
        if found is not None:
            return found
        asking = self._asking(place, call, query)
        spare = self._spare(place, query)
        answer: Answer
        try:
            answer, terms = yield from exchange.run(asking, patient=patient and spare is None, node=node)
            self._take(place, query, answer, terms)
        except Unavailable:
            self._lose(place, query)
            if spare is not None:
                return self._answered(spare, "offline")
            raise
        except BaseException:  # also when the caller is cancelled
            self._lose(place, query)
            raise
        finally:
            place.wanting = place.wanting and not query.wants
        return answer

    def warm_up(self, exchange: Exchange, function: str, entries: int | None, where: str) -> Steps[int]:
        """Take in what the server thinks worth having; return how many entries came."""
        place = self._place(function)
        with self._lock:
            keys = text_of(b"".join(encode_key(key) for key in place.keys)) if place.keys else None
        wanted = min(entries or self._cache.max_entries, self._cache.max_entries)
        call = calls.warm_up(function, wanted, self._cache.max_bytes, where, keys)
        header, packed = yield from exchange.run(call)
        return self._load(place, header, packed)

    def leave(self, exchange: Exchange) -> Steps[None]:
        """Give all leases back and keep what is to be kept; no failure is raised."""
        for place in list(self._places.values()):
            with self._lock:
                lease, live = place.lease, place.lease.live(self._clock())
                done = not (lease.probing or lease.lost)
                said = calls.report(place.function, lease.id, lease.answered, lease.repeats, done)
                lease.end()
            if live:
                try:
                    yield from exchange.run(said, patient=False)
                except LikewiseClientError as error:
                    log.debug("a lease could not be given back: %s", error)
        self.save()

    def save(self) -> None:
        """Keep the entries on disk, where that is wanted."""
        for place in list(self._places.values()):
            self._save(place)

    # ── looking ────────────────────────────────────────────────────────────────────────────────────────────

    def _find(self, place: Place, local: Local, query: Query) -> Answer | None:
        """Return an answer; None: ask the server, as a probe where the query says so now."""
        with self._lock:
            place.asked += 1
            if query.key is not None and place.make_key is not None:
                place.keys.append(query.key)
            now, lease = self._clock(), place.lease
            if not lease.live(now):
                return None
            kept = place.store.exact(query.digest, now)
            if kept is not None and _fresh(kept, local, now):
                lease.repeats += 1
                place.repeated += 1
                return self._answered(kept, "exact")
            if query.key is None or lease.probing or lease.pi >= 1.0:
                return None
            kept = place.store.nearest(query.key, now)
            if kept is None or not _fresh(kept, local, now):
                return None
            if self._coin() < lease.pi:
                lease.probing, lease.settled_after = True, 1 << 62
                query.probe = kept.entry or ""
                place.probes += 1
                return None
            lease.answered += 1
            place.hits += 1
            return self._answered(kept, "near")

    def _spare(self, place: Place, query: Query) -> Kept | None:
        """Return what to answer with where no server can be asked, if the app wants that."""
        if self._cache.offline != "serve":
            return None
        with self._lock:
            now = self._clock()
            kept = place.store.exact(query.digest, now)
            if kept is None and query.key is not None:
                kept = place.store.nearest(query.key, now)
            return kept

    def _answered(self, kept: Kept, detail: str) -> Answer:
        now = self._clock()
        ttl_s = kept.expires_at - now
        return Answer(
            "hit",
            decode_result(kept.body, kept.media_type),
            kept.body,
            kept.media_type,
            kept.entry,
            max(0.0, now - kept.created_at),
            max(0.0, ttl_s) if math.isfinite(ttl_s) else None,
            detail=detail,
            source="device",
        )

    # ── asking ─────────────────────────────────────────────────────────────────────────────────────────────

    def _asking(self, place: Place, call: Call[Answer], query: Query) -> Call[tuple[Answer, Terms | None]]:
        """Return the call with what the server is to know of the lease, and a reader of what it says of it."""
        with self._lock:
            lease = place.lease
            place.sent += 1
            query.number, query.sent_at, query.lease = place.sent, self._clock(), lease.id
            query.watch = not lease.id and place.wanting
            place.wanting = place.wanting or not lease.id
            query.wants = not (lease.id or query.watch)
            parts = [lease.id or ("watch" if query.watch else "want")]
            if place.version:
                parts.append(f"version={place.version}")
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
        read = call.read

        def reading(response: Any, node: str) -> tuple[Answer, Terms | None]:
            try:
                terms = read_terms(response.headers)
            except (ValueError, TypeError) as error:
                raise MalformedAnswer(f"{node} said of leases what the protocol does not know: {error}") from error
            return read(response, node), terms

        headers = {**call.headers, "Likewise-Lease": "; ".join(parts)}
        asking: Any = replace(call, headers=headers, read=cast(Any, reading), local=None)
        return cast("Call[tuple[Answer, Terms | None]]", asking)

    def _describe(self, exchange: Exchange, place: Place, node: str | None) -> Steps[None]:
        """Learn how keys of a function are made; without an answer, its bytes are compared alone until later."""
        with self._lock:
            if self._clock() < place.ask_at:
                return
            place.ask_at = self._clock() + ASK_AGAIN_S
        try:
            description = yield from exchange.run(calls.describe(place.function), patient=False, node=node)
            primary = description["keys"][0]
            make_key = key_maker(str(primary["extractor"]), str(primary["metric"]), int(primary["dimension"]))
        except LikewiseClientError as error:
            log.debug("%s could not be described: %s", place.function, error)
            return
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise MalformedAnswer(f"the description of {place.function} is none: {error!r}") from error
        with self._lock:
            place.make_key, place.cosine, place.described = make_key, primary["metric"] == "cosine", True

    def _key(self, place: Place, local: Local) -> Key | None:
        if local.key is not None:
            if not place.described:
                return None
            key = local.key
            return scaled(key) if place.cosine else key
        if place.make_key is None or local.lookup:
            return None
        return place.make_key(local.value, local.body, local.media_type)

    @staticmethod
    def _digest(local: Local) -> bytes:
        return blake2b(local.media_type.encode() + b"\n" + local.body, digest_size=16).digest()

    # ── learning ───────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, place: Place, query: Query, answer: Answer, terms: Terms | None) -> None:
        """Take in an answer of the server."""
        with self._lock:
            lease = place.lease
            if terms is None:
                self._lose(place, query)
                return
            current = self._follow(place, terms)
            own = bool(query.probe) and lease.id == query.lease
            if own and terms.verdict in ("contradicted", "abandoned"):
                place.store.remove(query.probe)
                lease.end()
            elif own and terms.verdict == "confirmed":
                lease.probing = False
            elif own and terms.verdict == "pending":
                lease.settled_after = place.sent
            elif own:  # whoever answered did not know the lease
                lease.end(lost=True)
            if not query.watch:
                lease.take(terms, query.sent_at, query.number)
            if current and answer.found:
                self._keep(place, query, answer, terms)
        if place.unsaved >= SAVE_EVERY:
            self._save(place)

    def _follow(self, place: Place, terms: Terms) -> bool:
        """Drop what was taken out; return whether the answer is as new as what is known."""
        if terms.origin != place.origin:
            if place.origin or terms.reset:
                place.store.clear()
            place.origin, place.number = terms.origin, terms.number
            return True
        if terms.number < place.number:
            return False
        if terms.reset:
            place.store.clear()
        for entry in terms.drop:
            place.store.remove(entry)
        if terms.number > place.number and not (terms.reset or terms.drop):
            place.store.clear()  # something went, and the answer does not say what
        place.number = terms.number
        return True

    def _keep(self, place: Place, query: Query, answer: Answer, terms: Terms) -> None:
        now = self._clock()
        ttl_s = math.inf if answer.ttl_s is None else answer.ttl_s
        expires_at = query.sent_at + max(0.0, min(ttl_s, terms.valid_s))
        kept = Kept(answer.entry, answer.body, answer.media_type, now - answer.age_s, expires_at)
        if terms.exact:
            place.store.remember(query.digest, kept)
        key = terms.key if terms.key is not None else query.key
        if answer.entry is not None and key is not None:
            place.store.put(key, terms.radius, kept)
            place.unsaved += 1

    def _lose(self, place: Place, query: Query) -> None:
        """Take note that a request got no answer: where it was a probe, the lease is over."""
        with self._lock:
            if query.probe and place.lease.id == query.lease:
                place.lease.end(lost=True)
                query.probe = ""

    def _load(self, place: Place, header: dict[str, Any], packed: list[Packed]) -> int:
        """Take entries in that are as new as what is known, the best of them last, so that they stay longest."""
        origin, _, text = str(header.get("version", "")).partition(".")
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else -1
        with self._lock:
            if number < 0 or (origin == place.origin and number < place.number):
                return 0
            if origin != place.origin:
                place.store.clear()
                place.lease.end()
                place.origin, place.number = origin, number
            now = self._clock()
            for each in reversed(packed):
                kept = Kept(each.entry, each.body, each.media_type, now - each.age_s, now + each.ttl_s)
                place.store.put(each.key, each.radius, kept)
            return len(packed)

    def _place(self, function: str) -> Place:
        with self._lock:
            place = self._places.get(function)
            if place is None:
                store = Store(self._cache.max_entries, self._cache.max_bytes)
                place = self._places[function] = Place(function, store)
                if self._folder is not None:
                    header, packed = disk.load(self._folder, function, self._cache.max_bytes)
                    spent_s = max(0.0, time.time() - float(header.get("saved_at", 0.0))) if packed else 0.0
                    self._load(place, header, [_aged(each, spent_s) for each in packed if each.ttl_s > spent_s])
            return place

    def _save(self, place: Place) -> None:
        with self._lock:
            place.unsaved = 0
            if self._folder is None or not place.version:
                return
            entries = list(place.store.entries(self._clock()))
            header = {"version": place.version, "saved_at": time.time()}
            disk.save(self._folder, place.function, header, entries, place.store.dimension)


def _fresh(kept: Kept, local: Local, now: float) -> bool:
    return (local.max_age_s is None or now - kept.created_at <= local.max_age_s) and (
        local.min_fresh_s is None or kept.expires_at - now >= local.min_fresh_s
    )


def _aged(packed: Packed, seconds: float) -> Packed:
    return replace(packed, ttl_s=packed.ttl_s - seconds, age_s=packed.age_s + seconds)


def tier_of(cache: DeviceCache | None, clock: Callable[[], float]) -> Tier | None:
    """Return the tier of a client with such settings; None: it has none."""
    if cache is None:
        return None
    if not isinstance(cache, DeviceCache):
        raise InvalidInput(f"device_cache is a DeviceCache(...), not {cache!r}")
    return Tier(cache, clock)
