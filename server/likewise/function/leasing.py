"""What a function gives its devices to answer with by themselves: leases, and how far an entry reaches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from likewise.decision.leases import Claim, Lease, Leases
from likewise.decision.ledger import Ledger
from likewise.decision.radius import lean, safe_radius
from likewise.function.changes import Changes
from likewise.function.prefetching import Prefetch
from likewise.lookup.namespace import Namespace
from likewise.ports import Projection
from likewise.types import Clock, Key, Neighbors, Result

SCALED_BY = 40
"""Entries nearest to one, at least, from which it is told how far a projection brings rivals apart."""

REMEMBERED = 65_536
"""Entries given to devices whose label is known after they went."""

PREFETCH_BYTES = 4096
"""Of keys and results that go with one answer: they travel in a header, which may not be long."""

TRIED = 2
"""Times as many entries as are wanted are looked at, where some may be reused nowhere or are too large."""

MEASURED = 4096
"""Entries whose reach is remembered,"""
FRESH_S = 1.0
"""for so many seconds: to measure it takes a search and a dozen judgements."""
SENT_FRESH_S = 10.0
"""The same where many entries go to a device: it keeps them for longer than that."""

Confident = Callable[[Neighbors, Ledger | None], bool]
"""Whether the policy would reuse the winner among such neighbors, at the tokens of a ledger."""


class KeyFile(NamedTuple):
    """A file by which devices make a function's keys, or search them, as the server does."""

    path: Path
    sha256: str
    """In hexadecimal."""
    size_bytes: int

    def named(self) -> dict[str, object]:
        """Return what a device is told of it, to ask for it by."""
        return {"sha256": self.sha256, "bytes": self.size_bytes}


class Reach(NamedTuple):
    """An entry, as a device may keep it."""

    key: Key
    radius: float
    """Distance from the key up to which the result may be reused; 0.0: nowhere."""
    near: tuple[int, ...] = ()
    """Ids of the entries nearest to it."""
    signature: str = ""
    """Type and shape of its input, where a function takes several."""
    searched: float = 0.0
    """The radius among keys as the server searches them: the same but where that is by a projection."""


class Grant(NamedTuple):
    """An entry with all that a device keeps of it."""

    id: int
    reach: Reach
    result: Result
    ttl_s: float
    age_s: float


