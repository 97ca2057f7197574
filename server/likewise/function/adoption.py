"""Taking in what the journal or a peer brings, and keeping out what was invalidated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import compress

import numpy as np

from likewise.errors import LikewiseError
from likewise.journal.blocks import block_of, entries_of, select
from likewise.journal.tombstones import Tombstones
from likewise.lookup.bulk import insert_block
from likewise.lookup.namespace import Namespace
from likewise.results.check import check_result
from likewise.results.labels import Labels
from likewise.types import Clock, Entry, EntryBlock, Invalidated, Result

_UNSOUND = -1
"""Stands for the label of a result that must not be handed on."""


class Adopter:
    """The gate of one function through which entries come in that were computed elsewhere, or earlier.

    Owned by the function's event loop.
    """

    def __init__(
        self,
        namespace: Namespace,
        labels: Labels,
        kept: Callable[[], None],
        clock: Clock,
        max_tags: int | None = None,
    ) -> None:
        """Set up. kept: called after entries came in; max_tags: of how many an invalidation is remembered."""
        self._namespace = namespace
        self._labels = labels
        self._kept = kept
        self._clock = clock
        self._withdrawn = Tombstones(max_tags=max_tags)

    def adopt(self, entry: Entry) -> bool:
        """Insert an entry; False where it does not fit, has expired, is there already or was invalidated."""
        space = self._namespace
        for name, dimension in space.key_types.items():
            key = entry.keys.get(name)
            if key is None or key.shape != (dimension,):
                return False
        if entry.expires_at <= self._clock() or space.slot_of(entry.id) >= 0 or self._keeps_out(entry):
            return False
        try:
            check_result(entry.result)
            space.insert(entry, self._labels.label(entry.result))
        except LikewiseError:  # no sound result, larger than all of the capacity, or one media type too many
            return False
        self._kept()
        return True

    def adopt_many(self, entries: Sequence[Entry]) -> int:
        """Insert entries as `adopt` does, at a fraction of the cost for each; return how many came in."""
        try:
            return self.adopt_block(block_of(self._namespace.function, entries)) if entries else 0
        except LikewiseError:  # they differ in their key types, or do not fit this function
            return sum(map(self.adopt, entries))

    def adopt_block(self, block: EntryBlock) -> int:
        """Insert the entries of a block as `adopt` does; return how many came in.

        Hand over a few hundred at a time: it takes some microseconds for each. Raises InvalidValue for keys that do
        not fit the function.
        """
        if len(self._withdrawn):
            keep = [not self._keeps_out(entry) for entry in entries_of(block)]
            block = select(block, np.array(keep, np.bool_))
        ends = block.body_ends.tolist()
        raw = block.bodies.tobytes()
        bodies = [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        known: dict[tuple[bytes, int], int] = {}  # equal results are parsed once
        labels: list[int] = []
        for each in zip(bodies, block.media_type_of.tolist(), strict=True):
            label = known.get(each)
            if label is None:
                body, at = each
                label = known[each] = self._label(Result(body, block.media_types[at]))
            labels.append(label)
        if _UNSOUND in known.values():
            sound = np.array(labels, np.int64) != _UNSOUND
            block, keep = select(block, sound), sound.tolist()
            bodies, labels = list(compress(bodies, keep)), list(compress(labels, keep))
        adopted = insert_block(self._namespace, block, bodies, labels)
        if adopted:
            self._kept()
        return adopted

    def _label(self, result: Result) -> int:
        try:
            check_result(result)
        except LikewiseError:
            return _UNSOUND
        return self._labels.label(result)

    def withdraw(self, record: Invalidated, margin_s: float = 0.0) -> list[int]:
        """Take entries out and keep them out; return the ids that were here.

        What a peer made before an invalidation may arrive after it: an id that was named never comes back, nor does
        an entry with the tag (or any, where everything was meant) that was created up to `margin_s` behind it.
        """
        self._withdrawn.add(record, record.at + margin_s, ids_until=math.inf)
        return self._namespace.invalidate(ids=record.ids, tag=record.tag, everything=record.everything)

    def _keeps_out(self, entry: Entry) -> bool:
        withdrawn, name = self._withdrawn, self._namespace.function
        return bool(len(withdrawn)) and (
            withdrawn.covers(name, entry.id, entry.created_at)
            or withdrawn.covers_tags(name, entry.tags, entry.created_at)
        )
