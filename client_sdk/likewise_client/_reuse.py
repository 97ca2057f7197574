"""`client.reuse`: the device's own function, computed only where no neighbor computed it before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, TypeVar, Union

from numpy.typing import ArrayLike

from likewise_client import _calls as calls
from likewise_client import _entries as entries
from likewise_client._answer import Answer, Computed, Inserted
from likewise_client._errors import LikewiseClientError, ServerProblem, Unavailable
from likewise_client._exchange import Compute, Exchange, Steps
from likewise_client._telemetry import CacheInfo, Tally

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)

log = logging.getLogger("likewise_client")

KeyFunction = Callable[[Any], Union[ArrayLike, Mapping[str, ArrayLike]]]
"""From an input to its key, or to its keys by key type (the first, or `key_type`, is looked up)."""


class Reused(Protocol[In, Out]):
    """A function under `reuse`."""

    __wrapped__: Callable[..., Any]
    """The function itself, which always computes."""

    def __call__(self, value: In, /) -> Out:
        """Return the function's result, reused or computed."""

    def cache_info(self) -> CacheInfo:
        """Return what came of all calls so far. `misses` were computed; so were calls that no server answered."""


class ReuseOptions(TypedDict, total=False):
    """The options of `Client.reuse`, as `Reuse` says."""

    key_type: str | None
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None
    ttl_s: float | None
    tags: Sequence[str]
    fallback: bool


@dataclass(frozen=True)
class Reuse:
    """How one decorated function is reused."""

    function: str
    key: KeyFunction | None = None
    key_type: str | None = None
    encode: Callable[[Any], Any] | None = None
    """From the function's result to JSON, bytes or an array."""
    decode: Callable[[Any], Any] | None = None
    """Back again."""
    ttl_s: float | None = None
    tags: Sequence[str] = ()
    fallback: bool = True
    """Compute on the device when no server can be asked."""

    def steps(self, exchange: Exchange, tally: Tally, value: Any, compute: Callable[[], Any]) -> Steps[Any]:
        """Look up, else compute, time it and insert. No failure to share costs the result, or time to wait for it."""
        key, keys = self._keys(value)
        raw = value if self.key is None else None
        answer: Answer | None = None
        try:
            asked = calls.lookup_one(self.function, key, raw, self.key_type, None)
            answer = yield from exchange.run(asked, patient=not self.fallback, tally=tally)
        except (Unavailable, ServerProblem) as error:
            if not self.fallback or not _passing(error):
                raise
            log.info("%s: computed on the device, as no server could be asked: %s", self.function, error)
        if answer is not None and answer.found:
            return self.decode(answer.result) if self.decode else answer.result
        start = exchange.clock()
        result = yield Compute(compute)
        cost_s = max(0.0, exchange.clock() - start)
        if answer is not None:
            yield from self._share(exchange, tally, answer, result, cost_s, key, keys, raw)
        return result

    def _keys(self, value: Any) -> tuple[ArrayLike | None, Mapping[str, ArrayLike] | None]:
        if self.key is None:
            return None, None
        made = self.key(value)
        if not isinstance(made, Mapping):
            return made, {self.key_type: made} if self.key_type else None
        return made[self.key_type] if self.key_type else next(iter(made.values())), made

    def _share(
        self,
        exchange: Exchange,
        tally: Tally,
        answer: Answer,
        result: Any,
        cost_s: float,
        key: ArrayLike | None,
        keys: Mapping[str, ArrayLike] | None,
        raw: Any,
    ) -> Steps[None]:
        shared = self.encode(result) if self.encode else result
        one = None if keys is not None else key
        computed = Computed(shared, one, keys, raw, cost_s=cost_s, ttl_s=self.ttl_s, tags=self.tags)

        def entry(ticket: str | None) -> calls.Call[Inserted]:
            return entries.insert(self.function, computed, ticket=ticket, durable=False)

        try:
            yield from exchange.redeem(entry(answer.ticket), entry(None), answer.ticket, patient=False, tally=tally)
        except LikewiseClientError as error:  # the result stands all the same
            log.warning("%s: a computed result could not be shared: %s", self.function, error)


def _passing(error: LikewiseClientError) -> bool:
    """Whether it is the server's trouble and may pass, rather than a mistake that a person must mend."""
    return isinstance(error, Unavailable) or (isinstance(error, ServerProblem) and error.status >= 500)
