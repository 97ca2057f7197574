"""Routes of devices with a tier of their own: reports and returns of leases, changes, the download to warm up with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import BinaryIO, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from likewise.errors import InvalidValue, LikewiseError, NotFound
from likewise.function.changes import Change
from likewise.function.function import Function
from likewise.function.leasing import Grant, Leasing
from likewise.function.warming import worth_having
from likewise.http import wire
from likewise.http.admission import Fields, fields_of
from likewise.http.edge import Edge
from likewise.http.guards import BYPASS, body_of, edge_of, json_response, needs, refuse_unknown, validated
from likewise.http.leased import PROJECTION
from likewise.http.listeners import Listener, Listeners
from likewise.http.pace import Pace
from likewise.http.pack import MEDIA_TYPE, packed_entries
from likewise.types import Keys

MOST_ENTRIES = 10_000
MOST_ASKED = 64
"""Keys that a device may name as asked before."""
BEAT_S = 4.0
"""Seconds between two signs of life on a stream of changes."""
LONGEST_S = 3600.0
"""Such a stream ends after this; the device asks again."""
BODY_BYTES = 1 << 20
PIECE_BYTES = 1 << 18
"""Of a file, read at once."""


T = TypeVar("T", bound=BaseModel)


class Report(BaseModel):
    """What a device says of its lease."""

    model_config = ConfigDict(extra="forbid")

    answered: int = Field(0, strict=True, ge=0, le=1 << 40, description="Would-be hits answered by itself so far")
    repeats: int = Field(0, strict=True, ge=0, le=1 << 40, description="Exact repeats answered by itself so far")
    done: bool = Field(
        False, strict=True, description="The lease ends, and none of its probes is under way or was lost"
    )


class WarmUp(BaseModel):
    """What a device that joins wants."""

    model_config = ConfigDict(extra="forbid")

    entries: int = Field(500, strict=True, ge=1, le=MOST_ENTRIES, description="Entries at most")
    bytes: int | None = Field(None, strict=True, ge=1, description="Bytes of keys and results at most")
    place: str = Field("", max_length=64, description="A tag: entries that carry it are from where the device is")
    keys: str | None = Field(None, description="Keys asked before: base64 of little-endian float32, one after another")


router = APIRouter(prefix="/v1/functions/{name}", tags=["devices"])


@router.post("/leases/{lease}", dependencies=[Depends(needs("infer"))], summary="Report on a lease, or give it back")
async def report(name: str, lease: str, request: Request) -> Response:
    """Take a device's word for what it answered by itself."""
    edge = edge_of(request)
    fn = edge.registry.get(name)
    principal = edge.admit(fields_of(request.scope["headers"]), "infer")
    said = await _document(request, Report)
    held = fn.leasing.leases.find(lease, principal.account) if fn.leasing is not None else None
    if held is None or fn.leasing is None:
        raise NotFound(f"`{fn.id}` knows no lease {lease[:40]!r} here; a device gets one with an answer.")
    fn.leasing.leases.report(held, said.answered, said.repeats)
    if said.done:
        fn.leasing.leases.give_back(held)
    return json_response({"live": held.live})


@router.get("/changes", dependencies=[Depends(needs("infer"))], summary="What was taken out, once or as a stream")
async def changes(
    name: str,
    request: Request,
    since: str = Query("", max_length=32),
    events: int = Query(0, ge=0, description="A stream ends after so many events; 0: it goes on"),
) -> Response:
    """Return what went since a version; as server-sent events to whoever accepts them, on and on."""
    edge = edge_of(request)
    fn = edge.registry.get(name)
    leasing = _leasing(fn)
    fields = fields_of(request.scope["headers"])
    if b"text/event-stream" not in fields.get(b"accept", b""):
        return json_response(_difference(leasing, since))
    listener = edge.listeners.join(edge.admit(fields, "infer").account, edge.max_change_listeners)
    since = fields.get(b"last-event-id", b"").decode("latin-1")[:32] or since
    headers = {**BYPASS, "cache-control": "no-store"}
    told = _while_admitted(_events(fn, leasing, listener, since, events), edge, fields)
    return _Listening(edge.listeners, listener, told, headers)


@router.get("/files/{sha256}", dependencies=[Depends(needs("infer"))], summary="A file that makes or projects keys")
async def file(name: str, sha256: str, request: Request) -> Response:
    """Return the ONNX file that makes a function's keys, or that of their projection, named by its digest."""
    fn = edge_of(request).registry.get(name)
    files = (fn.leasing.key_file, fn.leasing.projection_file) if fn.leasing is not None else ()
    known = next((each for each in files if each is not None and each.sha256 == sha256), None)
    if known is None:
        raise NotFound(f"`{fn.id}` has no file {sha256[:64]!r} for devices; its description names those there are.")
    try:
        opened = await asyncio.to_thread(known.path.open, "rb")
    except OSError:
        raise NotFound(f"The file of `{fn.id}` for devices is gone; register the function anew.") from None
    # without its length, which would be another where the file is overwritten meanwhile; the device checks its digest
    return StreamingResponse(_pieces(opened), headers=BYPASS, media_type="application/octet-stream")


