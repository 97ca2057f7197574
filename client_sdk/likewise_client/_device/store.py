"""The entries that a device keeps of one function, searched by NumPy alone."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise_client._device.pack import Packed

OVERHEAD = 400
"""Bytes that an entry takes beside its key and result, about."""
_FIRST = 64


@dataclass
class Kept:
    """A result that the device may answer with."""

    entry: str | None
    """16 hexadecimal digits; None where the server kept none."""
    body: bytes
    media_type: str
    created_at: float
    """By the device's own clock, as is the next."""
    expires_at: float


class Store:
    """Entries by key, and results by the very bytes of an input; bounded in number and bytes. Not locked.

    What was not used for longest goes first.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        """Set up an empty one."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        self._count = 0
        self._keys: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._half = np.empty(0, np.float32)  # half of each squared norm
        self._radii = np.empty(0, np.float64)
        self._used = np.empty(0, np.int64)
        self._tick = 0
        self._kept: list[Kept] = []
        self._rows: dict[str, int] = {}
        self._exact: OrderedDict[bytes, Kept] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        """Return the number of entries that have a key."""
        return self._count

    @property
    def repeats(self) -> int:
        """The number of inputs known by their bytes."""
        return len(self._exact)

    @property
    def room(self) -> int:
        """How many more entries there is room for."""
        return self._max_entries - self._count if self.bytes < self._max_bytes else 0

    @property
    def dimension(self) -> int:
        """Length of the keys; 0 while there are none."""
        return int(self._keys.shape[1])

    def nearest(self, key: NDArray[np.float32], now: float, *, beyond: bool = False) -> Kept | None:
        """Return the entry nearest to a key, shape (d,), where the key is within its radius; None: there is none.

        beyond: whatever its radius, as long as it has one.
        """
        count = self._count
        if not count or key.shape != self._keys.shape[1:]:
            return None
        scores = self._keys[:count].dot(key)
        scores -= self._half[:count]
        row = int(scores.argmax())
        apart = self._keys[row] - key
        if not beyond and not math.sqrt(apart.dot(apart)) <= self._radii[row]:
            return None
        kept = self._kept[row]
        if kept.expires_at <= now:
            self._drop(row)
            return self.nearest(key, now, beyond=beyond)
        self._tick += 1
        self._used[row] = self._tick
        return kept

    def exact(self, digest: bytes, now: float) -> Kept | None:
        """Return the result for the very bytes of an input, or None."""
        kept = self._exact.get(digest)
        if kept is None:
            return None
        if kept.expires_at <= now:
            self._forget(digest)
            return None
        self._exact.move_to_end(digest)
        return kept

    def put(self, key: NDArray[np.float32], radius: float, kept: Kept) -> None:
        """Keep an entry by its key, shape (d,), in place of its older one; a radius of 0 takes it out.

        What is known by bytes of it stays: that is the model's result whatever the radius.
        """
        assert kept.entry is not None
        row = self._rows.get(kept.entry)
        if row is not None:
            self._drop(row)
        size = key.nbytes + len(kept.body) + OVERHEAD
        if not radius > 0.0 or size > self._max_bytes or not key.size:
            return
        if key.shape != self._keys.shape[1:]:
            if self._count:
                return  # of another version of the function: not to be compared
            self._keys = np.empty((0, key.size), np.float32)
        while self._count >= self._max_entries or (self.bytes + size > self._max_bytes and self._count):
            self._drop(int(self._used[: self._count].argmin()))
        self._trim(size)
        if self._count == len(self._keys):
            self._grow()
        row = self._count
        self._keys[row] = key
        self._half[row] = 0.5 * float(key.dot(key))
        self._radii[row] = radius
        self._tick += 1
        self._used[row] = self._tick
        self._kept.append(kept)
        self._rows[kept.entry] = row
        self._count += 1
        self.bytes += size

    def remember(self, digest: bytes, kept: Kept) -> None:
        """Keep a result by the very bytes of its input."""
        self._forget(digest)
        size = len(digest) + len(kept.body) + OVERHEAD
        if size > self._max_bytes:
            return
        if len(self._exact) >= self._max_entries:
            self._forget(next(iter(self._exact)))
        self._trim(size)
        while self.bytes + size > self._max_bytes and self._count:
            self._drop(int(self._used[: self._count].argmin()))
        self._exact[digest] = kept
        self.bytes += size

    def remove(self, entry: str) -> None:
        """Take an entry out, and what is known by bytes of it."""
        row = self._rows.get(entry)
        if row is not None:
            self._drop(row)
        for digest in [digest for digest, kept in self._exact.items() if kept.entry == entry]:
            self._forget(digest)

    def entries(self, now: float) -> Iterator[Packed]:
        """Yield the entries that are valid, the one used last first."""
        for row in np.argsort(-self._used[: self._count]).tolist():
            kept = self._kept[row]
            if kept.expires_at > now and kept.entry is not None:
                yield Packed(
                    kept.entry,
                    self._keys[row].copy(),
                    float(self._radii[row]),
                    kept.body,
                    kept.media_type,
                    kept.expires_at - now,
                    now - kept.created_at,
                )

    def _trim(self, size: int) -> None:
        while self.bytes + size > self._max_bytes and self._exact:
            self._forget(next(iter(self._exact)))

    def _grow(self) -> None:
        room = min(self._max_entries, max(_FIRST, 2 * self._count))
        for name in ("_keys", "_half", "_radii", "_used"):
            old = getattr(self, name)
            new = np.zeros((room, *old.shape[1:]), old.dtype)  # BLAS reads beyond the last row: NaN would warn
            new[: self._count] = old[: self._count]
            setattr(self, name, new)

    def _drop(self, row: int) -> None:
        kept, last = self._kept[row], self._count - 1
        self.bytes -= self._keys[row].nbytes + len(kept.body) + OVERHEAD
        del self._rows[kept.entry or ""]
        if row != last:
            for array in (self._keys, self._half, self._radii, self._used):
                array[row] = array[last]
            self._kept[row] = self._kept[last]
            self._rows[self._kept[row].entry or ""] = row
        self._kept.pop()
        self._count = last

    def _forget(self, digest: bytes) -> None:
        kept = self._exact.pop(digest, None)
        if kept is not None:
            self.bytes -= len(digest) + len(kept.body) + OVERHEAD
