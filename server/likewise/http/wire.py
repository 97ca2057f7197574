"""What goes over the wire, both ways: Cache-Control, Cache-Status, keys, answers as JSON."""

from __future__ import annotations

import base64
import binascii
import math
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson

from likewise.errors import BadRequest, DeadlineExceeded, InvalidValue
from likewise.requests import NO_CONTROL, Answer, Control, Outcome, StreamTag, Ticket
from likewise.types import Result

JSON = "application/json"
KEYS = "application/octet-stream"

_NUMBERS = frozenset({int, float})

_ENTRY_ID = re.compile("^[0-7][0-9a-fA-F]{15}$")
ENTRY_ID = _ENTRY_ID.pattern
"""What a written entry id looks like."""

STREAM_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,128}")

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
SECONDS = _SECONDS.pattern
"""What a Request-Timeout looks like."""

LATE = "The time in Request-Timeout is over, or would be before the server comes to it; give more, or come back."
"""What is said of a request that is refused unread."""

DEVICE_BYTES = 128
"""Longest name that a device may give itself."""

_FORWARDED = {Outcome.MISS: b"likewise; fwd=miss", Outcome.PROBE: b"likewise; fwd=miss"}


@lru_cache(maxsize=256)
def media_type(content_type: bytes) -> str:
    """Return the media type of a Content-Type header, lower case, without parameters."""
    return content_type.decode("latin-1").partition(";")[0].strip().lower()


@lru_cache(maxsize=256)
def parse_control(cache_control: bytes) -> Control:
    """Return what a request's Cache-Control asks for; unknown directives are ignored. Source: RFC 9111, 5.2.1.

    Of a directive that comes twice the stricter one counts. Raises BadRequest where a number of seconds is none.
    """
    if not cache_control:
        return NO_CONTROL
    found: dict[str, Any] = {}
    quoted = cache_control.decode("latin-1").lower().split('"')
    quoted[1::2] = [each.replace(",", " ") for each in quoted[1::2]]  # a comma in quotes ends nothing
    for directive in '"'.join(quoted).split(","):
        name, _, argument = directive.strip().partition("=")
        if name in ("no-cache", "no-store", "only-if-cached"):
            found[name.replace("-", "_")] = True
        elif name in ("max-age", "min-fresh"):
            text = argument.strip().strip('"')
            if not (text.isascii() and text.isdecimal() and len(text) <= 12):
                raise BadRequest(f"Cache-Control: `{name}` needs a whole number of seconds, not `{argument[:32]}`.")
            field, stricter = ("max_age_s", min) if name == "max-age" else ("min_fresh_s", max)
            found[field] = stricter(float(text), found.get(field, float(text)))
    return Control(**found) if found else NO_CONTROL


@lru_cache(maxsize=1024)
def stream_tag(value: bytes) -> StreamTag | None:
    """Return what a Likewise-Stream header says: a name, then `frame=N` and `late=drop` in any order, after semicolons.

    Raises BadRequest for anything else.
    """
    if not value:
        return None
    name, *parameters = (part.strip() for part in value.decode("latin-1").split(";"))
    if not STREAM_NAME.fullmatch(name):
        raise BadRequest("Likewise-Stream: a stream's name is 1 to 128 letters, digits, or . _ - : / signs.")
    number, drop = -1, False
    for parameter in parameters:
        field, _, text = parameter.partition("=")
        if field == "frame" and text.isascii() and text.isdecimal() and len(text) <= 15:
            number = int(text)
        elif parameter == "late=drop":
            drop = True
        else:
            raise BadRequest(f"Likewise-Stream: `{parameter[:32]}` is neither `frame=N` nor `late=drop`; remove it.")
    return StreamTag(name, number, drop)


def with_stream(control: Control, value: bytes) -> Control:
    """Return a request's control with the stream that its Likewise-Stream header names. Raises BadRequest."""
    tag = stream_tag(value)
    return control if tag is None else replace(control, stream=tag)


def with_timeout(control: Control, value: bytes) -> Control:
    """Return a request's control with the seconds that its Request-Timeout header gives it. Raises BadRequest."""
    timeout_s = _timeout_s(value)
    return control if timeout_s is None else replace(control, timeout_s=timeout_s)


