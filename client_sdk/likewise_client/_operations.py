"""What each method of a client does, without I/O: each is an exchange that both clients drive.

The methods here carry the signatures and the documentation of both clients (`_methods`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, Union, overload

from numpy.typing import ArrayLike

from likewise_client import _calls as calls
from likewise_client import _entries as entries
from likewise_client._answer import Answer, Computed, Inserted, Page
from likewise_client._calls import CacheControl
from likewise_client._device.computing import Where, checked_where
from likewise_client._errors import InvalidInput, LikewiseClientError, Unavailable
from likewise_client._exchange import Exchange, Steps
from likewise_client._key_first import KeyFirst
from likewise_client._media import fitted, is_pixels, is_wide
from likewise_client._wire import Input

Pages = Generator[Steps[Page], Union[Page, None], None]
"""Pages that follow each other: yields the steps to each, and is sent the page."""

One = TypeVar("One", covariant=True)
Many = TypeVar("Many", covariant=True)


class Lookup(Protocol[One, Many]):
    """The signatures of `lookup`: an answer for one key or input, a list of them for several keys."""

    @overload
    def __call__(
        self,
        function: str,
        *,
        keys: ArrayLike,
        key_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
        deadline_s: float | None = None,
    ) -> Many: ...
    @overload
    def __call__(
        self,
        function: str,
        *,
        key: ArrayLike,
        key_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
        deadline_s: float | None = None,
    ) -> One: ...
    @overload
    def __call__(
        self,
        function: str,
        *,
        input: Input,
        key_type: str | None = None,
        media_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
        deadline_s: float | None = None,
    ) -> One: ...


class Operations:
    """The methods that both clients have."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._ways = KeyFirst()
        self._takes: dict[str, dict[str, Any]] = {}
        self.where: Where = "edge"

    def infer(
        self,
        function: str,
        input: Input,
        *,
        media_type: str | None = None,
        cache: CacheControl | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
        stream: str | None = None,
        drop_late: bool = False,
        frame_number: int | None = None,
        deadline_s: float | None = None,
        key: ArrayLike | None = None,
        key_type: str | None = None,
        key_first: bool | None = None,
        reduce: Literal["auto"] | None = None,
        compute: Where | None = None,
    ) -> Steps[Answer]:
        """Return the function's result for an input, reused or computed on the server.

        function: `name` or `name@version`.
        input: encoded bytes, a NumPy array (sent as .npy, or as a picture), an image of Pillow's, a Sound, a path (by
            its suffix), or lists and dicts (JSON).
        media_type: what bytes are in; told from their first bytes where absent. Of pixels: what they are sent as.
        cache: "no-cache" recomputes, "no-store" leaves no trace, "only-if-cached" never computes (NotCached).
        max_age_s, min_fresh_s: reuse only what is at most so old, or stays valid at least so long.
        stream: the camera that the input is the next frame of; drop_late: raise Conflict if a newer one is there.
        frame_number: its place in the stream, 0 to 999,999,999,999,999, ascending; None: as they come.
        deadline_s: seconds after which the answer is of no use: TimedOut is raised, and the server computes it no more.
        key, key_type: the input's key, as for `lookup`, where the device has it. It may be asked by first, so that the
            input is sent only on a miss. key_first: whether; None: where that is faster, as learned from calls so far.
        reduce: "auto" averages pixels over whole blocks before they are sent, where the function would do that itself;
            what it sees differs by the rounding to whole gray levels alone.
        compute: "edge", "device" or "auto"; default: the client's. Streams, and what `cache` asks for, are the edge's.
        """
        if reduce not in (None, "auto"):
            raise InvalidInput(f"reduce is 'auto' or None, not {reduce!r}")
        if key is None and (key_type is not None or key_first):
            raise InvalidInput("key_type and key_first say how to ask by key: pass the key, too")
        where = self.where if compute is None else checked_where(compute)
        fresh = (max_age_s, min_fresh_s)

        def ask(value: Input) -> Steps[Answer]:
            call = calls.infer(function, value, media_type, cache, *fresh, stream, drop_late, frame_number)
            call = calls.within(call, deadline_s)
            if where != "edge" and call.local is not None and cache is None:
                return self.exchange.run(replace(call, where=where))
            if key is None or cache is not None or stream is not None or key_first is False:
                return self.exchange.run(call)
            by_key = calls.lookup_one(function, key, None, key_type, None, *fresh)
            return self._by_key(call, calls.within(by_key, deadline_s), key_first)

        if (reduce == "auto" and stream is None and is_pixels(input, media_type)) or (
            media_type is None and is_wide(input)
        ):
            return self._fitted(function, input, ask)
        return ask(input)

    def _fitted(self, function: str, value: Any, ask: Callable[[Input], Steps[Answer]]) -> Steps[Answer]:
        """Send float64 as float32, and pixels smaller, where the function takes that; a server is asked once for it."""
        if function not in self._takes:
            try:
                described = yield from self.exchange.run(calls.describe(function), patient=False)
                given = described.get("input")
                self._takes[function] = given if isinstance(given, dict) else {}
            except Unavailable:
                pass  # another time
            except LikewiseClientError:
                self._takes[function] = {}
        return (yield from ask(fitted(value, self._takes.get(function, {}))))

    def _by_key(self, call: calls.Call[Answer], by_key: calls.Call[Answer], first: bool | None) -> Steps[Answer]:
        """Ask by key, and send the input only where that finds nothing, with the ticket; or send it at once."""
        clock, function, start = self.exchange.clock, call.function, self.exchange.clock()
        if not (self._ways.pays(function, len(call.body), len(by_key.body)) if first is None else first):
            answer = yield from self.exchange.run(call)
            self._ways.sent(function, len(call.body), answer.from_cache, clock() - start)
            return answer
        answer = yield from self.exchange.run(by_key)
        spent_s = clock() - start
        self._ways.asked(function, answer.found, spent_s)
        if answer.found:
            return answer
        call = calls.later(call, spent_s)
        return (yield from self.exchange.redeem(calls.for_ticket(call, answer.ticket), call, answer.ticket))

    def lookup(
        self,
        function: str,
        *,
        key: ArrayLike | None = None,
        keys: ArrayLike | None = None,
        input: Input | None = None,
        key_type: str | None = None,
        media_type: str | None = None,
        max_age_s: int | None = None,
        min_fresh_s: int | None = None,
        deadline_s: float | None = None,
    ) -> Steps[Any]:
        """Return what is safe to reuse for a key (d,), keys (n, d), or a raw input; nothing is ever computed.

        An answer with `found` False carries the ticket for the insert of what the device then computes.
        max_age_s, min_fresh_s: reuse only what is at most so old, or stays valid at least so long.
        deadline_s: seconds after which the answer is of no use; TimedOut is raised.
        """
        fresh = (max_age_s, min_fresh_s)
        if keys is None:
            one = calls.lookup_one(function, key, input, key_type, media_type, *fresh)
            return (yield from self.exchange.run(calls.within(one, deadline_s)))
        if key is not None or input is not None:
            raise InvalidInput("a lookup takes exactly one of key, keys and input")
        if len(keys) == 0:  # type: ignore[arg-type]  # checked as a matrix right after
            return []
        many = calls.lookup_many(function, keys, key_type, *fresh)
        return (yield from self.exchange.run(calls.within(many, deadline_s)))

    def insert(
        self,
        function: str,
        result: Any,
        *,
        key: ArrayLike | None = None,
        keys: Mapping[str, ArrayLike] | None = None,
        input: Input | None = None,
        media_type: str | None = None,
        result_media_type: str | None = None,
        cost_s: float | None = None,
        ttl_s: float | None = None,
        tags: Sequence[str] = (),
        ticket: str | None = None,
        durable: bool = False,
        deadline_s: float | None = None,
    ) -> Steps[Inserted]:
        """Share a result that the device computed.

        result: anything JSON holds, a NumPy array (as .npy), or bytes of `result_media_type`.
        key, keys or input: which input it was: one key, keys by key type, or the raw input of `media_type`.
        cost_s: seconds it took; what was dear is kept longer.
        ttl_s: seconds it may be reused, at most what the function allows.
        tags: for `invalidate`. ticket: from the lookup's answer. durable: wait until it is on disk.
        deadline_s: seconds after which TimedOut is raised; it may be kept all the same.
        """
        computed = Computed(result, key, keys, input, media_type, result_media_type, cost_s, ttl_s, tags, ticket)
        with_ticket = calls.within(entries.insert(function, computed, ticket=ticket, durable=durable), deadline_s)
        without = calls.within(entries.insert(function, computed, ticket=None, durable=durable), deadline_s)
        return self.exchange.redeem(with_ticket, without, ticket)

    def insert_many(
        self, function: str, computed: Iterable[Computed], *, durable: bool = False
    ) -> Steps[list[Inserted]]:
        """Share many results that devices computed, some hundred in a request; return what became of each, in order.

        All go to the function's node; a ticket of another node is not good there, and its result is kept all the same.
        A request is taken whole or not at all. Where one fails the error is raised, and those before it stay.
        """
        done: list[Inserted] = []
        for part in _parts(computed):
            done += yield from self.exchange.run(entries.insert_many(function, part, durable=durable))
        return done

    def page(self, function: str, *, limit: int = 100, behind: Page | None = None) -> Steps[Page]:
        """Return up to `limit` (at most 1,000) of a function's entries, in the order of insertion.

        behind: the page before, whose node is asked again; None: the first page.
        """
        if behind is None:
            return self.exchange.run(calls.page(function, limit, None))
        return self.exchange.run(calls.page(function, limit, behind.after), node=behind.node)

    def entries(self, function: str, *, limit: int = 500) -> Pages:
        """Yield all entries of a function at its node, page by page; entries may come and go meanwhile."""
        page: Page | None = None
        while page is None or page.after is not None:
            page = yield self.page(function, limit=limit, behind=page)

    def register(
        self, name: str, spec: str | Mapping[str, Any], files: Mapping[str, bytes | Path] | None = None
    ) -> Steps[dict[str, Any]]:
        """Serve a function from now on, or in place of one of its name; return its description.

        spec: what function.toml holds, as TOML text or as a mapping. files: those that it names, as bytes or paths.
        One node takes it; nodes that share follow. Takes an access key with scope admin.
        """
        return self.exchange.run(calls.register(name, spec, files or {}))

    def unregister(self, name: str) -> Steps[None]:
        """Serve a function no more, with all its entries; nodes that share follow. Raises UnknownFunction."""
        return self.exchange.run(calls.unregister(name))

    def invalidate(
        self,
        function: str,
        *,
        id: str | None = None,
        tag: str | None = None,
        all: bool = False,  # noqa: A002 as in the protocol's query
    ) -> Steps[int]:
        """Take entries out on every node: one by id, those with a tag, or all; return how many.

        The count is the highest of any node, as nodes that share hold the same entries. Where a node cannot
        be asked, the others still are, and then the error is raised.
        """
        return self.exchange.everywhere(calls.invalidate(function, id, tag, all))

    def follow(self, function: str) -> Steps[int]:
        """Wait until something is taken out of a function, drop it here at once; return how many entries it was here.

        For apps that do not want to hear of it with the next answer only: call it again and again, from a thread or
        task of its own. Now and then the server ends it without a change, after an hour at the latest: 0. Takes a
        `device_cache`.
        """
        if self.exchange.tier is None:
            raise InvalidInput("follow keeps this device's own cache up to date: make the client with a device_cache")
        return self.exchange.tier.follow(self.exchange, function)

    def warm_up(self, function: str, *, entries: int | None = None, place: str = "") -> Steps[int]:
        """Fill this device's own cache with the entries that promise it most, in one download; return how many came.

        entries: at most so many; default: as many as the cache takes. place: a tag that entries from where the device
        is carry. Takes a `device_cache`.
        """
        if self.exchange.tier is None:
            raise InvalidInput("warm_up fills this device's own cache: make the client with device_cache=DeviceCache()")
        return self.exchange.tier.warm_up(self.exchange, function, entries, place)

    def share_computed(self) -> Steps[int]:
        """Share what this device computed and the server has not yet, oldest first; return how many still wait."""
        if self.exchange.computing is None:
            return 0
        return (yield from self.exchange.computing.send(self.exchange))

    def functions(self) -> Steps[list[dict[str, Any]]]:
        """Return the functions that are served, as docs/protocol.md describes them."""
        return self.exchange.run(calls.functions())

    def stats(self) -> Steps[dict[str, Any]]:
        """Return a node's counters, per function, as docs/protocol.md describes them."""
        return self.exchange.run(calls.stats())


def _parts(computed: Iterable[Computed]) -> Iterator[list[Computed]]:
    """Yield some results at a time, as many as one request carries."""
    part: list[Computed] = []
    for one in computed:
        part.append(one)
        if len(part) == entries.MOST_ENTRIES:
            yield part
            part = []
    if part:
        yield part
