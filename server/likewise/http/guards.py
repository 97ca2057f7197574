"""Small things that the FastAPI routes share: who may, the body within its limit, JSON out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from likewise.errors import UnsupportedMediaType
from likewise.http import wire
from likewise.http.admission import Fields, fields_of
from likewise.http.edge import Edge
from likewise.http.hot import read_body

BYPASS = {"cache-status": "likewise; fwd=bypass", "age": "0"}
"""Headers of an answer that never comes from the cache."""


def edge_of(request: Request) -> Edge:
    """Return what the routes share."""
    edge: Edge = request.app.state.edge
    return edge


def needs(scope: str) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that lets a request pass whose access key has the scope."""

    async def check(request: Request) -> None:
        edge_of(request).admit(fields_of(request.scope["headers"]), scope)

    return check


async def body_of(request: Request, limit: int) -> tuple[bytes, Fields]:
    """Return body and header fields of a request.

    Raises TooLarge, before reading where its length says so, and UnsupportedMediaType for a compressed body.
    """
    fields = fields_of(request.scope["headers"])
    if fields.get(b"content-encoding", b"identity") not in (b"", b"identity"):
        raise UnsupportedMediaType("Content-Encoding is not supported here; send the body as it is.")
    return await read_body(request.receive, fields.get(b"content-length", b""), limit), fields


def json_response(document: object, status: int = 200) -> Response:
    """Return a JSON answer, marked as not from the cache."""
    return Response(wire.dumps(document), status, BYPASS, media_type=wire.JSON)
