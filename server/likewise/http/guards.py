"""Small things that the FastAPI routes share: who may, the body within its limit, JSON out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from likewise.http import wire
from likewise.http.edge import Edge
from likewise.http.hot import read_body


def edge_of(request: Request) -> Edge:
    """Return what the routes share."""
    edge: Edge = request.app.state.edge
    return edge


def needs(scope: str) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that lets a request pass whose access key has the scope."""

    async def check(request: Request) -> None:
        edge_of(request).access.check(wire.header(request.scope["headers"], b"authorization"), scope)

    return check


async def body_of(request: Request, limit: int) -> bytes:
    """Return the body of a request. Raises TooLarge, before reading where its length says so."""
    return await read_body(request.receive, wire.header(request.scope["headers"], b"content-length"), limit)


def json_response(document: object, status: int = 200) -> Response:
    """Return a JSON answer, marked as not from the cache."""
    return Response(
        wire.dumps(document), status, {"cache-status": "likewise; fwd=bypass", "age": "0"}, media_type=wire.JSON
    )
