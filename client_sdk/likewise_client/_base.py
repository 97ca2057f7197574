"""What both clients are made of: the settings, and the steps of an exchange under way."""

from __future__ import annotations

import inspect
import logging
import math
import os
import random
import ssl
import time
from collections.abc import Callable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import httpx

from likewise_client._device.cache import DeviceCache, DeviceCacheInfo
from likewise_client._device.tier import tier_of
from likewise_client._errors import InvalidInput, MalformedAnswer
from likewise_client._exchange import Exchange
from likewise_client._nodes import Nodes
from likewise_client._operations import Operations
from likewise_client._proxy import proxied
from likewise_client._retry import Retry

if TYPE_CHECKING:
    from typing_extensions import Unpack

log = logging.getLogger("likewise_client")

T = TypeVar("T")
M = TypeVar("M", bound="Callable[..., Any]")


class Settings(TypedDict, total=False):
    """The settings of a client, each with a default; `Client` says what they mean."""

    access_key: str | None
    device: str | None
    timeout_s: float
    connect_timeout_s: float
    retry: Retry
    max_connections: int
    max_answer_bytes: int
    proxy: str | None
    verify: ssl.SSLContext | None
    device_cache: DeviceCache | None
    clock: Callable[[], float]
    rng: random.Random


class BaseClient:
    """The settings of a client, checked, and what they come to."""

    def __init__(self, nodes: str | Sequence[str], **settings: Unpack[Settings]) -> None:
        unknown = sorted(settings.keys() - Settings.__annotations__.keys())
        if unknown:
            known = ", ".join(Settings.__annotations__)
            raise TypeError(f"{type(self).__name__} has no setting {unknown[0]!r}; there are transport, {known}")
        clock = settings.get("clock", time.monotonic)
        ring = Nodes([nodes] if isinstance(nodes, str) else nodes, clock)
        retry, rng = settings.get("retry", Retry()), settings.get("rng") or random.Random()
        if not isinstance(retry, Retry):
            raise InvalidInput(f"retry is a Retry(...), not {retry!r}")
        self._operations = Operations(Exchange(ring, retry, _headers(settings), clock, rng))
        self._tier = self._operations.exchange.tier = tier_of(settings.get("device_cache"), clock)
        timeout_s = _positive(settings.get("timeout_s", 10.0), "timeout_s")
        connect_timeout_s = _positive(settings.get("connect_timeout_s", 2.0), "connect_timeout_s")
        max_connections = _count(settings.get("max_connections", 100), "max_connections")
        self._max_answer_bytes = _count(settings.get("max_answer_bytes", 2**28), "max_answer_bytes")
        self._timeout = httpx.Timeout(timeout_s, connect=connect_timeout_s)
        self._limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
        self._proxy = settings.get("proxy")
        self._verify = _trust(settings.get("verify"), any(url.startswith("https:") for url in ring.urls))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.nodes)!r})"

    @property
    def nodes(self) -> tuple[str, ...]:
        """The base URLs of the nodes, without trailing slashes."""
        return self._operations.exchange.nodes.urls

    def cache_on_device(self, function: str) -> DeviceCacheInfo:
        """Return what this device's own cache has done for a function. Takes a `device_cache`."""
        if self._tier is None:
            raise InvalidInput("this client has no device_cache")
        return self._tier.info(function)

    def _sockets(self, transport: Any, connect: Callable[..., Any]) -> dict[str, Any]:
        """Return the arguments of an httpx client. connect: makes a transport of its kind."""

        def through(proxy: httpx.Proxy) -> Any:
            return connect(verify=self._verify, limits=self._limits, proxy=proxy, trust_env=False)

        return {
            "transport": transport,
            "mounts": {} if transport is not None else proxied(self.nodes, self._proxy, through),
            "timeout": self._timeout,
            "limits": self._limits,
            "verify": self._verify,
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            "trust_env": False,  # proxies are settled above
        }

    def _add(self, body: bytearray, chunk: bytes, node: str) -> None:
        """Add a piece of an answer. Raises MalformedAnswer for one without end, before it takes the memory."""
        body += chunk
        if len(body) > self._max_answer_bytes:
            raise MalformedAnswer(f"{node} sent over {self._max_answer_bytes} bytes; see max_answer_bytes")


def received(head: httpx.Response, body: bytearray) -> httpx.Response:
    """Return a response with the body that was read from it, decoded."""
    headers = [(name, value) for name, value in head.headers.raw if name.lower() not in _OF_THE_WIRE]
    return httpx.Response(head.status_code, headers=headers, content=bytes(body), extensions=head.extensions)


_OF_THE_WIRE = (b"content-encoding", b"content-length", b"transfer-encoding")


def describe(method: M, source: Callable[..., Any]) -> M:
    """Give a client's method the name, documentation and signature of the operation that it carries out."""
    method.__name__ = source.__name__
    method.__qualname__ = f"Client.{source.__name__}"
    method.__doc__ = source.__doc__
    signature = inspect.signature(source)
    returned = str(signature.return_annotation)
    plain = returned[len("Steps[") : -1] if returned.startswith("Steps[") else returned
    method.__signature__ = signature.replace(return_annotation=plain)  # type: ignore[attr-defined]
    return method


def _headers(settings: Settings) -> dict[str, str]:
    headers: dict[str, str] = {}
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


def _count(value: int, name: str) -> int:
    if not isinstance(value, int) or value < 1:
        raise InvalidInput(f"{name} is a whole number, at least 1, not {value!r}")
    return value


def _trust(verify: ssl.SSLContext | None, secure: bool) -> ssl.SSLContext:
    """Return whom to trust. Loading the authorities takes tens of milliseconds, so only where a node speaks TLS."""
    if verify is not None:
        if not isinstance(verify, ssl.SSLContext):
            raise InvalidInput(f"verify is an ssl.SSLContext, not {verify!r}")
        return verify
    if not secure:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return ssl.create_default_context()
    except OSError as error:  # SSLKEYLOGFILE names a file that cannot be written
        log.warning("SSLKEYLOGFILE cannot be used and is ignored: %s", error)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        return context
