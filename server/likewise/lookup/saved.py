"""What leads to keys, kept in a file beside the snapshot: lookups are as fast right after a restart as before it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.index.outline import Outline
from likewise.index.saved import SavedIndex, SavedWriter, open_saved
from likewise.lookup.namespace import Namespace
from likewise.types import Slots

# A part of Namespace in a file of its own: nothing else may touch what is private there.

log = logging.getLogger("likewise.lookup.saved")

ROWS = 8192
"""Ids that are gathered on the loop at once; takes some 100 µs."""
WAIT_S = 0.02
"""Between two looks whether a saved index is in use."""

Ids = NDArray[np.int64]


async def save(spaces: Sequence[Namespace], path: Path, digest: str) -> None:
    """Keep what leads to the keys of all namespaces in a file that belongs to the snapshot of a digest.

    Ids are gathered on the loop, a few at a time; the rest is read and written in a thread while requests go on.
    What is replaced meanwhile is left out. A disk that does not take it is logged: the next start builds anew.
    """
    outlines: list[tuple[dict[str, Any], Outline, Ids]] = []
    for space in spaces:
        for name, index in space._indexes.items():
            outline = index.outline()
            ids = None if outline is None else await _gather(space, outline)
            if outline is not None and ids is not None:
                outlines.append(({"function": space.function, "key_type": name}, outline, ids))
    try:
        await asyncio.to_thread(_write, path, digest, outlines)
    except OSError as error:
        log.error("no indexes could be kept beside the snapshot, the next start builds them anew: %s", error.strerror)


async def _gather(space: Namespace, outline: Outline) -> Ids | None:
    """Return the entry id at each position, -1 where there is none any more; None: the index is not in use now."""
    columns, ids = space._columns, np.empty(outline.count, np.int64)
    for start in range(0, outline.count, ROWS):
        end = min(start + ROWS, outline.count)
        slots = outline.slots(start, end)
        if slots is None or space._columns is not columns:
            return None
        ids[start:end] = np.where(slots >= 0, columns.ids[slots], -1)
        await asyncio.sleep(0)
    return ids


def _write(path: Path, digest: str, outlines: Sequence[tuple[dict[str, Any], Outline, Ids]]) -> None:
    with SavedWriter(path, digest) as writer:
        for names, outline, ids in outlines:
            columns = [("ids", [ids]), *outline.extra, *outline.columns()]
            writer.add({**outline.facts, **names}, columns)
        writer.seal()


async def restore(spaces: Sequence[Namespace], path: Path, digest: str) -> int:
    """Search by the saved indexes wherever they fit what was loaded; return how many are in use afterwards.

    Call it after the entries were loaded and before the indexes are released from being held. Returns when all that
    can be used is in use; requests are answered meanwhile. What cannot be used is built anew as ever.
    """
    try:
        saved = await asyncio.to_thread(open_saved, path, digest)
    except InvalidValue as error:
        log.warning("the indexes kept in %s cannot be used and are built anew: %s", path, error.detail)
        return 0
    by_name = {space.function: space for space in spaces}
    begun = []
    for each in saved:
        space = by_name.get(str(each.facts.get("function")))
        index = space._indexes.get(str(each.facts.get("key_type"))) if space else None
        try:
            if space is not None and index is not None and index.restore(each, _slots_of(space, each)):
                begun.append((space, str(each.facts["key_type"]), index))
        except InvalidValue as error:
            log.warning("an index kept in %s cannot be used and is built anew: %s", path, error.detail)
    for space, name, index in begun:
        while index.moving and space._indexes.get(name) is index:
            index.settle(0)
            await asyncio.sleep(WAIT_S)
    return sum(index.kind != "exact" for _, _, index in begun)


def _slots_of(space: Namespace, saved: SavedIndex) -> Callable[[], Slots]:
    """Return what tells the slots of the saved positions; to be called in another thread, while entries change.

    Whoever builds an index follows the changes, so those of meanwhile may be there or not.
    """
    columns = space._columns

    def slots() -> Slots:
        live = columns.live()
        ids = columns.ids[live]
        order = np.argsort(ids)
        known, places = ids[order], live[order]
        return np.concatenate([*_looked_up(saved, known, places), np.empty(0, np.int64)])

    return slots


def _looked_up(saved: SavedIndex, known: Ids, places: Slots) -> Iterator[Slots]:
    taken, count = np.zeros(len(known), np.bool_), 0
    for chunk in saved.chunks("ids", "<i8"):
        for start in range(0, len(chunk), ROWS):  # some calls of numpy's keep the interpreter to themselves
            part = chunk[start : start + ROWS]
            if not len(known):
                yield np.full(len(part), -1, np.int64)
                continue
            at = np.minimum(np.searchsorted(known, part), len(known) - 1)
            found = known[at] == part
            taken[at[found]] = True
            count += int(np.count_nonzero(found))
            yield np.where(found, places[at], -1)
    if np.count_nonzero(taken) < count:
        raise InvalidValue("an entry stands in two places")
