"""Small things that the FastAPI routes share: who may, the body within its limit and as a model, JSON out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError

from likewise.errors import BadRequest, InvalidValue, UnsupportedMediaType
from likewise.http import wire
from likewise.http.admission import Fields, fields_of
from likewise.http.edge import Edge
from likewise.http.hot import check_length, read_body
from likewise.http.pace import Pace

BYPASS = {"cache-status": "likewise; fwd=bypass", "age": "0"}
"""Headers of an answer that never comes from the cache."""
PIECE_BYTES = 1 << 16
"""Of a long body, looked at in one go."""
MOST_FAULTS = 5
"""Faults of a body that are told."""

T = TypeVar("T", bound=BaseModel)


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
    fields = _fields_of(request)
    return await read_body(request.receive, fields.get(b"content-length", b""), limit), fields


async def pieces_of(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """Yield a long body as it comes, in pieces that take little to look at; it is never in one. Raises as `body_of`."""
    check_length(int(_fields_of(request).get(b"content-length", b"") or 0), limit)
    pace, size, more = Pace(), 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("The connection ended before the body did.")
        body, more = message.get("body", b""), message.get("more_body", False)
        size += len(body)
        check_length(size, limit)
        for at in range(0, len(body), PIECE_BYTES):
            yield body[at : at + PIECE_BYTES]
            await pace.rest()


def _fields_of(request: Request) -> Fields:
    fields = fields_of(request.scope["headers"])
    if fields.get(b"content-encoding", b"identity") not in (b"", b"identity"):
        raise UnsupportedMediaType("Content-Encoding is not supported here; send the body as it is.")
    return fields


def refuse_unknown(kind: type[BaseModel], document: Mapping[str, Any], what: str) -> None:
    """Raise InvalidValue, naming the first few, for members that a model does not have.

    Ask before `validated`: that tells a fault of each, and there may be a hundred thousand. what: such as "An entry".
    """
    if unknown := sorted(document.keys() - kind.model_fields.keys())[:MOST_FAULTS]:
        raise InvalidValue(f"{what} has no {', '.join(f'`{name[:64]}`' for name in unknown)}; leave that out.")


def validated(kind: type[T], document: object, what: str) -> T:
    """Return what JSON says, as a model. Raises InvalidValue with the first few faults. what: such as "The entry"."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        faults = "; ".join(
            f"`{'.'.join(map(str, fault['loc']))[:64] or 'body'}`: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)[:MOST_FAULTS]
        )
        raise InvalidValue(f"{what} cannot be taken: {faults}.") from None


def json_response(document: object, status: int = 200) -> Response:
    """Return a JSON answer, marked as not from the cache."""
    return Response(wire.dumps(document), status, BYPASS, media_type=wire.JSON)
