"""What invalidations took out, remembered so that nothing comes back after it was taken out."""

from __future__ import annotations

from collections.abc import Iterable

from likewise.records import Invalidated


class Tombstones:
    """Invalidations, each up to a point in some order that grows: journal positions, or seconds.

    An entry is covered when an invalidation that names it stands at its place in that order or behind it.
    Ids are bounded: past `max_ids` the oldest are forgotten. So are tags, for each function: past `max_tags` the
    oldest is taken for an invalidation of everything up to the same point. So nothing that it covered comes back, and
    what else is as old and arrives that late stays out, too: it is computed anew where it is asked for.
    """

    def __init__(self, max_ids: int = 1_000_000, max_tags: int | None = None) -> None:
        self._max_ids = max_ids
        self._max_tags = max_tags
        self.merged = 0
        """Tags taken for everything."""
        self._everything: dict[str, float] = {}
        self._tags: dict[str, dict[str, float]] = {}
        self._ids: dict[tuple[str, int], float] = {}

    def __len__(self) -> int:
        return len(self._everything) + sum(map(len, self._tags.values())) + len(self._ids)

    @property
    def ids(self) -> int:
        """How many single entries are remembered."""
        return len(self._ids)

    def add(self, record: Invalidated, until: float, ids_until: float | None = None) -> None:
        """Remember an invalidation of what stands up to `until`; single ids up to `ids_until`, if that differs."""
        if record.everything:
            self._everything[record.function] = max(until, self._everything.get(record.function, until))
        elif record.tag is not None:
            tags = self._tags.setdefault(record.function, {})
            tags[record.tag] = max(until, tags.pop(record.tag, until))  # and it is the newest now
            if self._max_tags is not None and len(tags) > self._max_tags:
                oldest = tags.pop(next(iter(tags)))
                self._everything[record.function] = max(oldest, self._everything.get(record.function, oldest))
                self.merged += 1
        for one in record.ids:
            self._ids.pop((record.function, one), None)
            self._ids[record.function, one] = until if ids_until is None else ids_until
        while len(self._ids) > self._max_ids:
            del self._ids[next(iter(self._ids))]

    def covers(self, function: str, entry_id: int, order: float) -> bool:
        """Say whether an entry was taken out by its id or with everything."""
        if order <= self._everything.get(function, -1.0):
            return True
        return bool(self._ids) and order <= self._ids.get((function, entry_id), -1.0)

    def covers_tags(self, function: str, tags: Iterable[str], order: float) -> bool:
        """Say whether an entry was taken out by one of its tags."""
        known = self._tags.get(function)
        return known is not None and any(order <= known.get(tag, -1.0) for tag in tags)

    def knows(self, record: Invalidated) -> bool:
        """Say whether an invalidation adds nothing to what is remembered. For tombstones ordered by seconds."""
        name = record.function
        if record.everything:
            return record.at <= self._everything.get(name, -1.0)
        if record.tag is not None:
            return self.covers_tags(name, (record.tag,), record.at)
        return all((name, one) in self._ids for one in record.ids)

    def names_tags(self, function: str) -> bool:
        """Say whether an entry's tags matter at all."""
        return function in self._tags

    def records(self, function: str) -> list[Invalidated]:
        """Return what is remembered for a function as invalidations, for a journal that lost them.

        Only for tombstones ordered by seconds: the order becomes the time of the invalidation.
        """
        found = [Invalidated(function, until, tag=tag) for tag, until in self._tags.get(function, {}).items()]
        if function in self._everything:
            found.append(Invalidated(function, self._everything[function], everything=True))
        ids = tuple(one for name, one in self._ids if name == function)
        for at in range(0, len(ids), 1000):
            found.append(Invalidated(function, 0.0, ids=ids[at : at + 1000]))
        return found
