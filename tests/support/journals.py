"""Entries to journal, and a plain model of what a journal has to give back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import numpy as np

from likewise.records import Inserted, Invalidated, Learned, Observed, Record, Registered, Unregistered
from likewise.types import Entry, Result

FUNCTION = "signs@1"


def make_entry(entry_id: int, *, tags: tuple[str, ...] = (), created_at: float = 1000.0, **fields: object) -> Entry:
    """Return an entry with keys of two types that depend on its id alone."""
    rng = np.random.default_rng(entry_id % 2**32)
    given: dict = {
        "keys": {"cnn": rng.normal(size=8).astype(np.float32), "gray": rng.normal(size=4).astype(np.float32)},
        "result": Result(b'{"label":"%d"}' % entry_id),
        "cost_s": 0.25,
        "expires_at": float("inf"),
        **fields,
    }
    return Entry(id=entry_id, created_at=created_at, tags=tags, **given)


def same(left: Entry, right: Entry) -> bool:
    """Say whether two entries agree in everything, bit by bit."""
    plain = [
        (e.id, e.result, e.cost_s, e.created_at, e.expires_at, e.tags, e.use_count, list(e.keys)) for e in (left, right)
    ]
    return plain[0] == plain[1] and all(np.array_equal(left.keys[name], right.keys[name]) for name in left.keys)


class Model:
    """What a node holds after applying records one by one: live entries in order, and the newest states."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], Entry] = {}
        self.learned: dict[tuple[str, str], dict] = {}
        self.observed: list[Observed] = []
        self.words: list[Registered | Unregistered] = []
        self._emptied: dict[str, float] = {}

    def apply(self, records: Iterable[Record]) -> None:
        """Apply records as the server does: an id that is known already is ignored.

        So is an entry that was made before everything of its function was taken out.
        """
        for record in records:
            if isinstance(record, Inserted):
                if record.entry.created_at <= self._emptied.get(record.function, -1.0):
                    continue
                self.entries.setdefault((record.function, record.entry.id), record.entry)
            elif isinstance(record, Learned):
                self.learned[record.function, record.key_type] = dict(record.state)
            elif isinstance(record, Observed):
                self.observed.append(record)
            elif isinstance(record, Registered | Unregistered):
                self.words.append(record)
            elif isinstance(record, Invalidated):
                if record.everything:
                    self._emptied[record.function] = max(record.at, self._emptied.get(record.function, -1.0))
                for function, entry_id in list(self.entries):
                    entry = self.entries[function, entry_id]
                    hit = record.everything or entry_id in record.ids or record.tag in entry.tags
                    if function == record.function and hit:
                        del self.entries[function, entry_id]

    @property
    def ids(self) -> list[int]:
        """Ids of the live entries, in order."""
        return [entry_id for _, entry_id in self.entries]


async def rebuild(replay: AsyncIterator[Sequence[Record]]) -> Model:
    """Apply everything that a replay yields to an empty model."""
    model = Model()
    async for batch in replay:
        model.apply(batch)
    return model


async def until(condition: Callable[[], bool], timeout_s: float = 300.0) -> None:
    """Wait until a condition holds, looking often."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


async def collect(journal: object, model: Model) -> None:
    """Follow a journal into a model, for ever."""
    async for batch in journal.follow():  # type: ignore[attr-defined]
        model.apply(batch)
