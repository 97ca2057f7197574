"""What both clients are made of: the settings, and a call for every method."""

from __future__ import annotations

import os
import random
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypedDict, Unpack

import httpx
from numpy.typing import ArrayLike

from likewise_client import _calls as calls
from likewise_client._answer import Answer, Computed, Inserted, Page
from likewise_client._errors import InvalidInput
from likewise_client._exchange import Exchange, Steps
from likewise_client._nodes import Nodes
from likewise_client._retry import Retry
from likewise_client._reuse import KeyFunction, Reuse, ReuseOptions
from likewise_client._wire import Input

AT_ONCE = 500
"""Results in one request of `insert_many`; a server takes 1,024 unless told otherwise."""


class Settings(TypedDict, total=False):
    """The settings of a client, each with a default; `Client` says what they mean."""

    access_key: str | None
    device: str | None
    timeout_s: float
    connect_timeout_s: float
    retry: Retry
    max_connections: int
    verify: ssl.SSLContext | None
    clock: Callable[[], float]
    rng: random.Random


class BaseClient:
    """The settings of a client and what its methods do, without I/O."""

    def __init__(
        self,
        nodes: str | Sequence[str],
        settings: Settings,
    ) -> None:
        access_key = settings.get("access_key")
        if access_key is None:
            access_key = os.environ.get("LIKEWISE_ACCESS_KEY", "")
        clock = settings.get("clock", time.monotonic)
        if not access_key.isprintable() or not access_key.isascii() or " " in access_key:
            raise InvalidInput("an access key is one line of printable ASCII without spaces")
        headers = {"Authorization": f"Bearer {access_key}"} if access_key else {}
        device = settings.get("device")
        if device is not None:
            if not (1 <= len(device) <= 128 and device.isprintable() and device.isascii() and device == device.strip()):
                raise InvalidInput("a device's name is 1 to 128 printable ASCII characters, no space at either end")
            headers["Likewise-Device"] = device
        ring = Nodes([nodes] if isinstance(nodes, str) else nodes, clock)
        self._exchange = Exchange(
            ring, settings.get("retry", Retry()), headers, clock, settings.get("rng") or random.Random()
        )
        secure = any(url.startswith("https:") for url in ring.urls)
        self._timeout = httpx.Timeout(settings.get("timeout_s", 10.0), connect=settings.get("connect_timeout_s", 2.0))
        max_connections = settings.get("max_connections", 100)
        self._limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
        self._verify = settings.get("verify") or _trust(secure)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.nodes)!r})"

    @property
    def nodes(self) -> tuple[str, ...]:
        """The base URLs of the nodes, without trailing slashes."""
        return self._exchange.nodes.urls

    def _infer(self, function: str, input: Input, *arguments: Any) -> Steps[Answer]:
        return self._exchange.run(calls.infer(function, input, *arguments))

    def _lookup(
        self,
        function: str,
        key: ArrayLike | None,
        keys: ArrayLike | None,
        input: Input | None,
        key_type: str | None,
        media_type: str | None,
        *fresh: int | None,
    ) -> Steps[Any]:
        if keys is None:
            return (yield from self._exchange.run(calls.lookup_one(function, key, input, key_type, media_type, *fresh)))
        if key is not None or input is not None:
            raise InvalidInput("a lookup takes exactly one of key, keys and input")
        if len(keys) == 0:  # type: ignore[arg-type]  # checked as a matrix right after
            return []
        return (yield from self._exchange.run(calls.lookup_many(function, keys, key_type, *fresh)))

    def _insert(self, function: str, computed: Computed, durable: bool) -> Steps[Inserted]:
        ticket = computed.ticket
        with_ticket = calls.insert(function, computed, ticket=ticket, durable=durable)
        return self._exchange.insert(
            with_ticket, calls.insert(function, computed, ticket=None, durable=durable), ticket
        )

    def _insert_many(self, function: str, computed: Iterable[Computed], durable: bool) -> Steps[list[Inserted]]:
        done: list[Inserted] = []
        for part in _parts(computed):
            done += yield from self._exchange.run(calls.insert_many(function, part, durable=durable))
        return done

    def _page(self, function: str, limit: int, page: Page | None) -> Steps[Page]:
        """Return the page behind another one, from the same node, or the first."""
        if page is None:
            return self._exchange.run(calls.page(function, limit, None))
        return self._exchange.run(calls.page(function, limit, page.after), node=page.node)

    def _invalidate(self, function: str, id: str | None, tag: str | None, everything: bool) -> Steps[int]:
        return self._exchange.everywhere(calls.invalidate(function, id, tag, everything))

    def _reuse(self, function: str, key: KeyFunction | None, **options: Unpack[ReuseOptions]) -> Reuse:
        return Reuse(function, key, **options)


def _parts(computed: Iterable[Computed]) -> Iterator[list[Computed]]:
    """Yield some results at a time, as many as one request carries."""
    part: list[Computed] = []
    for one in computed:
        part.append(one)
        if len(part) == AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _trust(secure: bool) -> ssl.SSLContext:
    """Return whom to trust. Loading the authorities takes tens of milliseconds, so only where a node speaks TLS."""
    return ssl.create_default_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
