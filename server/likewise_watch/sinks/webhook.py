"""Results to a web hook: one POST with a JSON document each."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import httpx

from likewise.errors import SettingsError
from likewise_watch.address import addresses
from likewise_watch.found import Found
from likewise_watch.sinks.outbox import Later, Outbox, Refused

_ANSWER_BYTES = 1 << 16
"""What is read of an answer that nobody needs."""


class Webhook:
    """Posts results in the background, one after another, in order.

    Redirects are refused, since they would lead somewhere that nobody named; user and password in the URL are sent as
    basic authentication. Server errors, 408 and 429, and connections that fail are tried again.
    Raises SettingsError for what is no URL.
    """

    def __init__(self, url: str, limit: int, limit_bytes: int, timeout_s: float, drain_s: float = 5.0) -> None:
        try:
            parsed, parts = httpx.URL(url), urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except (httpx.InvalidURL, ValueError):
            usable = False
        if not usable:
            raise SettingsError("--webhook takes a URL such as http://host:port/path.")
        self._url = parsed
        self._timeout_s = timeout_s
        self._shown = addresses([url])[0].shown
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=False, trust_env=False)
        self._outbox = Outbox(f"web hook {self._shown}", self._deliver, limit, limit_bytes, drain_s=drain_s)

    @property
    def lost(self) -> int:
        """Results that could not be delivered."""
        return self._outbox.lost

    def put(self, found: Found) -> None:
        """Queue a result; one of a recording waits for room, as long as the hook takes any."""
        self._outbox.put(found.document(), patient=found.frame.position_s is not None)

    def close(self) -> None:
        """Deliver what waits, for a while."""
        self._outbox.close()
        self._http.close()

    def _deliver(self, message: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        due = time.monotonic() + self._timeout_s
        try:
            with self._http.stream("POST", self._url, content=message, headers=headers) as answer:
                status, asked = answer.status_code, answer.headers.get("Retry-After", "")
                for _ in answer.iter_raw(4096):  # to its end, so that the connection serves again
                    if answer.num_bytes_downloaded > _ANSWER_BYTES or time.monotonic() > due:
                        break
        except (httpx.HTTPError, RuntimeError) as error:  # a client that was closed meanwhile raises RuntimeError
            raise Later(type(error).__name__) from None
        if status in (408, 429) or status >= 500:
            raise Later(f"status {status}", float(asked) if asked.isascii() and asked.isdecimal() else 0.0)
        if status >= 300:
            raise Refused(f"status {status}{', and redirects are not followed' if status < 400 else ''}")