async def _pieces(opened: BinaryIO) -> AsyncIterator[bytes]:
    """Yield what a file holds, as it is read by a client: a slow one keeps no more than a piece in memory."""
    with opened:
        while piece := await asyncio.to_thread(opened.read, PIECE_BYTES):
            yield piece


@router.post("/warm-up", dependencies=[Depends(needs("infer"))], summary="The entries that promise a device most")
async def warm_up(name: str, request: Request) -> Response:
    """Return entries with their keys and how far each reaches, best first, in one download."""
    edge = edge_of(request)
    fn = edge.registry.get(name)
    leasing = _leasing(fn)
    wanted = await _document(request, WarmUp)
    asked = None if wanted.keys is None else fn.key_types[fn.key_type].from_bytes(
        wire.from_base64(wanted.keys, "keys"), MOST_ASKED
    )  # fmt: skip
    limit = min(wanted.bytes or edge.warm_up_bytes, edge.warm_up_bytes)
    fields = fields_of(request.scope["headers"])
    account = edge.admit(fields, "infer").account
    projection = fields.get(PROJECTION, b"").decode("latin-1")
    async with edge.warm_ups.turn(account):
        content = await _pack(fn, leasing, wanted, asked, limit, projection)
    return Response(content, headers=BYPASS, media_type=MEDIA_TYPE)


async def _pack(
    fn: Function, leasing: Leasing, wanted: WarmUp, asked: Keys | None, limit: int, projection: str
) -> bytes:
    """Return the pack of what is worth having, of at most so many bytes of keys and results.

    projection: digest of the file of one that the device has; empty: none.
    """
    projected = leasing.projection(projection) is not None
    pace, space, version = Pace(), fn.namespace, leasing.changes.version
    dimension = fn.key_types[fn.key_type].dimension
    rows: list[Grant] = []
    room = limit
    wished = await worth_having(space, fn.key_type, fn.k, wanted.entries, asked, wanted.place, rest=pace.rest)
    for id in wished:
        await pace.rest()
        slot = space.slot_of(id)
        if slot < 0 or 4 * dimension + space.result(slot).size_bytes > room:
            continue  # before it is measured, which takes longer
        granted = leasing.grant(id, projected)
        if granted is None:
            continue
        room -= granted.reach.key.nbytes + granted.result.size_bytes
        rows.append(granted)
    header: dict[str, object] = {"function": fn.id, "fingerprint": fn.fingerprint, "version": version}
    if projected:
        header["projection"] = projection
    return await asyncio.to_thread(packed_entries, header, rows, dimension)


def _leasing(fn: Function) -> Leasing:
    if fn.leasing is None:
        raise NotFound(f"`{fn.id}` has nothing that devices may answer by themselves: no error budget, or no leases.")
    return fn.leasing


def _difference(leasing: Leasing, since: str) -> dict[str, object]:
    gone = leasing.changes.since(since)
    return {
        "version": leasing.changes.version,
        "reset": gone is None,
        "entries": [wire.entry_id(id) for id in gone or ()],
    }


class _Listening(StreamingResponse):
    """Server-sent events, and the place of a listener until they end, however that is."""

    def __init__(
        self, listeners: Listeners, listener: Listener, events: AsyncIterator[bytes], headers: dict[str, str]
    ) -> None:
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self._listeners = listeners
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listeners.leave(self._listener)


async def _events(
    fn: Function, leasing: Leasing, listener: Listener, since: str, most: int
) -> AsyncGenerator[bytes, None]:
    """Yield what goes as events: first what went since a version, then what goes from now on.

    most: events; 0: no end.
    """

    def hear(_: Change) -> None:
        listener.news.set()

    leasing.changes.listeners.add(hear)
    try:
        loop = asyncio.get_running_loop()
        end = loop.time() + LONGEST_S
        version, count = since, 0
        while loop.time() < end and not (fn.retired or listener.over):
            told = _difference(leasing, version)
            if told["version"] != version:
                version = leasing.changes.version
                yield b"id: %s\nevent: change\ndata: %s\n\n" % (version.encode(), wire.dumps(told))
                count += 1
                if count == most:
                    return
            else:
                yield b": alive\n\n"
            try:
                await asyncio.wait_for(listener.news.wait(), BEAT_S)
            except TimeoutError:
                continue
            listener.news.clear()
    finally:
        leasing.changes.listeners.discard(hear)


async def _while_admitted(events: AsyncGenerator[bytes, None], edge: Edge, fields: Fields) -> AsyncIterator[bytes]:
    """Yield events for as long as the access key that asked for them is good."""
    async with aclosing(events):
        async for event in events:
            try:
                edge.admit(fields, "infer")
            except LikewiseError:
                return
            yield event


async def _document(request: Request, kind: type[T]) -> T:
    """Return what the JSON of a request says; an empty body says nothing. Raises InvalidValue."""
    body, _ = await body_of(request, BODY_BYTES)
    document = wire.parse_json(body) if body else {}
    if not isinstance(document, dict):
        raise InvalidValue("The body has to be a JSON object.")
    refuse_unknown(kind, document, "The body")
    return validated(kind, document, "The body")