class Leasing:
    """The leases of one function's devices, and the entries that they were given. Owned by its event loop."""

    def __init__(
        self,
        leases: Leases,
        namespace: Namespace,
        key_type: str,
        neighbors: int,
        confident: Confident,
        clock: Clock,
        *,
        exact: bool,
        key_file: KeyFile | None = None,
        projection_file: KeyFile | None = None,
        prefetch: int = 0,
    ) -> None:
        """Set up. key_type: the primary one; clock: monotonic seconds; exact: whether the model is deterministic.

        key_file: what makes its keys, where that is a file. projection_file: that of the projection by which they are
        searched, where it never changes. prefetch: entries that an answer brings beside its own.
        """
        self.key_file = key_file
        self.projection_file = projection_file
        self.leases = leases
        self.changes = Changes()
        self.exact = exact
        self._most = prefetch
        self._prefetch = Prefetch(namespace, clock)
        self._namespace = namespace
        self._key_type = key_type
        self._neighbors = neighbors
        self._confident = confident
        self._clock = clock
        self._reaches: OrderedDict[int, tuple[float, Reach]] = OrderedDict()  # and when they were measured
        self._given: OrderedDict[int, int] = OrderedDict()  # label by the ids of entries that devices may hold

    def open(self, id: str, account: str, device: str, settled: bool) -> tuple[Lease | None, bool]:
        """Return the live lease of a device, and whether it took tokens of the ledger just now.

        id: of the lease it holds or held last, or empty. settled: it says that no probe of that is under way or was
        lost. The lease is None where there are as many as there may be.
        """
        now = self._clock()
        self.leases.sweep(now)
        last = self.leases.find(id, account) if id else None
        if last is not None and last.live:
            return last, self.leases.renew(last, now)
        if last is not None and settled:
            self.leases.give_back(last)
        lease = self.leases.grant(account, device, now, last)
        return lease, lease is not None and lease.held > 0.0

    def claim(self, lease: Lease, entry_id: int) -> Claim | None:
        """Return the claim of a probe: the device would have answered from that entry."""
        slot = self._namespace.slot_of(entry_id)
        label = self._given.get(entry_id, -1) if slot < 0 else self._namespace.label_of(slot)
        return self.leases.claim(lease, label)

    def projection(self, sha256: str) -> Projection | None:
        """Return the projection that the server searches by, where a device has it by the file of this digest."""
        file = self.projection_file
        return None if file is None or file.sha256 != sha256 else self._namespace.projections[self._key_type]

    def reach(self, entry_id: int, ledger: Ledger | None = None, fresh_s: float = FRESH_S) -> Reach | None:
        """Return an entry as a device may keep it, which is remembered; None where it is gone.

        fresh_s: how long ago it may have been measured.
        """
        slot = self._namespace.slot_of(entry_id)
        if slot < 0:
            return None
        now, known = self._clock(), self._reaches.get(entry_id)
        if known is not None and now - known[0] < fresh_s:
            return known[1]
        entry = self._namespace.entry(slot)
        key = entry.keys[self._key_type]
        projection = self._namespace.projections.get(self._key_type)
        looked_at = self._neighbors if projection is None else max(self._neighbors, SCALED_BY)
        found = self._namespace.lookup(self._key_type, key, looked_at + 1, entry.signature)
        others = [each for each in zip(*found, strict=True) if each[2] != slot]
        around = (
            Neighbors(*map(list, zip(*others[: self._neighbors], strict=True))) if others else Neighbors([], [], [])
        )
        label = self._namespace.label_of(slot)
        towards = lean(len(key) if projection is None else projection.dimension)
        radius = searched = safe_radius(around, label, lambda neighbors: self._confident(neighbors, ledger), towards)
        if radius > 0.0 and projection is not None:
            radius *= self._stretch(key, others, label)
        self._given[entry_id] = label
        self._given.move_to_end(entry_id)
        if len(self._given) > REMEMBERED:
            self._given.popitem(last=False)
        reach = Reach(key, radius, tuple(map(self._namespace.entry_id, around.slots)), entry.signature, searched)
        self._reaches[entry_id] = now, reach
        self._reaches.move_to_end(entry_id)
        if len(self._reaches) > MEASURED:
            self._reaches.popitem(last=False)
        return reach

    def grant(self, entry_id: int, projected: bool = False) -> Grant | None:
        """Return an entry for a device to keep; None where it is gone, or may be reused nowhere.

        projected: whether the radius is to be that among keys as the server searches them.
        """
        reach = self.reach(entry_id, fresh_s=SENT_FRESH_S)
        slot = self._namespace.slot_of(entry_id)
        if reach is not None and projected:
            reach = reach._replace(radius=reach.searched)
        if reach is None or reach.radius <= 0.0:
            return None
        space = self._namespace
        return Grant(entry_id, reach, space.result(slot), space.ttl_s(slot), space.age_s(slot))

    def prefetch(self, lease: Lease, entry_id: int, wanted: int, projected: bool = False) -> list[Grant]:
        """Return entries that a device was not sent yet, to go with an answer.

        entry_id: that of the answer, or -1; half may be near to it. wanted: most that the device takes.
        projected: as in `grant`.
        """
        wanted, room = min(wanted, self._most), PREFETCH_BYTES
        found: list[Grant] = []
        if wanted < 1:
            return found
        near: tuple[int, ...] = ()
        signature = ""
        if entry_id >= 0 and (reach := self.reach(entry_id, lease.ledger)) is not None:
            near, signature = reach.near, reach.signature
            self._prefetch.note(lease.purse, entry_id)
        for ids, most in ((near, (wanted + 1) // 2), (self._prefetch.most_used(), wanted)):
            for id in self._prefetch.unsent(lease.purse, ids, TRIED * wanted):
                if len(found) == most:
                    break
                granted = self.grant(id, projected)
                if granted is not None and granted.reach.signature != signature:
                    continue  # of another type or shape, which a device cannot tell
                size = 0 if granted is None else granted.reach.key.nbytes + granted.result.size_bytes
                if granted is not None and size <= room:
                    found.append(granted)
                    room -= size
                elif 0 < size <= PREFETCH_BYTES:
                    continue  # with another answer
                self._prefetch.note(lease.purse, id)
        return found

    def _stretch(self, key: Key, others: Sequence[tuple[float, int, int]], label: int) -> float:
        """Return how many times longer distances between keys as they are than as they are searched, around an entry.

        others: (searched distance, label, slot) of what is near, nearest first. Neighbors are searched by a projection
        of their keys, which a device does not know. How much it shrinks what lies between an entry and its like is
        measured on those among the neighbors; where none are near, on whatever is: the median. It counts as no more
        than what lies between the entry and its nearest rivals of either kind, which a projection may bring apart.
        """
        space, name = self._namespace, self._key_type
        lengths = [
            (far, float(np.linalg.norm(space.entry(slot).keys[name] - key)), other)
            for far, other, slot in others
            if far > 1e-6
        ]
        if not lengths:
            return 0.0
        nearest = lengths[: self._neighbors]
        allies = [each for each in nearest if each[2] == label] or nearest
        rivals = [each for each in lengths if each[2] != label] or lengths[-1:]
        between = min(as_it_is for _, as_it_is, _ in rivals) / rivals[0][0]
        return min(median(as_it_is / far for far, as_it_is, _ in allies), between)

    def tend(self) -> None:
        """End the leases that nobody spoke for in time; call it now and then."""
        self.leases.sweep(self._clock())
