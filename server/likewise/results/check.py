"""What a result from outside has to be, whichever way it comes: over HTTP, from the journal, from another node."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from likewise.errors import InvalidValue
from likewise.results.json_scan import deepest, members
from likewise.types import Result

MEDIA_TYPE_LENGTH = 128
MAX_DEPTH = 128
"""Lists and objects within each other in a JSON result; the answer to a batch adds three, and readers have limits."""

_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+( *;[\x20-\x7e]*)?")
MEDIA_TYPE = _MEDIA_TYPE.pattern
"""A media type that can stand in a header. Source: RFC 9110, section 8.3.1."""

_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def check_result(result: Result) -> None:
    """Raise InvalidValue, with the remedy, for a result that could not be handed on safely.

    Its media type has to fit into a header; a result that says it is JSON has to be JSON, since it becomes part of
    the answer to a batch: without repeated names, deep nesting or numbers that change when they are read.
    """
    if len(result.media_type) > MEDIA_TYPE_LENGTH or not _MEDIA_TYPE.fullmatch(result.media_type):
        raise InvalidValue(
            f"`media_type` is {result.media_type[:64]!r}; give type/subtype in at most {MEDIA_TYPE_LENGTH} ASCII "
            "characters, such as application/octet-stream."
        )
    if not is_json(result.media_type):
        return
    try:
        document = orjson.loads(result.body)
    except orjson.JSONDecodeError as error:
        raise InvalidValue(
            f"The result is not JSON, though its media type says {result.media_type}: {error}. Correct it, or give "
            "another media_type."
        ) from None
    check_json(result.body)
    if isinstance(document, dict | list) and _repeats(result.body, document):
        raise InvalidValue("The result names a member of an object twice; name each once.")


def check_json(text: bytes) -> None:
    """Raise InvalidValue for a JSON text that is nested too deeply, or has integers that do not fit 64 bits."""
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and deepest(text) > MAX_DEPTH:
        raise InvalidValue(f"Lists and objects are nested more than {MAX_DEPTH} deep; flatten them.")
    if _LONG_NUMBER.search(text):
        try:
            json.loads(text, parse_int=_integer)
        except (ValueError, RecursionError):
            raise InvalidValue("An integer does not fit 64 bits; write it as a string or with an exponent.") from None


def is_json(media_type: str) -> bool:
    """Say whether a media type says that something is JSON."""
    kind = media_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _integer(text: str) -> int:
    number = int(text) if len(text) <= 20 else 1 << 64
    if not -(1 << 63) <= number < 1 << 64:
        raise ValueError
    return number


def _repeats(text: bytes, document: Any) -> bool:
    """Say whether a JSON text names a member twice: reading it kept only one of them."""
    written = orjson.dumps(document)
    if b"\\" in text or b"\\" in written:
        return members(text) != members(written)
    return text.count(b":") != written.count(b":")
