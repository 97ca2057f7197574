"""Routes of entries: insert what a device computed, page through, invalidate."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from likewise.errors import BadRequest, InvalidValue, TooLarge
from likewise.function.function import Function
from likewise.http import wire
from likewise.http.apart import bytes_of, taken_apart, unexpected
from likewise.http.edge import Edge
from likewise.http.guards import body_of, edge_of, json_response, needs, refuse_unknown, validated
from likewise.http.lookups import INLINE_BYTES, NUMBER_BYTES, elements_of
from likewise.http.pace import Pace
from likewise.requests import NO_CONTROL
from likewise.results.check import MEDIA_TYPE, MEDIA_TYPE_LENGTH, check_json, check_result, is_json
from likewise.types import Entry, Key, Result, Session

MAX_TAGS = 16
TAG_LENGTH = 64
TAG_BYTES = MAX_TAGS * TAG_LENGTH
MOST_KEYS = 64
"""Keys of one entry that are looked at; no function has as many key types."""
ESCAPED = 6
"""Bytes that a byte of a text takes in JSON at most, as an escape."""

Cut = dict[str, memoryview]
"""Long texts of an entry, by the mark in their place; those that were used are taken out."""

_SEVERAL = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"entries"[ \t\r\n]*:[ \t\r\n]*\[')


class EntryBody(BaseModel):
    """One result that a device computed."""

    model_config = ConfigDict(extra="forbid")

    key: list[Any] | str | None = Field(None, description="Primary key: numbers, or base64 of little-endian float32")
    keys: dict[str, list[Any] | str] | None = Field(None, description="One key for each key type of the function")
    input_base64: str | None = Field(None, description="The raw input instead of a key")
    input_media_type: str | None = None
    result: Any = Field(None, description="The result, any JSON")
    result_base64: str | None = Field(None, description="The result where it is not JSON")
    media_type: str | None = Field(None, max_length=MEDIA_TYPE_LENGTH, pattern=f"^{MEDIA_TYPE}$")
    cost_s: float = Field(
        0.1, strict=True, ge=0, le=86400, allow_inf_nan=False, description="Seconds it took to compute"
    )
    ttl_s: float | None = Field(None, strict=True, gt=0, allow_inf_nan=False, description="At most the function's own")
    tags: list[str] = Field(default_factory=list, max_length=16)
    ticket: str | None = Field(None, max_length=64)

    @model_validator(mode="after")
    def _complete(self) -> EntryBody:
        if sum(each is not None for each in (self.key, self.keys, self.input_base64)) != 1:
            raise ValueError("give exactly one of key, keys, input_base64")
        if (self.input_base64 is None) != (self.input_media_type is None):
            raise ValueError("input_base64 goes with input_media_type")
        if ("result" in self.model_fields_set) == (self.result_base64 is not None):
            raise ValueError("give exactly one of result, result_base64")
        if self.result_base64 is not None and self.media_type is None:
            raise ValueError("result_base64 goes with media_type")
        if any(not tag or len(tag) > 64 for tag in self.tags):
            raise ValueError("a tag has 1 to 64 characters")
        return self


router = APIRouter(prefix="/v1/functions/{name}/entries", tags=["entries"])


@router.post("", status_code=201, dependencies=[Depends(needs("insert"))], summary="Insert computed results")
async def insert(name: str, request: Request, durable: bool = False) -> Response:
    """Keep one result, or each of `entries`, and learn from those that name a ticket."""
    edge = edge_of(request)
    fn = edge.registry.get(name)
    body, fields = await body_of(request, edge.max_body_bytes)
    account = edge.admit(fields, "insert").account
    pace = Pace()
    bodies = await _parse(body, fn, edge, pace)
    # everything is checked before anything is kept: a request is inserted whole or not at all
    ready = []
    for each, cut in bodies:
        result = await _result(fn, each, cut, edge, pace)
        ready.append((*await _keys(fn, each, cut, account, pace), result, each))
        if cut:
            raise unexpected(cut)
        await pace.rest()
    answers = []
    for keys, signature, result, each in ready:
        entry = edge.pipeline.entry(fn, keys, result, each.cost_s, each.ttl_s, tuple(each.tags), signature=signature)
        number = await _insert(edge, fn, entry, each.ticket, account)
        answers.append({"id": wire.entry_id(number) if number >= 0 else None, "stored": number >= 0})
        await pace.rest()
    if durable:
        await edge.pipeline.flush()
    return json_response({"entries": answers}, 201)


@router.get("", dependencies=[Depends(needs("infer"))], summary="Page through the entries")
async def page(
    name: str,
    request: Request,
    limit: int = Query(100, ge=1, le=1000),
    after: str | None = Query(None, pattern=wire.ENTRY_ID),
) -> Response:
    """Return entries in the order of insertion, without their results."""
    fn = edge_of(request).registry.get(name)
    found = fn.namespace.page(limit, wire.parse_entry_id(after) if after else None)
    rows = []
    for entry in found.entries:
        slot = fn.namespace.slot_of(entry.id)
        ttl_s = fn.namespace.ttl_s(slot)
        rows.append(
            {
                "id": wire.entry_id(entry.id),
                "label": fn.labels.name(fn.namespace.label_of(slot)),
                "media_type": entry.result.media_type,
                "size_bytes": entry.result.size_bytes,
                "cost_s": entry.cost_s,
                "use_count": entry.use_count,
                "age_s": fn.namespace.age_s(slot),
                "ttl_s": ttl_s if ttl_s < 1e12 else None,
                "tags": list(entry.tags),
            }
        )
    return json_response(
        {"entries": rows, "next": None if found.next_after is None else wire.entry_id(found.next_after)}
    )


@router.delete("", dependencies=[Depends(needs("admin"))], summary="Invalidate entries")
async def invalidate(
    name: str,
    request: Request,
    id: str | None = Query(None, pattern=wire.ENTRY_ID),
    tag: str | None = Query(None, min_length=1, max_length=64),
    all: bool = False,  # noqa: A002 the query parameter's name
) -> Response:
    """Take entries out by id, by tag, or all of them: exactly one."""
    edge = edge_of(request)
    fn = edge.registry.get(name)
    if (id is not None) + (tag is not None) + all != 1:
        raise BadRequest("Say what to invalidate by exactly one of ?id=ID, ?tag=TAG, ?all=true.")
    ids = (wire.parse_entry_id(id),) if id is not None else ()
    removed = edge.pipeline.invalidate(fn, ids, tag, all)
    await edge.pipeline.flush()
    return json_response({"invalidated": len(removed)})


async def _insert(edge: Edge, fn: Function, entry: Entry, ticket: str | None, account: str) -> int:
    """Keep an entry and learn from it, in the worker that issued its ticket; return its id, or -1 if not kept."""
    if ticket and edge.workers is not None and edge.workers.owner(ticket) is not None:
        keep = await edge.workers.redeem(fn.id, ticket, entry.result, account)
        return -1 if keep is False else edge.pipeline.insert(fn, entry, None, account)
    return edge.pipeline.insert(fn, entry, ticket, account)


async def _parse(body: bytes, fn: Function, edge: Edge, pace: Pace) -> list[tuple[EntryBody, Cut]]:
    """Return the entries in a body, with the texts that were cut out of each.

    A long body is taken apart first, so that no step takes long.
    """
    if len(body) > INLINE_BYTES and (several := _SEVERAL.match(body, 0, 1024)):
        places = await elements_of(body, several.end(), edge.max_entries_per_insert, "entries", pace)
    elif len(body) > INLINE_BYTES:
        places = [(0, len(body))]
    else:
        document = wire.parse_json(body)
        if not isinstance(document, dict) or "entries" not in document:
            return [(_validated(document, body), {})]
        check_json(body)
        rows = document["entries"]
        if len(document) > 1 or not isinstance(rows, list) or not rows:
            raise InvalidValue('Several entries come as {"entries": [entry, ...]}, at least one, and nothing else.')
        if len(rows) > edge.max_entries_per_insert:
            raise TooLarge(f"There are over {edge.max_entries_per_insert} entries in one request; send fewer.")
        return [(_validated(each), {}) for each in rows]
    if not places:
        raise InvalidValue("`entries` is empty; send at least one.")
    limit = 4096 + edge.max_result_bytes + NUMBER_BYTES * fn.numbers
    entries: list[tuple[EntryBody, Cut]] = []
    for begin, end in places:
        text = memoryview(body)[begin:end]
        if len(text) > INLINE_BYTES:
            apart = await taken_apart(text, limit, limit + ESCAPED * edge.max_result_bytes, pace)
            entries.append((_validated(wire.parse_json(apart.text), apart.outline), apart.cut))
        else:
            short = bytes(text)
            entries.append((_validated(wire.parse_json(short), short), {}))
        await pace.rest()
    return entries


def _validated(document: object, text: bytes = b"") -> EntryBody:
    """Return an entry; text: its JSON, or the outline of that, where it was not checked yet. Raises InvalidValue."""
    check_json(text)
    if isinstance(document, dict):  # a fault is told of each member, so there must not be a hundred thousand
        refuse_unknown(EntryBody, document, "An entry")
        if isinstance(keys := document.get("keys"), dict) and len(keys) > MOST_KEYS:
            raise InvalidValue(f"`keys` has {len(keys)} keys; send one for each key type of the function.")
        if isinstance(tags := document.get("tags"), list) and len(tags) > MAX_TAGS:
            raise InvalidValue(f"`tags` has {len(tags)} tags, the limit is {MAX_TAGS}; send fewer.")
    return validated(EntryBody, document, "The entry")


async def _bytes(text: str, field: str, cut: Cut, pace: Pace) -> bytes:
    """Return the bytes of base64, which may have been cut out."""
    if (long := cut.pop(text, None)) is not None:
        return await bytes_of(long, field, pace)
    return wire.from_base64(text, field)


async def _keys(fn: Function, body: EntryBody, cut: Cut, account: str, pace: Pace) -> tuple[dict[str, Key], str]:
    """Return the keys of an entry, and the signature of its input where that is known. account: who brings it."""
    if body.input_base64 is not None:
        length = len(cut.get(body.input_base64, body.input_base64)) * 3 // 4
        if length > ESCAPED * fn.max_body_bytes:
            raise _too_large(fn, length)
        raw = await _bytes(body.input_base64, "input_base64", cut, pace)
        if len(raw) > fn.max_body_bytes:
            raise _too_large(fn, len(raw))
        media_type = wire.media_type((body.input_media_type or "").encode("latin-1", "replace"))
        asked = await fn.reader.read(media_type, raw, NO_CONTROL, Session(account=account))
        return fn.keys(asked), asked.signature
    given: dict[str, list[Any] | str] = body.keys or {fn.key_type: body.key or []}
    if set(given) != set(fn.key_types):
        want = ", ".join(f"`{each}`" for each in fn.key_types)
        raise InvalidValue(f"`{fn.id}` keeps one key for each of its key types ({want}); send `keys` with those.")
    return {each: fn.key_types[each].from_value(value) for each, value in given.items()}, ""


def _too_large(fn: Function, length: int) -> TooLarge:
    return TooLarge(f"The input has {length} bytes, the limit of `{fn.id}` is {fn.max_body_bytes}; send less.")


async def _result(fn: Function, body: EntryBody, cut: Cut, edge: Edge, pace: Pace) -> Result:
    """Return the result of an entry, fit to be kept and handed on. Raises InvalidValue, TooLarge."""
    limit = min(edge.max_result_bytes, fn.namespace.capacity_bytes - 4 * fn.numbers - TAG_BYTES)
    if body.result_base64 is not None:
        result = Result(await _bytes(body.result_base64, "result_base64", cut, pace), body.media_type or "")
    else:
        said = body.result
        if isinstance(said, str) and (long := cut.pop(said, None)) is not None:
            if len(long) > ESCAPED * limit:
                raise TooLarge(f"The result has {len(long)} bytes, the limit of `{fn.id}` is {limit}; send less.")
            said = wire.parse_json(b'"%b"' % bytes(long))
        result = Result(wire.dumps(said), body.media_type or wire.JSON)
        if not is_json(result.media_type):
            raise InvalidValue("`result` is JSON, `media_type` says otherwise; leave it out, or send `result_base64`.")
    if result.size_bytes > limit:
        raise TooLarge(f"The result has {result.size_bytes} bytes, the limit of `{fn.id}` is {limit}; send less.")
    await pace.rest()
    if result.size_bytes > INLINE_BYTES:
        await asyncio.to_thread(check_result, result)
    else:
        check_result(result)
    return result
