"""Inputs that came lately, by their bytes: what was read from them is known when the very same bytes come again."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import NamedTuple

from likewise.types import Key

_OVERHEAD_BYTES = 700
"""What one takes beside its key: its name, its digest, and Python's objects around them."""


class Read(NamedTuple):
    """What was read from an input, all but the decoded input itself."""

    key: Key
    signature: str
    digest: bytes


class Seen:
    """What was read from the latest inputs, within a bound; the one that came longest ago goes. Belongs to one thread.

    Equal bytes of one media type decode to equal inputs, whose keys are equal. Bytes count as equal where their SHA-256
    is: 2 us for 3 kB, where decoding and a key take tens.
    """

    def __init__(self, size_bytes: int, dimension: int) -> None:
        """Set up. size_bytes: memory for all of them, to a good estimate; dimension: of a key."""
        self._limit = size_bytes // (_OVERHEAD_BYTES + 4 * dimension)
        self._known: OrderedDict[tuple[str, bytes], Read] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    @staticmethod
    def name(media_type: str, body: bytes) -> tuple[str, bytes]:
        """Return what stands for the bytes of an input."""
        return media_type, sha256(body, usedforsecurity=False).digest()

    def get(self, name: tuple[str, bytes]) -> Read | None:
        """Return what was read from these bytes; None: they did not come lately."""
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
        return known

    def put(self, name: tuple[str, bytes], read: Read) -> None:
        """Remember what was read from bytes; of the key a copy, where it is part of something larger."""
        self._known[name] = read if read.key.base is None else read._replace(key=read.key.copy())
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
