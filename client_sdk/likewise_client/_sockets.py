"""What lies between an exchange and httpx's transports: connections to the nodes, requests out, replies in.

The transports of httpx are used without its client: what that adds to each request (cookies, redirects, settings to
merge) is either unwanted here or the same every time, and costs as much as the sending.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import logging
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx

from likewise_client._bodies import Body
from likewise_client._errors import ConnectionFailed, LikewiseClientError, MalformedAnswer, TimedOut
from likewise_client._exchange import Send
from likewise_client._proxy import proxied
from likewise_client._reply import Reply

log = logging.getLogger("likewise_client")

FIXED = {"Accept-Encoding": "gzip, deflate", "User-Agent": "likewise-client"}
"""What every request says, beside the client's own headers."""

_url = functools.lru_cache(maxsize=1024)(httpx.URL)


@dataclass(frozen=True)
class Sockets:
    """How connections are made, and what is sent and taken over them."""

    timeout: dict[str, float | None]
    limits: httpx.Limits
    proxy: str | None
    verify: ssl.SSLContext | None
    max_answer_bytes: int

    def transports(self, nodes: Iterable[str], given: Any, kind: Callable[..., Any]) -> dict[str, Any]:
        """Return what carries the requests of each node. given: a transport for all; kind: makes one."""
        if given is not None:
            return dict.fromkeys(nodes, given)
        nodes = tuple(nodes)
        secure = any(url.startswith("https:") for url in nodes)
        options: dict[str, Any] = {"verify": self._trust(secure), "limits": self.limits, "trust_env": False}
        options["http2"] = secure and importlib.util.find_spec("h2") is not None  # agreed on by TLS alone
        ways = proxied(nodes, self.proxy, lambda proxy: kind(proxy=proxy, **options))
        direct = None
        for node, way in ways.items():
            if way is None:
                direct = ways[node] = direct or kind(**options)
        return {node: ways[node] for node in nodes}

    def request(self, send: Send) -> httpx.Request:
        """Return a request as httpx's transports take it."""
        timeout = self.timeout
        if send.timeout_s is not None:
            left = send.timeout_s
            timeout = {name: left if given is None else min(given, left) for name, given in timeout.items()}
        url, headers = _url(send.url), send.headers
        if url.userinfo:
            headers = {**headers, "Authorization": f"Basic {base64.b64encode(unquote_to_bytes(url.userinfo)).decode()}"}
        extensions = {"timeout": timeout}
        return httpx.Request(send.method, url, headers=headers, content=send.body, extensions=extensions)

    def body(self, response: httpx.Response, node: str) -> Body:
        """Return what takes the body of an answer. Raises MalformedAnswer."""
        return Body(node, response.headers.get("content-encoding", ""), self.max_answer_bytes)

    def _trust(self, secure: bool) -> ssl.SSLContext:
        """Return whom to trust. Loading the authorities takes tens of milliseconds: only where a node speaks TLS."""
        if self.verify is not None:
            return self.verify
        if not secure:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            return ssl.create_default_context()
        except OSError as error:  # SSLKEYLOGFILE names a file that cannot be written
            log.warning("SSLKEYLOGFILE cannot be used and is ignored: %s", error)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_default_certs()
            return context


def reply_to(request: httpx.Request, response: httpx.Response, body: Body) -> Reply:
    """Return what came of a request. Raises MalformedAnswer."""
    url, head = request.url.raw_path, response.headers.raw
    sent = len(request.method) + len(url) + 12 + _size(request.headers.raw) + len(request.content)
    return Reply(response.status_code, _fields(head), body.whole(), sent, 19 + _size(head) + body.received)


def _fields(head: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return a head's fields; reading them one by one from httpx's takes as long as the rest of an answer."""
    found: dict[str, str] = {}
    for raw_name, raw_value in head:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _size(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return the bytes of a head's fields, with the empty line behind them."""
    return 2 + sum(len(name) + len(value) + 4 for name, value in headers)


def translated(error: Exception, node: str) -> LikewiseClientError:
    """Return this package's error for one that a transport raised; none of its own passes."""
    if isinstance(error, (httpx.ConnectTimeout, httpx.ConnectError)):
        return ConnectionFailed(f"no connection to {node}: {error}")
    if isinstance(error, httpx.PoolTimeout):
        return TimedOut(f"no connection to {node} was free in time; see max_connections")
    if isinstance(error, httpx.TimeoutException):
        return TimedOut(f"no answer from {node} in time: {type(error).__name__}")
    if isinstance(error, httpx.TransportError):
        return ConnectionFailed(f"the connection to {node} broke: {error}", sent=True)
    return MalformedAnswer(f"{node} sent what is no HTTP: {error!r}")
