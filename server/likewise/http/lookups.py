"""Bodies of `lookup`: one key at once, many keys in slices, counted before they are parsed."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from likewise.errors import BadRequest, InvalidValue, TooLarge
from likewise.function.function import Function
from likewise.http import wire
from likewise.http.answers import Rendered, answered, as_batch, as_document
from likewise.http.pace import SLICE_S, Pace
from likewise.pipeline import Pipeline
from likewise.requests import Answer, Control, Ticket
from likewise.results.json_scan import Elements
from likewise.types import Keys, Result, Session

INLINE_BYTES = 1 << 14
"""Longest JSON body that is parsed in one go."""
NUMBER_BYTES = 32
"""What a number of a key takes in JSON at most: 24 characters, a comma, and some white space."""
MOST_KEYS = 64
"""Keys in one search at most; fewer where they take longer than a slice."""

Later = Coroutine[Any, Any, Rendered]
"""An answer that is made in slices; has to be awaited."""

_MANY = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"keys"[ \t\r\n]*:[ \t\r\n]*\[')
_WRONG = 'The body has to be {"key": [numbers]} or {"keys": [[numbers], ...]}, and nothing else.'


class Asker(NamedTuple):
    """What is known of who asks, and how, beside the input."""

    control: Control
    session: Session | None
    """The device; None where it is not known."""


class Lookups:
    """Answers lookups by key."""

    def __init__(self, pipeline: Pipeline, max_keys: int, max_answer_bytes: int) -> None:
        """Set up. max_keys: in one request; max_answer_bytes: all results of one answer together."""
        self._pipeline = pipeline
        self._max_keys = max_keys
        self._max_answer_bytes = max_answer_bytes

    def json_limit(self, dimension: int) -> int:
        """Return the most bytes that a JSON body of keys can sensibly have."""
        return 64 + self._max_keys * (8 + NUMBER_BYTES * dimension)

    def binary(self, fn: Function, body: bytes, key_type: str, asker: Asker) -> Rendered | Later:
        """Answer keys in little-endian float32 bytes: one at once, several as a coroutine. Raises LikewiseError."""
        keys = fn.key_types[key_type].from_bytes(body, self._max_keys)
        if len(keys) == 1:
            return answered(self._one(fn, keys, key_type, asker), asker.control)
        return self._many(fn, keys, key_type, asker)

    def json(self, fn: Function, body: bytes, key_type: str, asker: Asker) -> Rendered | Later:
        """Answer keys in JSON; as `binary`."""
        kind = fn.key_types[key_type]
        if len(body) > INLINE_BYTES and (many := _MANY.match(body, 0, 1024)):
            return self._parse_many(fn, body, many.end(), key_type, asker)
        if len(body) > max(INLINE_BYTES, 64 + NUMBER_BYTES * kind.dimension):
            raise BadRequest(_WRONG)
        document = wire.parse_json(body)
        if not isinstance(document, dict) or len(document) != 1 or not document.keys() <= {"key", "keys"}:
            raise BadRequest(_WRONG)
        if "keys" in document:
            return self._many(fn, kind.from_lists(document["keys"], self._max_keys), key_type, asker)
        keys = kind.from_lists([document["key"]], 1)
        return as_document(self._one(fn, keys, key_type, asker), asker.control)

    def _one(self, fn: Function, keys: Keys, key_type: str, asker: Asker) -> Answer | Ticket:
        return self._pipeline.lookup(fn, keys[0], key_type, asker.control, asker.session)

    async def _many(self, fn: Function, keys: Keys, key_type: str, asker: Asker, pace: Pace | None = None) -> Rendered:
        pace = pace or Pace()
        rows: list[dict[str, object]] = []
        size_bytes, at, step = 0, 0, 8
        while at < len(keys):
            started = perf_counter()
            part = keys[at : at + step]
            for answer in self._pipeline.lookup_many(fn, part, key_type, asker.control, asker.session):
                size_bytes += _size(answer.result) if isinstance(answer, Answer) else 0
                if size_bytes > self._max_answer_bytes:
                    raise TooLarge(
                        f"The results for the first {len(rows) + 1} of {len(keys)} keys have over "
                        f"{self._max_answer_bytes} bytes, the limit of one answer; look up fewer keys at once."
                    )
                rows.append(wire.answer_fields(answer))
            at += len(part)
            step = min(MOST_KEYS, max(1, int(len(part) * SLICE_S / (perf_counter() - started + 1e-9))))
            await pace.rest()
        return as_batch(rows)

    async def _parse_many(self, fn: Function, body: bytes, start: int, key_type: str, asker: Asker) -> Rendered:
        kind, pace = fn.key_types[key_type], Pace()
        elements = await elements_of(body, start, self._max_keys, "keys", pace)
        longest = 64 + NUMBER_BYTES * kind.dimension
        parts: list[Keys] = []
        for begin, end in elements:
            if end - begin > longest:
                raise InvalidValue(f"A key has {end - begin} bytes; {kind} takes a list of {kind.dimension} numbers.")
            parts.append(kind.from_lists([wire.parse_json(body[begin:end])], 1))
            await pace.rest()
        if not parts:
            raise InvalidValue(f"`keys` has to be a list of keys, each a list of {kind.dimension} numbers, for {kind}.")
        return await self._many(fn, np.concatenate(parts), key_type, asker, pace)


async def elements_of(body: bytes, start: int, limit: int, what: str, pace: Pace) -> list[tuple[int, int]]:
    """Return where the elements of the array stand that begins at `start` and ends an object and the body.

    Raises TooLarge where there are more than the limit, before any is parsed; BadRequest for what is not such a text.
    """
    elements = Elements(body, start)
    while elements.step():
        if len(elements.found) > limit:
            raise TooLarge(f"There are over {limit} {what} in one request, the limit; send them in several.")
        await pace.rest()
    if elements.end < 0 or body[elements.end : elements.end + 1] != b"]" or body[elements.end + 1 :].strip() != b"}":
        raise BadRequest(f'The body is not JSON of the form {{"{what}": [...]}}, and nothing else; correct it.')
    return elements.found


def _size(result: Result) -> int:
    return result.size_bytes if result.media_type == wire.JSON else result.size_bytes * 4 // 3
