"""Results as labels: two results are equal exactly when they carry the same label id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial

import orjson

from likewise.errors import InvalidValue
from likewise.results.check import is_json
from likewise.results.clusters import Clusters, Tolerance
from likewise.results.generations import Generations
from likewise.results.leaders import LIKENESSES, Leaders
from likewise.results.numbers import numbers
from likewise.types import Result

DEFAULT_LIMIT = 1_000_000
DEFAULT_MAX_BYTES = 64 << 20
NAME_LENGTH = 80
LONGEST_KEY = 64
"""Bytes of a label up to which it is remembered as it is; a longer one is remembered by its digest."""


class Labels:
    """Gives each result its label id, by what the function's spec says makes two results equal.

    `label`: the "label" of a JSON document, or a JSON document that is a plain string, number, boolean or null.
    `bytes`: the very same bytes of the same media type.
    `labels`, `text`: the list "labels", in any order, or the "text" of a JSON document.
    `boxes`, `cosine`: each box has its own of the same label, and embeddings point the same way, to a degree (`least`)
    from the first of their group.
    `close`: JSON documents that differ in numbers alone, and in none by more than its tolerance from the first of their
    group (leader clustering), so two members of a group are within twice the tolerance.

    A result that has no label, or no numbers, or too many to look at on the event loop, is compared by its bytes. Ids
    are never given twice. At most `limit` labels are remembered, in at most `max_bytes`; of more, those not seen for
    long are forgotten, and come back under a new id: that costs reuse, never a wrong answer.
    """

    def __init__(
        self,
        equality: str = "label",
        tolerance: Tolerance = Tolerance(),  # noqa: B008 (it is immutable)
        limit: int = DEFAULT_LIMIT,
        max_bytes: int = DEFAULT_MAX_BYTES,
        *,
        tolerances: Mapping[str, Tolerance] | None = None,
        least: float = 0.5,
    ) -> None:
        """Set up. tolerances: of the numbers below a field of that name, such as an output of the model.

        least: intersection over union of two boxes, or cosine of two embeddings, from which on they are the same.

        Raises InvalidValue for an unknown equality, a negative tolerance or a limit below 2.
        """
        kinds: dict[str, Callable[[Result], int]] = {
            "label": partial(self._by_field, "label"),
            "labels": partial(self._by_field, "labels"),
            "text": partial(self._by_field, "text"),
            "bytes": self._by_bytes,
            "close": self._by_closeness,
            **dict.fromkeys(LIKENESSES, self._by_likeness),
        }
        if equality not in kinds:
            raise InvalidValue(f"No equality `{equality}`; there are {', '.join(kinds)}.")
        self._tolerances = {"": tolerance, **(tolerances or {})}
        if limit < 2 or not all(number >= 0 for each in self._tolerances.values() for number in each):
            raise InvalidValue(f"A tolerance or the limit {limit} cannot be used; take >= 0 and >= 2.")
        self.equality = equality
        self._label = kinds[equality]
        self._next = 0
        # two generations: what is asked for moves to the young one, and the old one is dropped when the young is full
        self._ids: Generations[bytes, int] = Generations(limit // 2, max_bytes // 4)
        self._names: Generations[int, str] = Generations(limit // 2, max_bytes // 4)
        self._clusters = Clusters(tolerance, max(2, min(limit, 65_536)))
        self._leaders = Leaders(LIKENESSES[equality], least) if equality in LIKENESSES else None

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

    def alike(self, one: Result, other: Result) -> bool:
        """Say whether two results are equal by themselves, `one` as the first of a group, whatever groups there are.

        Two results on both sides of a group's border may be so and have two labels. Remembers nothing. Never raises.
        """
        if one == other:
            return True
        if self._leaders is not None:
            ours, theirs = self._leaders.read(one), self._leaders.read(other)
            return ours is not None and theirs is not None and self._leaders.same(ours, theirs)
        if self.equality == "close":
            first, second = numbers(one, self._tolerances), numbers(other, self._tolerances)
            if first is None or second is None:
                return False
            pair = Clusters(self._tolerances[""], 2)
            pair.lead(first[0], first[1], 0)
            return pair.find(*second) == 0
        return self._label(one) == self._label(other)

    def name(self, label: int) -> str:
        """Return a label's name for people to read: at most 80 characters; `#id` for one that is not remembered."""
        name = self._names.peek(label)
        return f"#{label}" if name is None else name

    def _by_field(self, field: str, result: Result) -> int:
        if not is_json(result.media_type):
            return self._by_bytes(result)
        try:
            document = orjson.loads(result.body)
        except orjson.JSONDecodeError:
            return self._by_bytes(result)
        if isinstance(document, dict):
            document = document.get(field, document)
        if field == "labels" and isinstance(document, list) and all(isinstance(each, str) for each in document):
            document = orjson.dumps(sorted(document)).decode()
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
        parsed = numbers(result, self._tolerances)
        if parsed is None:
            return self._by_bytes(result)
        structure, values, tolerances = parsed
        id = self._clusters.find(structure, values, tolerances)
        if id < 0:
            id = self._new(f"group {self._next}")
            self._clusters.lead(structure, values, id)
        return id

    def _by_likeness(self, result: Result) -> int:
        assert self._leaders is not None
        read = self._leaders.read(result)
        if read is None:
            return self._by_bytes(result)
        id = self._leaders.find(read)
        if id < 0:
            id = self._new(f"group {self._next}")
            self._leaders.lead(read, id)
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
