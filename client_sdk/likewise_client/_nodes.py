"""Which node? Rendezvous hashing of function names, with bounded load, fail-over and return.

Every client ranks the nodes of a function alike (highest hash first), so phones meet at the same node without
talking to each other, and a node that comes or goes moves only its own functions. Source: Thaler and
Ravishankar, "A name-based mapping scheme for rendezvous" (1996); the load bound follows Mirrokni, Thorup and
Zadimoghaddam, "Consistent hashing with bounded loads" (2018), over this client's requests in flight.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from likewise_client._errors import InvalidInput


@dataclass(frozen=True)
class Breaker:
    """Settings of the circuit breaker that each node has.

    Open, the node is passed over while another one is up, and by whoever does not wait, such as `reuse`. After a pause
    it is half open: one request tries it, and closes it or opens it for twice as long.
    """

    failures: int = 1
    """Opens after so many requests in a row that met no answer: refused, broken, timed out, or 502. At least 1."""
    pause_s: float = 1.0
    """How long it is open at first."""
    max_pause_s: float = 30.0
    """It is never open for longer than this."""

    def __post_init__(self) -> None:
        if isinstance(self.failures, float) or self.failures < 1:
            raise ValueError(f"Breaker: failures is a whole number, at least 1, not {self.failures!r}")
        for name in ("pause_s", "max_pause_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"Breaker: {name} is a number of seconds, at least 0, not {getattr(self, name)!r}")


class _Node:
    __slots__ = ("down_until", "failures", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self.failures = 0
        self.down_until = -math.inf


class Nodes:
    """The nodes that a client knows, and how they do. Safe to share between threads."""

    def __init__(
        self,
        urls: Sequence[str],
        clock: Callable[[], float],
        *,
        load_factor: float = 1.25,
        spare_load: int = 8,
        breaker: Breaker | None = None,
    ) -> None:
        """Take base URLs, in any order.

        load_factor: a node takes at most this many times the mean of requests in flight, but always spare_load.
        breaker: when a node that fails is passed over, and for how long.
        Raises InvalidInput for no URL, or one that is not http(s).
        """
        self.urls = tuple(dict.fromkeys(_normal(url) for url in urls))
        if not self.urls:
            raise InvalidInput("a client needs at least one node, such as 'http://localhost:8080'")
        self._nodes = {url: _Node() for url in self.urls}
        self._clock = clock
        self._load_factor = load_factor
        self._spare_load = spare_load
        self._breaker = breaker or Breaker()
        self._lock = threading.Lock()

    def rank(self, function: str) -> list[str]:
        """Return all nodes, the owner of a function first. All versions of a function have one owner."""
        name = function.partition("@")[0]
        return sorted(self.urls, key=lambda url: _weight(name, url), reverse=True)

    def choose(self, function: str, tried: Collection[str] = (), *, patient: bool = True) -> str | None:
        """Return the node to ask and count a request in flight there; `done` takes it back.

        tried: nodes to leave out. patient: ask a node that is down if no other is left.
        Returns None where no node is left.
        """
        ranked = [url for url in self.rank(function) if url not in tried]
        with self._lock:
            now = self._clock()
            up = [url for url in ranked if self._nodes[url].down_until <= now]
            bound = self._bound(now)
            within = [url for url in up if self._nodes[url].in_flight < bound]
            order = within or up or (ranked if patient else [])
            if not order:
                return None
            node = self._nodes[order[0]]
            node.in_flight += 1
            if node.failures >= self._breaker.failures:  # on trial: others pass it over until this is through
                node.down_until = now + self._pause_s(node)
            return order[0]

    def take(self, url: str) -> str:
        """Count a request in flight at a node that was chosen before (a ticket's)."""
        with self._lock:
            self._nodes[url].in_flight += 1
        return url

    def done(self, url: str, *, alive: bool | None) -> None:
        """Report a request through: the node is alive, is not, or (None) it cannot be told."""
        with self._lock:
            node = self._nodes[url]
            node.in_flight -= 1
            if alive:
                node.failures = 0
                node.down_until = -math.inf
            elif alive is False:
                node.failures += 1
                if node.failures >= self._breaker.failures:
                    node.down_until = self._clock() + self._pause_s(node)

    def _bound(self, now: float) -> float:
        up = [node for node in self._nodes.values() if node.down_until <= now]
        total = sum(node.in_flight for node in up) + 1
        return max(self._spare_load, math.ceil(self._load_factor * total / max(1, len(up))))

    def _pause_s(self, node: _Node) -> float:
        breaker = self._breaker
        return min(breaker.max_pause_s, breaker.pause_s * 2.0 ** min(node.failures - breaker.failures, 30))


def _weight(name: str, url: str) -> bytes:
    return hashlib.blake2b(f"{name}\n{url}".encode(), digest_size=8).digest()


def _normal(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _, whole = parts.hostname, parts.port, httpx.URL(url)
        fits = all(len(label) <= 63 for label in whole.raw_host.split(b".")) and len(whole.raw_host) <= 253
    except (TypeError, ValueError, AttributeError, httpx.InvalidURL) as error:
        raise InvalidInput(f"{url!r} is no node: {error}") from error
    if parts.scheme not in ("http", "https") or not host or not fits or parts.query or parts.fragment:
        raise InvalidInput(f"{url!r} is no node: write it as http://host:port or https://host")
    return url.rstrip("/")
