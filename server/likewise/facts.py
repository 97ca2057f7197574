"""The facts of an entry beside its keys and its result: one table, from which everything that carries them follows.

Namespaces hold them as columns, blocks and snapshots carry them as columns, the journal's codec writes them one by one.
A new fact is a field of `Entry` with a default, and a line here: what was kept before it existed reads as the default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.records import EntryBlock
from likewise.types import Entry, Result

DIGEST_BYTES = 16
MAX_USE_COUNT = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: what it is called, how wide it is, and what it is where nothing was kept of it."""

    name: str
    """In blocks; also the attribute of `Entry`, unless `path` says another."""
    column: str
    """In snapshots."""
    dtype: str
    """As it travels; of an interned fact, that of the positions."""
    held: str
    """As a namespace holds it; empty: kept apart there, not as a column."""
    interned: str = ""
    """What snapshots call the list of distinct values; empty: the column holds the values themselves."""
    default: Any = None
    since: int = 1
    """The version of the codec that came with it; only later ones need a default."""
    path: str = ""
    of: Callable[[Entry], Any] = field(init=False)
    """Returns the fact of an entry."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", attrgetter(self.path or self.name))

    @property
    def later(self) -> bool:
        """Whether records and snapshots exist that were written before this fact."""
        return self.since > 1

    def default_column(self, n: int) -> NDArray[Any]:
        """Return a column of n defaults; of an interned fact, positions in a list that begins with the default."""
        return np.zeros(n, self.dtype) if self.interned else self.column_of([self.default] * n)

    def column_of(self, values: list[Any]) -> NDArray[Any]:
        """Return values as a column, shape (n,). Raises ValueError for what does not fit."""
        if self.dtype[0] == "V" and any(len(each) not in (0, int(self.dtype[1:])) for each in values):
            raise ValueError(f"`{self.name}` takes {self.dtype[1:]} bytes or none")
        return np.array(values, self.dtype)

    def values_of(self, column: NDArray[Any]) -> list[Any]:
        """Return a column's values as an entry has them."""
        found: list[Any] = column.tolist()
        return [each if any(each) else b"" for each in found] if self.dtype[0] == "V" else found


FACTS: tuple[Fact, ...] = (
    Fact("id", "ids", "<i8", "i8"),
    Fact("created_at", "created_at", "<f8", "f8"),
    Fact("expires_at", "expires_at", "<f8", "f8"),
    Fact("cost_s", "cost_s", "<f8", "f4"),
    Fact("use_count", "use_counts", "<i8", "u4"),
    Fact("media_type", "media_type_of", "<i8", "u2", interned="media_types", path="result.media_type"),
    Fact("tags", "tag_set_of", "<i8", "", interned="tag_sets"),
    Fact("digest", "digests", f"V{DIGEST_BYTES}", f"V{DIGEST_BYTES}", default=b"", since=3),
    Fact("signature", "signature_of", "<i8", "u2", interned="signatures", default="", since=3),
    Fact("origin", "origin_of", "<i8", "u2", interned="origins", default="", since=3),
)


def entry_of(facts: dict[str, Any], keys: dict[str, Any], body: bytes) -> Entry:
    """Return the entry with these facts, by name, and these keys and result; `facts` is used up."""
    return Entry(keys=keys, result=Result(body, facts.pop("media_type")), **facts)


def interned(block: EntryBlock, fact: str) -> list[Any]:
    """Return an interned fact of a block's entries, one value for each."""
    values = block.values[fact]
    return [values[position] for position in block.facts[fact].tolist()]
