"""Results as labels: two results are equal exactly when they carry the same label id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.results.check import is_json
from likewise.results.clusters import Clusters
from likewise.results.generations import Generations
from likewise.types import Result

DEFAULT_LIMIT = 1_000_000
DEFAULT_MAX_BYTES = 64 << 20
NAME_LENGTH = 80
LONGEST_KEY = 64
"""Bytes of a label up to which it is remembered as it is; a longer one is remembered by its digest."""
MAX_NUMBERS = 1 << 16
MAX_PARTS = 1 << 13
"""Numbers, and lists, objects and other values, up to which a result is compared by its numbers: some milliseconds."""
MAX_CLOSE_BYTES = 1 << 20
"""Bytes of a result up to which it is parsed for its numbers."""
MAX_DEPTH = 64


class Labels:
    """Gives each result its label id, by what the function's spec says makes two results equal.

    `label`: the "label" of a JSON document, or a JSON document that is a plain string, number, boolean or null.
    `bytes`: the very same bytes of the same media type.
    `close`: JSON documents that differ in numbers alone, and in none by more than `tolerance` from the first of their
    group (leader clustering), so two members of a group are within twice the tolerance.

    A result that has no label, or no numbers, or too many to look at on the event loop, is compared by its bytes. Ids
    are never given twice. At most `limit` labels are remembered, in at most `max_bytes`; of more, those not seen for
    long are forgotten, and come back under a new id: that costs reuse, never a wrong answer.
    """

    def __init__(
        self,
        equality: str = "label",
        tolerance: float = 0.01,
        limit: int = DEFAULT_LIMIT,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        """Set up. Raises InvalidValue for an unknown equality, a negative tolerance or a limit below 2."""
        kinds: dict[str, Callable[[Result], int]] = {
            "label": self._by_label,
            "bytes": self._by_bytes,
            "close": self._by_closeness,
        }
        if equality not in kinds:
            raise InvalidValue(f"No equality `{equality}`; there are {', '.join(kinds)}.")
        if not tolerance >= 0 or limit < 2:
            raise InvalidValue(f"Tolerance {tolerance} and limit {limit} cannot be used; take >= 0 and >= 2.")
        self.equality = equality
        self._label = kinds[equality]
        self._next = 0
        # two generations: what is asked for moves to the young one, and the old one is dropped when the young is full
        self._ids: Generations[bytes, int] = Generations(limit // 2, max_bytes // 4)
        self._names: Generations[int, str] = Generations(limit // 2, max_bytes // 4)
        self._clusters = Clusters(tolerance, max(2, min(limit, 65_536)))

    def __len__(self) -> int:
        """Return the number of labels remembered."""
        return len(self._names)

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes to remember them; leaders of groups are bounded apart."""
        return self._ids.nbytes + self._names.nbytes

    def label(self, result: Result) -> int:
        """Return the label id of a result, from 0 up; results that are equal get the same. Never raises."""
        return self._label(result)

    def name(self, label: int) -> str:
        """Return a label's name for people to read: at most 80 characters; `#id` for one that is not remembered."""
        name = self._names.peek(label)
        return f"#{label}" if name is None else name

    def _by_label(self, result: Result) -> int:
        if not is_json(result.media_type):
            return self._by_bytes(result)
        try:
            document = orjson.loads(result.body)
        except orjson.JSONDecodeError:
            return self._by_bytes(result)
        if isinstance(document, dict):
            document = document.get("label", document)
        if isinstance(document, dict | list):
            return self._by_bytes(result)
        # the JSON text of the label, so that the number 3 and the string "3" stay two labels
        text = orjson.dumps(document)
        name = document if isinstance(document, str) else text.decode()
        return self._intern(text if len(text) <= LONGEST_KEY else _digest(text), name)

    def _by_bytes(self, result: Result) -> int:
        digest = _digest(result.body, b"\0" + result.media_type.encode(errors="surrogatepass"))
        return self._intern(digest, digest[1:].hex()[:16])

    def _by_closeness(self, result: Result) -> int:
        parsed = _numbers(result)
        if parsed is None:
            return self._by_bytes(result)
        structure, values = parsed
        id = self._clusters.find(structure, values)
        if id < 0:
            id = self._new(f"group {self._next}")
            self._clusters.lead(structure, values, id)
        return id

    def _intern(self, key: bytes, name: str) -> int:
        id = self._ids.get(key, len(key))
        if id is None:
            id = self._new(name)
            self._ids.put(key, id, len(key))
        elif self._names.get(id, 4 * NAME_LENGTH) is None:
            self._name(id, name)
        return id

    def _new(self, name: str) -> int:
        id = self._next
        self._next += 1
        self._name(id, name)
        return id

    def _name(self, id: int, name: str) -> None:
        short = name[:NAME_LENGTH]
        self._names.put(id, short, 4 * len(short))


def _digest(*parts: bytes) -> bytes:
    """Return a byte that no JSON text begins with and a digest of 16, so that digests and texts stay apart."""
    digest = hashlib.blake2b(digest_size=16, person=b"likewise")
    for part in parts:
        digest.update(part)
    return b"\0" + digest.digest()


class _TooMuch(Exception):
    """A document holds more than is looked at here."""


def _numbers(result: Result) -> tuple[bytes, NDArray[np.float64]] | None:
    """Return what a JSON document is without its numbers, and its numbers in order; None where there are none.

    None, too, for a document of too many numbers or parts, or too deep.
    """
    if not is_json(result.media_type) or len(result.body) > MAX_CLOSE_BYTES:
        return None
    try:
        document = orjson.loads(result.body)
        skeleton = _Skeleton()
        structure = orjson.dumps(skeleton.of(document, 0), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, _TooMuch):
        return None
    if not skeleton.numbers:
        return None
    values = np.concatenate(skeleton.numbers)
    if not np.isfinite(values).all():
        return None
    return hashlib.blake2b(structure, digest_size=16).digest(), values


class _Skeleton:
    """A document with numbers replaced by how many there were; a `shape` is kept, since it must be the same."""

    def __init__(self) -> None:
        self.numbers: list[NDArray[np.float64]] = []
        self._count = self._parts = 0

    def of(self, value: Any, depth: int) -> Any:
        """Return the skeleton of a value. Raises _TooMuch."""
        self._parts += 1
        if self._parts > MAX_PARTS or depth > MAX_DEPTH:
            raise _TooMuch
        if isinstance(value, dict):
            return {key: value[key] if key == "shape" else self.of(value[key], depth + 1) for key in sorted(value)}
        if isinstance(value, list):
            if value and set(map(type, value)) <= _NUMBER:
                self._take(value)
                return [0, len(value)]
            return [1, *(self.of(item, depth + 1) for item in value)]
        if type(value) in _NUMBER:
            self._take([value])
            return 0
        return value if isinstance(value, str) else [2, value]

    def _take(self, numbers: list[Any]) -> None:
        self._count += len(numbers)
        if self._count > MAX_NUMBERS:
            raise _TooMuch
        self.numbers.append(np.array(numbers, np.float64))


_NUMBER = {float, int}
