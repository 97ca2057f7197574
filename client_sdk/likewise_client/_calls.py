"""Each thing that can be asked, as one value: what to send, whether it may be repeated, how to read the answer."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast, get_args
from urllib.parse import quote, urlencode

import httpx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from likewise_client._answer import Answer, Page, Ticket
from likewise_client._device.pack import Packed
from likewise_client._errors import InvalidInput, TimedOut
from likewise_client._read import (
    read_answer,
    read_answers,
    read_change,
    read_count,
    read_functions,
    read_object,
    read_packed,
    read_page,
)
from likewise_client._reply import Reply
from likewise_client._wire import (
    JSON,
    NPY,
    OCTETS,
    Input,
    encode_input,
    encode_json,
    encode_key,
    key_matrix,
)

T = TypeVar("T")

STREAM_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,128}")

CacheControl = Literal["no-store", "no-cache", "only-if-cached"]
"""What a request may say about reuse (RFC 9111): leave no trace, recompute, never compute."""


@dataclass(frozen=True)
class Local:
    """What a device's own tier has to know of a request that it may answer."""

    function: str
    value: Any
    body: bytes
    media_type: str
    key: NDArray[np.float32] | None = None
    """Of a lookup by key; None: the key is made from the value."""
    max_age_s: float | None = None
    min_fresh_s: float | None = None

    @property
    def lookup(self) -> bool:
        """Whether it is a lookup by key."""
        return self.key is not None


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, not yet bound to a node."""

    method: str
    path: str
    """Path and query, beginning with a slash."""
    read: Callable[[Reply, str], T]
    """Turns a successful response of a node into the value that the caller gets."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    function: str = ""
    """As the app named it."""
    repeatable: bool = True
    """Safe to send again even if the server may have seen it."""
    operation: str = ""
    """What the app called."""
    owner: str = ""
    """What the node is chosen by, where it is not the function."""
    deadline_s: float | None = None
    """Seconds after which an answer is of no use to the app; None: none."""
    local: Local | None = None
    """What a device's own tier may answer; None: nothing."""
    where: str = "edge"
    """Where it is computed: "edge", "device", "auto"."""


def infer(
    function: str,
    value: Input,
    media_type: str | None,
    cache: CacheControl | None,
    max_age_s: int | None,
    min_fresh_s: int | None,
    stream: str | None = None,
    drop_late: bool = False,
    frame_number: int | None = None,
) -> Call[Answer]:
    """POST .../infer. A stream has a node of its own, where its state is."""
    body, media_type = encode_input(value, media_type, narrow=True)
    headers = {"Content-Type": media_type, **_control(cache, max_age_s, min_fresh_s)}
    owner = function
    if stream is not None:
        if not STREAM_NAME.fullmatch(stream):
            raise InvalidInput("a stream's name is 1 to 128 letters, digits, or . _ - : / signs")
        headers["Likewise-Stream"] = f"{stream}{_place(frame_number)}{';late=drop' if drop_late else ''}"
        owner = f"{function.partition('@')[0]}/{stream}"
    local = None
    if stream is None and cache in (None, "only-if-cached"):
        local = Local(function, value, body, media_type, None, max_age_s, min_fresh_s)
    path = path_of(function, "infer")
    return Call("POST", path, read_answer, body, headers, function, operation="infer", owner=owner, local=local)