def after(control: Control, waited_s: float) -> Control:
    """Return what is left of a request's control once it has waited. Raises DeadlineExceeded where its time is over.

    Of a timeout of 0 nothing is left from the beginning: it asks for what takes no time, however late.
    """
    timeout_s = control.timeout_s
    if timeout_s == math.inf or not timeout_s:
        return control
    if timeout_s <= waited_s:
        raise DeadlineExceeded(LATE)
    return replace(control, timeout_s=timeout_s - waited_s)


@lru_cache(maxsize=256)
def _timeout_s(value: bytes) -> float | None:
    if not value:
        return None
    text = value.decode("latin-1").strip()
    if not _SECONDS.fullmatch(text):
        raise BadRequest(f"Request-Timeout: `{text[:32]}` is no number of seconds, such as 0.25.")
    return float(text)


def device(name: bytes) -> str:
    """Return what a device calls itself. Raises BadRequest for a name of over `DEVICE_BYTES` bytes."""
    if len(name) > DEVICE_BYTES:
        raise BadRequest(f"Likewise-Device has {len(name)} bytes, the limit is {DEVICE_BYTES}; give a shorter name.")
    return name.decode("latin-1")


def cache_status(answer: Answer, control: Control = NO_CONTROL) -> bytes:
    """Return the Cache-Status of an answer. Source: RFC 9211."""
    if answer.outcome is Outcome.HIT:
        return b"likewise; hit" + _ttl(answer.ttl_s)
    if answer.outcome is Outcome.EXACT:
        return b"likewise; hit" + _ttl(answer.ttl_s) + b"; detail=exact"
    if answer.outcome is Outcome.COALESCED:
        return b"likewise; hit" + _ttl(answer.ttl_s) + b"; detail=coalesced"
    if answer.outcome is Outcome.VARIANT:
        return b"likewise; fwd=miss" + (b"; stored" if answer.stored else b"") + b"; detail=variant"
    if control.no_store:
        return b"likewise; fwd=bypass"
    status = b"likewise; fwd=request" if control.no_cache else _FORWARDED[answer.outcome]
    if answer.stored:
        status += b"; stored"
    if answer.outcome is Outcome.PROBE and not control.no_cache:
        status += b"; detail=probe"
    return status


def _ttl(ttl_s: float) -> bytes:
    return b"; ttl=%d" % ttl_s if ttl_s < 1e12 else b""


def entry_id(number: int) -> str:
    """Return an entry's id as it is written: 16 hexadecimal digits."""
    return f"{number:016x}"


def parse_entry_id(text: str) -> int:
    """Return the number of a written entry id. Raises BadRequest."""
    if not _ENTRY_ID.fullmatch(text):
        raise BadRequest(
            f"`{text[:32]}` is no entry id: one has 16 hexadecimal digits, as in the Likewise-Entry header."
        )
    return int(text, 16)


def from_base64(text: object, field: str) -> bytes:
    """Return the bytes of a base64 string. Raises InvalidValue naming the field."""
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (binascii.Error, ValueError, TypeError):
        raise not_base64(field) from None


def not_base64(field: str) -> InvalidValue:
    """Return the error for a text that is not base64."""
    return InvalidValue(f"`{field}` is not base64; encode the bytes with the standard alphabet.")


def parse_json(body: bytes) -> Any:
    """Return a JSON document. Raises BadRequest."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None


def result_fields(result: Result) -> dict[str, Any]:
    """Return a result as fields of a JSON document: as it is where it is JSON, else in base64."""
    if result.media_type == JSON:
        return {"result": orjson.Fragment(result.body)}
    return {"result_base64": base64.b64encode(result.body).decode(), "media_type": result.media_type}


def answer_fields(answer: Answer | Ticket) -> dict[str, Any]:
    """Return the answer to one key of a lookup as JSON fields."""
    if isinstance(answer, Ticket):
        return {"outcome": answer.outcome.value, "ticket": answer.token or None}
    return {
        "outcome": answer.outcome.value,
        "entry": entry_id(answer.entry_id),
        "age": int(answer.age_s),
        "ttl": int(answer.ttl_s) if answer.ttl_s < 1e12 else None,
        **result_fields(answer.result),
    }


def dumps(document: object) -> bytes:
    """Return a document as JSON."""
    return orjson.dumps(document)
