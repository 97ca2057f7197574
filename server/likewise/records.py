"""What the journal keeps and nodes tell each other: frozen records, and many entries as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.types import Entry, Keys, Sample


@dataclass(frozen=True, slots=True)
class Inserted:
    """Journal record: an entry came into a function's namespace."""

    function: str
    """`name@version`."""
    entry: Entry


@dataclass(frozen=True, slots=True)
class EntryBlock:
    """Many entries of one function as columns, in insertion order: how a million of them travel at once.

    n is the number of entries; row i of every column belongs to one entry.
    """

    function: str
    """`name@version`."""
    facts: Mapping[str, NDArray[Any]]
    """By the name of each fact in `facts.FACTS`, of shape (n,); for an interned one, positions in its `values`."""
    values: Mapping[str, Sequence[Any]]
    """The values of each interned fact, each of them once."""
    keys: Mapping[str, Keys]
    """By key type, each of shape (n, d)."""
    bodies: NDArray[np.uint8]
    """All results' bytes, one behind the other."""
    body_ends: NDArray[np.int64]
    """Shape (n,): where result i ends in `bodies`; it begins where the one before it ends."""

    def __len__(self) -> int:
        return int(self.body_ends.shape[0])

    @property
    def ids(self) -> NDArray[np.int64]:
        """Shape (n,)."""
        return self.facts["id"]


@dataclass(frozen=True, slots=True)
class Invalidated:
    """Journal record: an operator (or a contradiction) took entries out. Exactly one selector is set."""

    function: str
    at: float
    """Seconds since the Unix epoch."""
    ids: tuple[int, ...] = ()
    tag: str | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Learned:
    """Journal record: what a policy of one node learned; the newest of a (function, key type, node) counts."""

    function: str
    key_type: str
    state: Mapping[str, Any]
    """JSON-able: numbers, strings, lists, dicts."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Journal record: what one node's policy saw checked lately, for the policies of the others to learn from.

    Their ledgers take no part in it: each node keeps its own promise by itself.
    """

    function: str
    """`name@version`."""
    key_type: str
    evidence_schema: str
    """How the evidence is to be read; a policy leaves alone what it does not know."""
    node: str
    """The process that saw it, by a name that no other ever has."""
    number: int
    """Counts the records of that process and key type, so that one that comes twice is taken in once."""
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Registered:
    """Journal record: a function was registered at run time; the newest of a name counts, removals included."""

    function: str
    """`name@version`."""
    at: float
    """Seconds since the Unix epoch."""
    spec: str
    """What its function.toml holds."""
    files: Mapping[str, bytes]
    """By the name that the spec calls them."""
    generation: str = ""
    """Tells it from one of the same name and files that was removed before; empty where none was."""


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Journal record: a function is to be served no more; see `Registered`."""

    function: str
    """`name@version`; other versions of the name go with it."""
    at: float
    """Seconds since the Unix epoch."""


Record = Inserted | Invalidated | Learned | Observed | Registered | Unregistered
