"""Errors as `application/problem+json`. Source: RFC 9457."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

from likewise.errors import LikewiseError, Overloaded, Unauthorized

MEDIA_TYPE = "application/problem+json"
BASE = "https://likewise.dev/problems/"

log = logging.getLogger("likewise.http")

Headers = list[tuple[bytes, bytes]]


def document(error: LikewiseError) -> dict[str, Any]:
    """Return the problem document of an error, with its status."""
    return {"type": BASE + error.slug, "title": error.title, "status": error.status, "detail": error.detail}


def extra_headers(error: LikewiseError) -> Mapping[str, str]:
    """Return the headers that an error asks for: Retry-After in whole seconds, WWW-Authenticate."""
    if isinstance(error, Overloaded):
        return {"retry-after": str(max(1, math.ceil(error.retry_after_s)))}
    if isinstance(error, Unauthorized):
        return {"www-authenticate": 'Bearer realm="likewise"'}
    return {}


def render(error: LikewiseError) -> tuple[int, bytes, Headers]:
    """Return status, body and headers of the answer to an error."""
    body = orjson.dumps(document(error))
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-status", b"likewise; detail=" + error.slug.encode()),
        *((name.encode(), value.encode()) for name, value in extra_headers(error).items()),
    ]
    return error.status, body, headers


def unexpected(error: Exception) -> LikewiseError:
    """Return what to tell a client about an error that nobody foresaw; the log has the rest."""
    log.error("unexpected error", exc_info=error)
    return LikewiseError("Something went wrong on the server; its log says what. The request may be sent again.")


def in_words(send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return an ASGI `send` for a lifespan, in which an error of ours is told by its detail instead of a traceback."""

    async def plainly(message: MutableMapping[str, Any]) -> None:
        error = sys.exception()  # the router sends its traceback while it handles it
        if isinstance(error, LikewiseError) and message["type"].endswith(".failed"):
            message = {**message, "message": error.detail}
        await send(message)

    return plainly
