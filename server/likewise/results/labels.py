"""Results as labels: two results are equal exactly when they carry the same label id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.results.clusters import Clusters, Tolerance
from likewise.types import Result

DEFAULT_LIMIT = 1_000_000
NAME_LENGTH = 80


class Labels:
    """Gives each result its label id, by what the function's spec says makes two results equal.

    `label`: the "label" of a JSON document, or a JSON document that is a plain string, number, boolean or null.
    `bytes`: the very same bytes of the same media type.
    `close`: JSON documents that differ in numbers alone, and in none by more than its tolerance from the first of their
    group (leader clustering), so two members of a group are within twice the tolerance.

    A result that has no label, or no numbers, is compared by its bytes. Ids are never given twice. At most `limit`
    labels are remembered; of more, those not seen for long are forgotten, and come back under a new id: that costs
    reuse, never a wrong answer.
    """

    def __init__(
        self,
        equality: str = "label",
        tolerance: Tolerance = Tolerance(),  # noqa: B008 (it is immutable)
        limit: int = DEFAULT_LIMIT,
        *,
        tolerances: Mapping[str, Tolerance] | None = None,
    ) -> None:
        """Set up. tolerances: of the numbers below a field of that name, such as an output of the model.

        Raises InvalidValue for an unknown equality, a negative tolerance or a limit below 2.
        """
        kinds: dict[str, Callable[[Result], int]] = {
            "label": self._by_label,
            "bytes": self._by_bytes,
            "close": self._by_closeness,
        }
        if equality not in kinds:
            raise InvalidValue(f"No equality `{equality}`; there are {', '.join(kinds)}.")
        self._tolerances = {"": tolerance, **(tolerances or {})}
        if limit < 2 or not all(number >= 0 for each in self._tolerances.values() for number in each):
            raise InvalidValue(f"A tolerance or the limit {limit} cannot be used; take >= 0 and >= 2.")
        self.equality = equality
        self._label = kinds[equality]
        self._next = 0
        self._limit = limit
        # two generations: what is asked for moves to the young one, and the old one is dropped when the young is full
        self._young: dict[str | bytes, int] = {}
        self._old: dict[str | bytes, int] = {}
        self._names: dict[int, str] = {}
        self._old_names: dict[int, str] = {}
        self._clusters = Clusters(tolerance, max(2, min(limit, 65_536)))

    def __len__(self) -> int:
        """Return the number of labels remembered."""
        return len(self._names) + sum(1 for id in self._old_names if id not in self._names)

    def label(self, result: Result) -> int:
        """Return the label id of a result, from 0 up; results that are equal get the same. Never raises."""
        return self._label(result)

    def name(self, label: int) -> str:
        """Return a label's name for people to read: at most 80 characters; `#id` for one that is not remembered."""
        name = self._names.get(label)
        return name if name is not None else self._old_names.get(label, f"#{label}")

    def _by_label(self, result: Result) -> int:
        if not _is_json(result.media_type):
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
        text = orjson.dumps(document).decode()
        return self._intern(text, document if isinstance(document, str) else text)

    def _by_bytes(self, result: Result) -> int:
        digest = hashlib.blake2b(result.body, digest_size=16, person=b"likewise")
        digest.update(b"\0" + result.media_type.encode())
        return self._intern(digest.digest(), digest.hexdigest()[:16])

    def _by_closeness(self, result: Result) -> int:
        parsed = self._numbers(result)
        if parsed is None:
            return self._by_bytes(result)
        structure, values, tolerances = parsed
        id = self._clusters.find(structure, values, tolerances)
        if id < 0:
            id = self._new(f"group {self._next}")
            self._clusters.lead(structure, values, id)
        return id

    def _numbers(self, result: Result) -> tuple[bytes, NDArray[np.float64], NDArray[np.float64] | None] | None:
        """Return what a JSON document is without its numbers, its numbers in order, and their tolerances.

        Tolerances have shape (2, n), None where all are the same. None altogether where there are no numbers.
        """
        if not _is_json(result.media_type):
            return None
        try:
            document = orjson.loads(result.body)
        except orjson.JSONDecodeError:
            return None
        parts: list[tuple[str, NDArray[np.float64]]] = []
        skeleton = _skeleton(document, parts, 0, self._tolerances, "")
        if not parts:
            return None
        values = np.concatenate([part for _, part in parts])
        if not np.isfinite(values).all():
            return None
        tolerances = None
        if len(self._tolerances) > 1:
            each = np.array([self._tolerances[owner] for owner, _ in parts])
            tolerances = np.repeat(each.T, [len(part) for _, part in parts], axis=1)
        structure = orjson.dumps(skeleton, option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(structure, digest_size=16).digest(), values, tolerances

    def _intern(self, key: str | bytes, name: str) -> int:
        id = self._young.get(key)
        if id is not None:
            return id
        id = self._old.get(key)
        if id is None:
            id = self._new(name)
        else:
            self._names[id] = self._old_names.get(id, name)
        self._young[key] = id
        if len(self._young) * 2 > self._limit:
            self._old, self._young = self._young, {}
        return id

    def _new(self, name: str) -> int:
        id = self._next
        self._next += 1
        self._names[id] = name[:NAME_LENGTH]
        if len(self._names) * 2 > self._limit:
            self._old_names, self._names = self._names, {}
        return id


def _is_json(media_type: str) -> bool:
    kind = media_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _skeleton(
    value: Any, parts: list[tuple[str, NDArray[np.float64]]], depth: int, names: Container[str], owner: str
) -> Any:
    """Return a document with numbers replaced by how many there were; a `shape` is kept, since it must be the same.

    parts: takes the numbers, each list with the innermost field around it that is one of `names`, at first `owner`.
    """
    if isinstance(value, dict):
        return {
            key: value[key]
            if key == "shape" or depth > 64
            else _skeleton(value[key], parts, depth + 1, names, key if key in names else owner)
            for key in sorted(value)
        }
    if isinstance(value, list):
        if value and all(type(item) is float or type(item) is int for item in value):
            parts.append((owner, np.array(value, np.float64)))
            return [0, len(value)]
        return [1, *(item if depth > 64 else _skeleton(item, parts, depth + 1, names, owner) for item in value)]
    if type(value) is float or type(value) is int:
        parts.append((owner, np.array([value], np.float64)))
        return 0
    return value if isinstance(value, str) else [2, value]
