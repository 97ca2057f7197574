"""The device's own tier: asked before any server, and told of every answer that comes from one."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Protocol, cast

from likewise_client import _calls as calls
from likewise_client._answer import Answer
from likewise_client._calls import Call, Local
from likewise_client._device import disk
from likewise_client._device.cache import DeviceCache, DeviceCacheInfo
from likewise_client._device.description import UNFIT, described
from likewise_client._device.keys import scaled
from likewise_client._device.lease import Terms, read_terms, terms_of
from likewise_client._device.place import Key, Place, Query
from likewise_client._device.store import Kept, Store
from likewise_client._errors import InvalidInput, LikewiseClientError, MalformedAnswer, Unavailable
from likewise_client._telemetry import CHECK, Trail
from likewise_client._wire import decode_result, encode_key, text_of

if TYPE_CHECKING:
    from likewise_client._exchange import Steps

log = logging.getLogger("likewise_client")

ASK_AGAIN_S = 30.0
"""Seconds after which a server that did not describe a function is asked again."""
MOST_S = 3600.0
"""Where a projection alone is missing it is asked for after `ASK_AGAIN_S`, then after twice as long, up to this."""
SAVE_EVERY = 256
"""Entries that come in between two times that the tier is kept on disk."""


class Exchange(Protocol):
    """What the tier needs of the exchange that it belongs to."""

    def run(self, call: Call[Any], *, patient: bool = True, node: str | None = None) -> Steps[Any]:
        """Carry one call through."""

    def carry(self, call: Call[Any], trail: Trail, *, patient: bool = True, node: str | None = None) -> Steps[Any]:
        """Do what `run` does, past the tier and uncounted."""

    def background(self, steps: Steps[None]) -> Any:
        """Return the step that goes on with others beside the caller."""

    def count(self, call: Call[Any], trail: Trail, value: Any, error: LikewiseClientError | None) -> None:
        """Count a call that is through."""


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
            store, pi = place.store, place.lease.pi if place.lease.live(self._clock()) else 1.0
            return DeviceCacheInfo(
                len(store), store.repeats, store.bytes, place.hits, place.repeated, place.probes, place.asked, pi
            )

    def answer(
        self, exchange: Exchange, call: Call[Answer], local: Local, trail: Trail, *, patient: bool, node: str | None
    ) -> Steps[Answer]:
        """Answer from the tier where it may, else carry the call through and learn from what comes back.

        trail: takes down what that costs.
        """
        place = self._place(local.function)
        if not (place.described and place.complete):
            yield from self._describe(exchange, place, node)
        query = Query(_digest(local), _key(place, local))
        found = self._find(place, local, query)
        if found is not None:
            if query.probe:
                yield from self._check_later(exchange, place, call, query, node)
            return found
        asking, spare = self._asking(place, call, query), self._spare(place, query)
        try:
            return (yield from self._ask(exchange, place, asking, query, trail, patient and spare is None, node))
        except Unavailable:
            if spare is None:
                raise
            return self._answered(spare, "offline")

    def _ask(
        self,
        exchange: Exchange,
        place: Place,
        asking: Call[tuple[Answer, Terms | None]],
        query: Query,
        trail: Trail,
        patient: bool,
        node: str | None,
    ) -> Steps[Answer]:
        """Ask a server, and learn from what comes back."""
        answer: Answer
        try:
            answer, terms = yield from exchange.carry(asking, trail, patient=patient, node=node)
            with self._lock:
                place.take(query, answer, terms, self._clock())
        except BaseException:  # also when the caller is cancelled
            with self._lock:
                place.lose(query)
            raise
        finally:
            with self._lock:
                place.wanting = place.wanting and not query.wants
        if place.unsaved >= SAVE_EVERY:
            self._save(place)
        return answer

    def _check_later(
        self, exchange: Exchange, place: Place, call: Call[Answer], query: Query, node: str | None
    ) -> Steps[None]:
        """Have an answer that was given checked, while the caller goes on."""
        asking = replace(self._asking(place, call, query), deadline_s=None)  # what is due is there
        try:
            yield exchange.background(self._check(exchange, place, asking, query, node))
        except Exception as error:  # such as that there are no more threads
            with self._lock:
                place.lose(query)
            log.warning("an answer of %s could not be checked, its lease is over: %r", place.function, error)

    def _check(
        self,
        exchange: Exchange,
        place: Place,
        asking: Call[tuple[Answer, Terms | None]],
        query: Query,
        node: str | None,
    ) -> Steps[None]:
        trail, answer, failure = Trail(self._clock(), None), None, None
        try:
            answer = yield from self._ask(exchange, place, asking, query, trail, True, node)
        except LikewiseClientError as error:
            failure = error
        exchange.count(replace(asking, operation=CHECK), trail, answer, failure)

    def warm_up(self, exchange: Exchange, function: str, entries: int | None, where: str) -> Steps[int]:
        """Take in what the server thinks worth having; return how many entries came."""
        place = self._place(function)
        if not (place.described and place.complete):
            yield from self._describe(exchange, place, None)
        with self._lock:
            space = place.space if place.described else ""
            keys = text_of(b"".join(encode_key(key) for key in place.keys)) if place.keys else None
        wanted = min(entries or self._cache.max_entries, self._cache.max_entries)
        call = calls.warm_up(function, wanted, self._cache.max_bytes, where, keys, space)
        header, packed = yield from exchange.run(call)
        with self._lock:
            return place.load(header, packed, self._clock())

    def follow(self, exchange: Exchange, function: str) -> Steps[int]:
        """Wait until something is taken out of a function, and drop it; return how many entries of it were here."""
        place = self._place(function)
        change = yield from exchange.run(calls.changes(function, place.version))
        if change is None:
            return 0
        try:
            terms = terms_of(change)
        except UNFIT as error:
            raise MalformedAnswer(f"a change of {function} that the protocol does not know: {error!r}") from error
        with self._lock:
            return place.change(terms)

    def leave(self, exchange: Exchange) -> Steps[None]:
        """Give all leases back and keep what is to be kept; no failure is raised."""
        for place in list(self._places.values()):
            with self._lock:
                lease, owed = place.lease, bool(place.lease.id) and not place.lease.over
                done = not (lease.probing or lease.lost)
                said = calls.report(place.function, lease.id, lease.answered, lease.repeats, done)
                lease.end()
            if owed:
                try:
                    yield from exchange.run(said, patient=False)
                except LikewiseClientError as error:
                    log.debug("a lease could not be given back: %s", error)
        self.save()

    def save(self) -> None:
        """Keep the entries on disk, where that is wanted."""
        for place in list(self._places.values()):
            self._save(place)

    def _find(self, place: Place, local: Local, query: Query) -> Answer | None:
        """Return an answer; None: ask the server."""
        with self._lock:
            found = place.find(local, query, self._clock(), self._coin)
        return None if found is None else self._answered(*found)

    def _spare(self, place: Place, query: Query) -> Kept | None:
        """Return what to answer with where no server can be asked, if the app wants that."""
        if self._cache.offline != "serve":
            return None
        with self._lock:
            return place.spare(query, self._clock())

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

    def _asking(self, place: Place, call: Call[Answer], query: Query) -> Call[tuple[Answer, Terms | None]]:
        """Return the call with what the server is to know of the lease, and a reader of what it says of it."""
        with self._lock:
            headers = {**call.headers, "Likewise-Lease": place.wish(query, self._clock())}
            if query.space:
                headers["Likewise-Projection"] = query.space
        read = call.read

        def reading(response: Any, node: str) -> tuple[Answer, Terms | None]:
            try:
                terms = read_terms(response.headers)
            except (ValueError, TypeError) as error:
                raise MalformedAnswer(f"{node} said of leases what the protocol does not know: {error}") from error
            return read(response, node), terms

        asking: Any = replace(call, headers=headers, read=cast(Any, reading), local=None)
        return cast("Call[tuple[Answer, Terms | None]]", asking)

    def _describe(self, exchange: Exchange, place: Place, node: str | None) -> Steps[None]:
        """Learn how keys of a function are made; without an answer, its bytes are compared alone until later."""
        with self._lock:
            if self._clock() < place.ask_at:
                return
            again = place.described
            place.wait_s = min(2.0 * place.wait_s, MOST_S) if again else ASK_AGAIN_S
            place.ask_at = self._clock() + place.wait_s
        try:
            found = yield from described(exchange, place.function, self._folder, node, again=again)
        except (LikewiseClientError, *UNFIT) as error:
            log.debug("%s is not described, its keys are not made here: %r", place.function, error)
            return
        with self._lock:
            place.describe(found.make_key, found.projection, cosine=found.cosine, complete=found.complete)

    def _place(self, function: str) -> Place:
        with self._lock:
            place = self._places.get(function)
            if place is None:
                place = Place(function, Store(self._cache.max_entries, self._cache.max_bytes), self._cache.background)
                self._places[function] = place
                if self._folder is not None:
                    header, packed = disk.load(self._folder, function, self._cache.max_bytes)
                    place.restore(header, packed, self._clock())
            return place

    def _save(self, place: Place) -> None:
        with self._lock:
            place.unsaved = 0
            if self._folder is None or not place.version:
                return
            entries = list(place.store.entries(self._clock()))
            disk.save(self._folder, place.function, {"version": place.kept_as}, entries, place.store.dimension)


def tier_of(cache: DeviceCache | None, clock: Callable[[], float]) -> Tier | None:
    """Return the tier of a client with such settings; None: it has none."""
    if cache is None:
        return None
    if not isinstance(cache, DeviceCache):
        raise InvalidInput(f"device_cache is a DeviceCache(...), not {cache!r}")
    return Tier(cache, clock)


def _key(place: Place, local: Local) -> Key | None:
    if not place.described:
        return None
    if local.key is not None:
        return scaled(local.key) if place.cosine else local.key
    return None if place.make_key is None else place.make_key(local.value, local.body, local.media_type)


def _digest(local: Local) -> bytes:
    return blake2b(local.media_type.encode() + b"\n" + local.body, digest_size=16).digest()