def _place(frame_number: int | None) -> str:
    if frame_number is None:
        return ""
    if not isinstance(frame_number, int) or not 0 <= frame_number < 10**15:
        raise InvalidInput(f"a frame's number is a whole number of 15 digits at most, not {frame_number!r}")
    return f";frame={frame_number}"


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
    path, control = path_of(function, "lookup", key_type=key_type), _control(None, max_age_s, min_fresh_s)
    if value is None:
        body = encode_key(cast(ArrayLike, key))
        local = None
        if key_type is None:
            local = Local(function, None, body, OCTETS, np.frombuffer(body, "<f4"), max_age_s, min_fresh_s)
        return Call(
            "POST", path, read_answer, body, {**_TYPED_OCTETS, **control}, function, operation="lookup", local=local
        )
    body, media_type = encode_input(value, media_type, lists_as=NPY)
    if media_type in (JSON, OCTETS):
        raise InvalidInput(f"{media_type} means keys in a lookup: pass an array input as a NumPy array")
    headers = {"Content-Type": media_type, **control}
    return Call("POST", path, read_answer, body, headers, function, operation="lookup")


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
        return replace(cast(Any, one), read=lambda reply, node: [read_answer(reply, node)])
    path, control = path_of(function, "lookup", key_type=key_type), _control(None, max_age_s, min_fresh_s)
    read = read_answers(len(matrix))
    return Call("POST", path, read, matrix.tobytes(), {**_TYPED_OCTETS, **control}, function, operation="lookup")


def page(function: str, limit: int, after: str | None) -> Call[Page]:
    """GET .../entries: one page of entries."""
    path = path_of(function, "entries", limit=str(_whole("limit", limit)), after=after)
    return Call("GET", path, read_page(after), function=function, operation="page")


def register(name: str, spec: str | Mapping[str, Any], files: Mapping[str, bytes | Path]) -> Call[dict[str, Any]]:
    """PUT /v1/functions/{name}: as a form where there are files, else the spec alone."""
    kind, text = ("application/toml", spec.encode()) if isinstance(spec, str) else (JSON, encode_json(spec))
    body, headers = (text, {"Content-Type": kind}) if not files else _form(kind, text, files)
    return Call("PUT", path_of(name), read_object, body, headers, name, operation="register")


def _form(kind: str, spec: bytes, files: Mapping[str, bytes | Path]) -> tuple[bytes, dict[str, str]]:
    parts = [("spec", ("spec", spec, kind))]
    for name, content in files.items():
        parts.append((name, (name, content.read_bytes() if isinstance(content, Path) else bytes(content), OCTETS)))
    form = httpx.Request("PUT", "http://form", files=parts)
    return form.read(), {"Content-Type": form.headers["Content-Type"]}


def unregister(name: str) -> Call[None]:
    """DELETE /v1/functions/{name}; not repeated, for a second time there would be no such function."""

    def read(_reply: Reply, _node: str) -> None:
        return None

    return Call("DELETE", path_of(name), read, function=name, repeatable=False, operation="unregister")


def invalidate(function: str, id: str | None, tag: str | None, everything: bool) -> Call[int]:
    """DELETE .../entries."""
    if (id is not None) + (tag is not None) + everything != 1:
        raise InvalidInput("invalidate takes exactly one of id, tag and all=True")
    path = path_of(function, "entries", id=id, tag=tag, all="true" if everything else None)
    return Call("DELETE", path, read_count, function=function, operation="invalidate")


def describe(function: str) -> Call[dict[str, Any]]:
    """GET /v1/functions/{name}."""
    return Call("GET", path_of(function), read_object, function=function, operation="describe")


def changes(function: str, since: str) -> Call[dict[str, Any] | None]:
    """GET .../changes: the next change, waited for; None: the server waits no longer. Not hedged, nor asked again."""
    path = path_of(function, "changes", since=since or None, events="1")
    headers = {"Accept": "text/event-stream"}
    return Call("GET", path, read_change, b"", headers, function, repeatable=False)


def file(function: str, sha256: str) -> Call[bytes]:
    """GET .../files/{sha256}: the file that makes keys."""
    return Call(
        "GET", path_of(function, f"files/{quote(sha256)}"), lambda reply, _node: reply.content, function=function
    )


def variants(function: str) -> Call[dict[str, Any]]:
    """GET .../variants: the models that a device may run itself."""
    return Call("GET", path_of(function, "variants"), read_object, function=function)


def variant(function: str, name: str) -> Call[bytes]:
    """GET .../variants/{file}: such a model, packed."""
    path = path_of(function, f"variants/{quote(name, safe='')}")
    return Call("GET", path, lambda reply, _node: reply.content, function=function)


