"""Taking in what the journal or a peer brings: what is kept out, and what of it is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.clocks import SteadyClock
from likewise.errors import LikewiseError
from likewise.journal.blocks import block_of, entries_of, part_of, select
from likewise.journal.withdrawals import Withdrawals
from likewise.lookup.bulk import insert_block
from likewise.lookup.namespace import Namespace
from likewise.lookup.tags import tags_fit
from likewise.records import EntryBlock, Invalidated
from likewise.results.check import check_result
from likewise.results.labels import Labels
from likewise.types import Clock, Entry, Result

MAX_ADOPTED_USES = 16
"""Uses elsewhere that count here. What is in use soon has its own; what is said to be used must not stay for it."""
SLICE_BYTES = 1 << 18
"""Results that are taken in at once: what is parsed of them holds up the event loop for a millisecond or two."""


def slices(block: EntryBlock, count: Callable[[], int]) -> Iterator[EntryBlock]:
    """Yield a block in parts of at most `count()` entries, and of some 256 kB of results unless it is one entry."""
    at = 0
    while at < len(block):
        start = int(block.body_ends[at - 1]) if at else 0
        by_size = int(np.searchsorted(block.body_ends, start + SLICE_BYTES, "right"))
        end = max(at + 1, min(at + count(), by_size, len(block)))
        yield part_of(block, at, end)
        at = end


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
        monotonic: Clock | None = None,
    ) -> None:
        """Set up. kept: called after entries came in; max_tags: of how many an invalidation is remembered.

        monotonic: as for the namespace.
        """
        self._namespace = namespace
        self._labels = labels
        self._kept = kept
        self._clock = clock
        time = SteadyClock(clock, monotonic)
        self._withdrawn = Withdrawals(time, longest_s=namespace.default_ttl_s, max_tags=max_tags)
        self.withdrew: Callable[[tuple[int, ...]], None] = lambda ids: None
        """Told the ids that are taken out, or nothing where it is not known which."""
        self.refused = 0
        """Entries that were not taken in for what they hold: a result that is not what it says, too many tags."""

    def adopt(self, entry: Entry) -> bool:
        """Insert an entry; False where it does not fit, has expired, is there already or was invalidated."""
        return self.adopt_many([entry]) == 1

    def adopt_many(self, entries: Sequence[Entry]) -> int:
        """Insert entries as `adopt` does, at a fraction of the cost for each; return how many came in."""
        if not entries:
            return 0
        try:
            few = [self._modest(entry) for entry in entries]
            return self.adopt_block(block_of(self._namespace.function, few))
        except LikewiseError:  # they differ in their key types, or do not fit this function
            return sum(map(self.adopt, entries)) if len(entries) > 1 else 0

    def adopt_block(self, block: EntryBlock) -> int:
        """Insert the entries of a block as `adopt` does; return how many came in.

        Hand over what `slices` yields: it takes some microseconds for each, and parses each result. Raises
        InvalidValue for keys that do not fit the function.
        """
        if len(self._withdrawn):
            name = self._namespace.function
            keep = [not self._withdrawn.covers(name, entry) for entry in entries_of(block)]
            block = select(block, np.array(keep, np.bool_))
        block = self._plausible(block)
        ends = block.body_ends.tolist()
        raw = block.bodies.tobytes()
        bodies = [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        media_types = block.values["media_type"]
        tags_of = [tags_fit(tags) for tags in block.values["tags"]]
        known: dict[tuple[bytes, int], int] = {}  # equal results are parsed once
        labels: list[int] = []
        for each, tags in zip(
            zip(bodies, block.facts["media_type"].tolist(), strict=True), block.facts["tags"].tolist(), strict=True
        ):
            label = known.get(each)
            if label is None:
                label = known[each] = self._label(Result(each[0], media_types[each[1]]))
            labels.append(label if tags_of[tags] else -1)
        keep_labeled = np.array(labels, np.int64) >= 0
        if not keep_labeled.all():
            self.refused += int((~keep_labeled).sum())
            block = select(block, keep_labeled)
            bodies = [body for body, label in zip(bodies, labels, strict=True) if label >= 0]
            labels = [label for label in labels if label >= 0]
        adopted = insert_block(self._namespace, block, bodies, labels) if labels else 0
        if adopted:
            self._kept()
        return adopted

    def withdraw(self, record: Invalidated, margin_s: float = 0.0) -> list[int]:
        """Take entries out and keep them out; return the ids that were here.

        What a peer made before an invalidation may arrive after it: an id that was named never comes back, nor does
        an entry with the tag (or any, where everything was meant) that was created up to `margin_s` behind it.
        """
        self._withdrawn.add(record, margin_s)
        self.withdrew(record.ids)
        return self._namespace.invalidate(ids=record.ids, tag=record.tag, everything=record.everything)

    def _modest(self, entry: Entry) -> Entry:
        """Return an entry with no more uses than count here."""
        return replace(entry, use_count=MAX_ADOPTED_USES) if entry.use_count > MAX_ADOPTED_USES else entry

    def _label(self, result: Result) -> int:
        """Return the label of a result, or -1 for one that must not be handed on."""
        try:
            check_result(result)
        except LikewiseError:
            return -1
        return self._labels.label(result)

    def _plausible(self, block: EntryBlock) -> EntryBlock:
        """Return a block in which nothing was created later than now, or lives longer than it was given."""
        now, longest = self._clock(), self._namespace.default_ttl_s
        created, expires = block.facts["created_at"], block.facts["expires_at"]
        with np.errstate(invalid="ignore"):
            given = np.minimum(expires - created, longest)
            stays = (created <= now) & (expires - now <= given)
        if stays.all():
            return block
        facts: dict[str, NDArray[Any]] = dict(block.facts)
        facts["created_at"] = np.minimum(created, now)
        facts["expires_at"] = np.minimum(expires, now + given)
        return replace(block, facts=facts)
