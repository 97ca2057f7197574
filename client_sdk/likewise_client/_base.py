"""What both clients are made of: the settings, and the steps of an exchange under way."""

from __future__ import annotations

import math
import os
import random
import ssl
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

import httpx

from likewise_client._device.cache import DeviceCache, DeviceCacheInfo
from likewise_client._device.computing import Computing, OnDevice, OnDeviceInfo, Where, checked_where
from likewise_client._device.tier import tier_of
from likewise_client._errors import InvalidInput
from likewise_client._exchange import Exchange, Steps
from likewise_client._hedge import Hedge
from likewise_client._methods import Answered, Inserting, Methods
from likewise_client._nodes import Breaker, Nodes
from likewise_client._operations import Operations
from likewise_client._retry import Retry
from likewise_client._sockets import FIXED, Sockets
from likewise_client._telemetry import CacheInfo, Event, Tally

if TYPE_CHECKING:
    from typing_extensions import Unpack

Transport = TypeVar("Transport")


CLOSING_S = 5.0
"""Seconds for which closing a client waits for what it does in the background."""


class Settings(TypedDict, total=False):
    """The settings of a client, each with a default; `Client` says what they mean."""

    access_key: str | None
    device: str | None
    timeout_s: float
    connect_timeout_s: float
    retry: Retry
    breaker: Breaker
    hedge: Hedge | None
    on_answer: Callable[[Event], Any] | None
    max_connections: int
    max_answer_bytes: int
    proxy: str | None
    verify: ssl.SSLContext | None
    device_cache: DeviceCache | None
    compute: Where
    on_device: OnDevice
    clock: Callable[[], float]
    rng: random.Random


class BaseClient(Methods[Answered, Inserting], Generic[Answered, Inserting, Transport]):
    """The settings of a client, checked, and what they come to."""

    _kind: Callable[..., Any]
    """Makes a transport of httpx."""

    def __init__(
        self,
        nodes: str | Sequence[str] = "http://127.0.0.1:8080",
        *,
        transport: Transport | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        unknown = sorted(settings.keys() - Settings.__annotations__.keys())
        if unknown:
            known = ", ".join(Settings.__annotations__)
            raise TypeError(f"{type(self).__name__} has no setting {unknown[0]!r}; there are transport, {known}")
        clock = settings.get("clock", time.monotonic)
        _check("breaker", breaker := settings.get("breaker", Breaker()), Breaker)
        ring = Nodes([nodes] if isinstance(nodes, str) else nodes, clock, breaker=breaker)
        retry, rng = settings.get("retry", Retry()), settings.get("rng") or random.Random()
        verify, hedge, on_answer = settings.get("verify"), settings.get("hedge"), settings.get("on_answer")
        _check("retry", retry, Retry)
        _check("hedge", hedge, Hedge, type(None))
        _check("verify", verify, ssl.SSLContext, type(None))
        if on_answer is not None and not callable(on_answer):
            raise InvalidInput(f"on_answer is called with an Event, so it is a function, not {on_answer!r}")
        exchange = Exchange(ring, retry, _headers(settings), clock, rng, tally=Tally(on_answer), hedge=hedge)
        self._operations = Operations(exchange)
        self._tier = exchange.tier = tier_of(settings.get("device_cache"), clock)
        _check("on_device", on_device := settings.get("on_device", OnDevice()), OnDevice)
        self._computing = exchange.computing = Computing(on_device, clock, rng)
        self._operations.where = checked_where(settings.get("compute", "edge"))
        timeout_s = _positive(settings.get("timeout_s", 10.0), "timeout_s")
        connect_timeout_s = _positive(settings.get("connect_timeout_s", 2.0), "connect_timeout_s")
        max_connections = _count(settings.get("max_connections", 100), "max_connections")
        self._sockets = Sockets(
            timeout=httpx.Timeout(timeout_s, connect=connect_timeout_s).as_dict(),
            limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
            proxy=settings.get("proxy"),
            verify=verify,
            max_answer_bytes=_count(settings.get("max_answer_bytes", 2**28), "max_answer_bytes"),
        )
        self._started: set[Any] = set()
        """What goes on in the background: threads or tasks."""
        self._transports: dict[str, Transport] = self._sockets.transports(ring.urls, transport, self._kind)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.nodes)!r})"

    @property
    def nodes(self) -> tuple[str, ...]:
        """The base URLs of the nodes, without trailing slashes."""
        return self._operations.exchange.nodes.urls

    def cache_info(self) -> CacheInfo:
        """Return what came of all calls so far, and the bytes and the time that they took."""
        return self._operations.exchange.tally.info()

    def cache_on_device(self, function: str) -> DeviceCacheInfo:
        """Return what this device's own cache has done for a function. Takes a `device_cache`."""
        if self._tier is None:
            raise InvalidInput("this client has no device_cache")
        return self._tier.info(function)

    def computes(self, function: str, compute: Callable[[Any], Any]) -> None:
        """Let a function of the app's compute this one on the device, from the input (AsyncClient awaits it)."""
        self._computing.computes(function, compute)

    def computed_on_device(self) -> OnDeviceInfo:
        """Return what became of what this device computed."""
        return self._computing.info()

    def _leave(self) -> Steps[None]:
        """Give back what the device's own cache holds of the error budget, and keep its entries on disk if wanted."""
        if len(self._computing):
            yield from self._computing.send(self._operations.exchange)
        self._computing.close()
        if self._tier is not None:
            yield from self._tier.leave(self._operations.exchange)


def _headers(settings: Settings) -> dict[str, str]:
    headers = dict(FIXED)
    key = settings.get("access_key")
    source = "an access key"
    if key is None:
        key, source = os.environ.get("LIKEWISE_ACCESS_KEY", "").strip(), "the access key in LIKEWISE_ACCESS_KEY"
    if not isinstance(key, str) or not key.isprintable() or not key.isascii() or " " in key:
        raise InvalidInput(f"{source} is one line of printable ASCII without spaces")
    if key:
        headers["Authorization"] = f"Bearer {key}"
    device = settings.get("device")
    if device is not None:
        if not (1 <= len(device) <= 128 and device.isprintable() and device.isascii() and device == device.strip()):
            raise InvalidInput("a device's name is 1 to 128 printable ASCII characters, no space at either end")
        headers["Likewise-Device"] = device
    return headers


def _positive(value: float, name: str) -> float:
    if not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise InvalidInput(f"{name} is a number of seconds above 0, not {value!r}")
    return value


def _check(name: str, value: Any, *kinds: type) -> None:
    if not isinstance(value, kinds):
        raise InvalidInput(f"{name} takes {kinds[0].__name__}(...), not {value!r}")


def _count(value: int, name: str) -> int:
    if not isinstance(value, int) or value < 1:
        raise InvalidInput(f"{name} is a whole number, at least 1, not {value!r}")
    return value
