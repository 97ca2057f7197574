"""Each thing that can be asked, as one value: what to send, whether it may be repeated, how to read the answer."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast
from urllib.parse import quote, urlencode

import httpx
from numpy.typing import ArrayLike

from likewise_client._answer import Answer, Computed, Entry, Inserted, Outcome, Page, Ticket
from likewise_client._errors import (
    BY_SLUG,
    BY_STATUS,
    InvalidInput,
    MalformedAnswer,
    Overloaded,
    ServerProblem,
)
from likewise_client._wire import (
    JSON,
    NPY,
    OCTETS,
    Input,
    decode_result,
    encode_form,
    encode_input,
    encode_json,
    encode_key,
    encode_result,
    key_matrix,
    likewise_status,
    parse_seconds,
    text_of,
)

T = TypeVar("T")

CacheControl = Literal["no-store", "no-cache", "only-if-cached"]
"""What a request may say about reuse (RFC 9111): leave no trace, recompute, never compute."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, not yet bound to a node."""

    method: str
    path: str
    """Path and query, beginning with a slash."""
    read: Callable[[httpx.Response, str], T]
    """Turns a successful response of a node into the value that the caller gets."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    function: str = ""
    """What the node is chosen by."""
    repeatable: bool = True
    """Safe to send again even if the server may have seen it."""


def infer(
    function: str,
    value: Input,
    media_type: str | None,
    cache: CacheControl | None,
    max_age_s: int | None,
    min_fresh_s: int | None,
) -> Call[Answer]:
    """POST .../infer."""
    body, media_type = encode_input(value, media_type)
    headers = {"Content-Type": media_type, **_control(cache, max_age_s, min_fresh_s)}
    return Call("POST", _path(function, "infer"), _read_answer, body, headers, function)


def lookup_one(
    function: str,
    key: ArrayLike | None,
    value: Input | None,
    key_type: str | None,
    media_type: str | None,
    max_age_s: int | None = None,
    min_fresh_s: int | None = None,
) -> Call[Answer]:
    """POST .../lookup with one key or a raw input."""
    if (key is None) == (value is None):
        raise InvalidInput("a lookup takes exactly one of key, keys and input")
    path, control = _path(function, "lookup", key_type=key_type), _control(None, max_age_s, min_fresh_s)
    if value is None:
        return Call("POST", path, _read_answer, encode_key(cast(ArrayLike, key)), _TYPED_OCTETS | control, function)
    body, media_type = encode_input(value, media_type, lists_as=NPY)
    if media_type in (JSON, OCTETS):
        raise InvalidInput(f"{media_type} means keys in a lookup: pass an array input as a NumPy array")
    return Call("POST", path, _read_answer, body, {"Content-Type": media_type} | control, function)


def lookup_many(
    function: str,
    keys: ArrayLike,
    key_type: str | None,
    max_age_s: int | None = None,
    min_fresh_s: int | None = None,
) -> Call[list[Answer]]:
    """POST .../lookup with n >= 1 keys."""
    matrix = key_matrix(keys)
    if len(matrix) == 1:
        one = lookup_one(function, matrix[0], None, key_type, None, max_age_s, min_fresh_s)
        return Call("POST", one.path, lambda r, n: [_read_answer(r, n)], one.body, one.headers, function)

    def read(response: httpx.Response, node: str) -> list[Answer]:
        answers = _read_json(response).get("answers")
        if not isinstance(answers, list) or len(answers) != len(matrix):
            raise MalformedAnswer(f"{node} did not answer {len(matrix)} keys one by one")
        return [_read_bulk_answer(answer, node) for answer in answers]

    path, control = _path(function, "lookup", key_type=key_type), _control(None, max_age_s, min_fresh_s)
    return Call("POST", path, read, matrix.tobytes(), _TYPED_OCTETS | control, function)


def insert(function: str, computed: Computed, *, ticket: str | None, durable: bool) -> Call[Inserted]:
    """POST .../entries with one entry. Repeated only where the server cannot have taken it."""
    many = _insert(function, _entry(computed, ticket), 1, durable)

    def read(response: httpx.Response, node: str) -> Inserted:
        return many.read(response, node)[0]

    return Call("POST", many.path, read, many.body, many.headers, function, repeatable=False)


def insert_many(function: str, computed: Sequence[Computed], *, durable: bool) -> Call[list[Inserted]]:
    """POST .../entries with n >= 1 entries. Repeated only where the server cannot have taken them."""
    return _insert(function, {"entries": [_entry(one, one.ticket) for one in computed]}, len(computed), durable)


def _insert(function: str, document: dict[str, Any], count: int, durable: bool) -> Call[list[Inserted]]:
    def read(response: httpx.Response, node: str) -> list[Inserted]:
        try:
            done = [Inserted(one["id"], bool(one["stored"])) for one in _read_json(response)["entries"]]
        except (KeyError, ValueError, TypeError) as error:
            raise MalformedAnswer(f"{node} did not confirm the insert as the protocol says") from error
        if len(done) != count:
            raise MalformedAnswer(f"{node} confirmed {len(done)} of {count} inserts")
        return done

    path = _path(function, "entries", durable="true" if durable else None)
    return Call("POST", path, read, encode_json(document), {"Content-Type": JSON}, function, repeatable=False)


def _entry(computed: Computed, ticket: str | None) -> dict[str, Any]:
    key, keys, value = computed.key, computed.keys, computed.input
    if sum(part is not None for part in (key, keys, value)) != 1:
        raise InvalidInput("an insert takes exactly one of key, keys (by key type) and input")
    if isinstance(computed.tags, str):
        raise InvalidInput("tags is a list of strings, not one string")
    entry = encode_result(computed.result, computed.result_media_type)
    if value is not None:
        body, input_media_type = encode_input(value, computed.media_type, lists_as=NPY)
        entry |= {"input_base64": text_of(body), "input_media_type": input_media_type}
    elif keys is not None:
        entry["keys"] = {name: text_of(encode_key(vector)) for name, vector in keys.items()}
    else:
        entry["key"] = text_of(encode_key(cast(ArrayLike, key)))
    optional = {
        "cost_s": computed.cost_s,
        "ttl_s": computed.ttl_s,
        "tags": list(computed.tags) or None,
        "ticket": ticket,
    }
    return entry | {name: part for name, part in optional.items() if part is not None}


def page(function: str, limit: int, after: str | None) -> Call[Page]:
    """GET .../entries: one page of entries."""

    def read(response: httpx.Response, node: str) -> Page:
        document = _read_json(response)
        try:
            entries = tuple(
                Entry(
                    one["id"], one["label"], one["media_type"], one["size_bytes"], one["cost_s"], one["use_count"],
                    one["age_s"], one["ttl_s"], tuple(one["tags"]),
                )
                for one in document["entries"]
            )  # fmt: skip
            return Page(entries, document["next"], node)
        except (KeyError, TypeError) as error:
            raise MalformedAnswer(f"{node} did not list entries as the protocol says") from error

    return Call("GET", _path(function, "entries", limit=f"{limit:d}", after=after), read, function=function)


def register(name: str, spec: str | Mapping[str, Any], files: Mapping[str, bytes | Path]) -> Call[dict[str, Any]]:
    """PUT /v1/functions/{name}: as a form where there are files, else the spec alone."""
    kind, text = ("application/toml", spec.encode()) if isinstance(spec, str) else (JSON, encode_json(spec))
    if files:
        contents = {
            part: (content.read_bytes() if isinstance(content, Path) else content) for part, content in files.items()
        }
        body, kind = encode_form({"spec": (kind, text)} | {part: (OCTETS, each) for part, each in contents.items()})
    else:
        body = text
    return Call("PUT", _path(name), lambda response, _node: _read_json(response), body, {"Content-Type": kind}, name)


def unregister(name: str) -> Call[None]:
    """DELETE /v1/functions/{name}; not repeated, for a second time there would be no such function."""
    return Call("DELETE", _path(name), lambda _response, _node: None, function=name, repeatable=False)


def invalidate(function: str, id: str | None, tag: str | None, everything: bool) -> Call[int]:
    """DELETE .../entries."""
    if (id is not None) + (tag is not None) + everything != 1:
        raise InvalidInput("invalidate takes exactly one of id, tag and all=True")
    path = _path(function, "entries", id=id, tag=tag, all="true" if everything else None)
    return Call("DELETE", path, _read_count, function=function)


def functions() -> Call[list[dict[str, Any]]]:
    """GET /v1/functions."""

    def read(response: httpx.Response, node: str) -> list[dict[str, Any]]:
        found = _read_json(response).get("functions")
        if not isinstance(found, list):
            raise MalformedAnswer(f"{node} did not list its functions")
        return found

    return Call("GET", "/v1/functions", read)


def stats() -> Call[dict[str, Any]]:
    """GET /v1/stats."""
    return Call("GET", "/v1/stats", lambda response, _node: _read_json(response))


_TYPED_OCTETS = {"Content-Type": OCTETS}


def _control(cache: CacheControl | None, max_age_s: int | None, min_fresh_s: int | None) -> dict[str, str]:
    directives: list[str] = [cache] if cache else []
    directives += [f"max-age={max_age_s:d}"] if max_age_s is not None else []
    directives += [f"min-fresh={min_fresh_s:d}"] if min_fresh_s is not None else []
    return {"Cache-Control": ", ".join(directives)} if directives else {}


def _path(function: str, rest: str = "", **query: str | None) -> str:
    if not function or function in (".", ".."):
        raise InvalidInput("a function is named, such as 'signs' or 'signs@1'")
    text = urlencode({name: value for name, value in query.items() if value is not None})
    return f"/v1/functions/{quote(function, safe='@')}" + (f"/{rest}" if rest else "") + (f"?{text}" if text else "")


def _read_answer(response: httpx.Response, node: str) -> Answer:
    headers = response.headers
    status = likewise_status(headers.get("cache-status", ""))
    ticket = headers.get("likewise-ticket")
    given = Ticket(ticket, node) if ticket else None
    if response.status_code == httpx.codes.NO_CONTENT:
        return Answer("probe" if status.detail == "probe" else "miss", ticket=given, node=node)
    if not status.hit and "fwd" not in status.parameters:
        raise MalformedAnswer(
            f"{node} did not say how its answer came about: no likewise server, or a key whose length is a multiple "
            f"of the key type's dimension and was taken for several"
        )
    media_type = headers.get("content-type", OCTETS).partition(";")[0].strip().lower()
    outcome: Outcome = "hit" if status.hit else "miss"
    if status.detail in ("coalesced", "probe"):
        outcome = cast(Outcome, status.detail)
    return Answer(
        outcome,
        decode_result(response.content, media_type),
        response.content,
        media_type,
        headers.get("likewise-entry"),
        parse_seconds(headers.get("age"), 0.0),
        status.ttl_s,
        status.parameters.get("stored") is True,
        given,
        node,
    )


def _read_bulk_answer(answer: Any, node: str) -> Answer:
    try:
        outcome = answer["outcome"]
        if outcome != "hit":
            given = answer.get("ticket")
            ticket = Ticket(given, node) if given else None
            return Answer("probe" if outcome == "probe" else "miss", ticket=ticket, node=node)
        ttl = answer.get("ttl")
        age_s, ttl_s = float(answer.get("age", 0)), None if ttl is None else float(ttl)
        if "result_base64" in answer:
            media_type = str(answer["media_type"])
            body = _bytes_of(answer["result_base64"])
            return Answer(
                "hit", decode_result(body, media_type), body, media_type, answer["entry"], age_s, ttl_s, node=node
            )
        result = answer["result"]
        body = json.dumps(result, separators=(",", ":"), ensure_ascii=False).encode()
        return Answer("hit", result, body, JSON, answer["entry"], age_s, ttl_s, node=node)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise MalformedAnswer(f"{node} sent an answer that the protocol does not know") from error


def _bytes_of(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _read_count(response: httpx.Response, node: str) -> int:
    count = _read_json(response).get("invalidated")
    if not isinstance(count, int):
        raise MalformedAnswer(f"{node} did not say how many entries it invalidated")
    return count


def _read_json(response: httpx.Response) -> dict[str, Any]:
    try:
        value = json.loads(response.content)
    except ValueError as error:
        raise MalformedAnswer(f"not JSON: {response.content[:80]!r}") from error
    if not isinstance(value, dict):
        raise MalformedAnswer(f"not a JSON object: {response.content[:80]!r}")
    return value


def problem_of(response: httpx.Response) -> ServerProblem:
    """Return the error that a response of status 400 or more means."""
    try:
        document = json.loads(response.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"detail": response.text[:200]}
    slug = str(document.get("type", "")).rpartition("/")[2]
    kind = BY_SLUG.get(slug) or BY_STATUS.get(response.status_code, ServerProblem)
    title = str(document.get("title") or response.reason_phrase or "Error")
    problem = kind(response.status_code, title, str(document.get("detail") or ""), slug)
    if isinstance(problem, Overloaded):
        problem.retry_after_s = parse_seconds(response.headers.get("retry-after"), time.time())
    return problem