def report(function: str, lease: str, answered: int, repeats: int, done: bool) -> Call[dict[str, Any]]:
    """POST .../leases/{lease}: what a device answered by itself, and whether it gives the lease back."""
    body = encode_json({"answered": answered, "repeats": repeats, "done": done})
    path = path_of(function, f"leases/{quote(lease)}")
    return Call("POST", path, read_object, body, {"Content-Type": JSON}, function, operation="report")


def warm_up(
    function: str, entries: int, max_bytes: int, place: str, keys: str | None, projection: str
) -> Call[tuple[dict[str, Any], list[Packed]]]:
    """POST .../warm-up: the entries that promise a device most. projection: digest of its file; empty: none."""
    wanted = {"entries": entries, "bytes": max_bytes, "place": place, "keys": keys}
    body = encode_json({name: value for name, value in wanted.items() if value is not None})
    path, headers = path_of(function, "warm-up"), {"Content-Type": JSON}
    if projection:
        headers["Likewise-Projection"] = projection
    return Call("POST", path, read_packed, body, headers, function, operation="warm_up")


def functions() -> Call[list[dict[str, Any]]]:
    """GET /v1/functions."""
    return Call("GET", "/v1/functions", read_functions, operation="functions")


def stats() -> Call[dict[str, Any]]:
    """GET /v1/stats."""
    return Call("GET", "/v1/stats", read_object, operation="stats")


_TYPED_OCTETS = {"Content-Type": OCTETS}


def _control(cache: CacheControl | None, max_age_s: int | None, min_fresh_s: int | None) -> dict[str, str]:
    if cache is not None and cache not in get_args(CacheControl):
        raise InvalidInput(f"cache is one of {', '.join(map(repr, get_args(CacheControl)))}, or None, not {cache!r}")
    directives: list[str] = [cache] if cache is not None else []
    directives += [f"max-age={_whole('max_age_s', max_age_s)}"] if max_age_s is not None else []
    directives += [f"min-fresh={_whole('min_fresh_s', min_fresh_s)}"] if min_fresh_s is not None else []
    return {"Cache-Control": ", ".join(directives)} if directives else {}


def within(call: Call[T], deadline_s: float | None) -> Call[T]:
    """Return a call with a deadline, in seconds from when it is made."""
    if deadline_s is None:
        return call
    if not isinstance(deadline_s, (int, float)) or not 0 < deadline_s < math.inf:
        raise InvalidInput(f"deadline_s is a number of seconds above 0, not {deadline_s!r}")
    return replace(call, deadline_s=deadline_s)


def later(call: Call[T], spent_s: float) -> Call[T]:
    """Return a call with what is left of its deadline. Raises TimedOut where nothing is."""
    if call.deadline_s is None:
        return call
    if spent_s >= call.deadline_s:
        raise TimedOut(f"the deadline of {call.deadline_s:g} s passed before the input could be sent")
    return replace(call, deadline_s=call.deadline_s - spent_s)


def for_ticket(call: Call[Answer], ticket: Ticket | None) -> Call[Answer]:
    """Return an inference that settles the ticket of the lookup before it, past the device's own tier."""
    return replace(call, headers={**call.headers, "Likewise-Ticket": ticket}, local=None) if ticket else call


def _whole(name: str, value: Any) -> int:
    try:
        number = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise InvalidInput(f"{name} is a whole number, at least 0, not {value!r}")
    return number


def path_of(function: str, rest: str = "", **query: str | None) -> str:
    if not isinstance(function, str) or function in ("", ".", ".."):
        raise InvalidInput(f"a function is named, such as 'signs' or 'signs@1', not {function!r}")
    try:
        text = urlencode({name: value for name, value in query.items() if value is not None})
        named = quote(function, safe="@")
    except UnicodeError as error:
        raise InvalidInput(f"a name that is not Unicode text: {error}") from error
    return f"/v1/functions/{named}" + (f"/{rest}" if rest else "") + (f"?{text}" if text else "")
