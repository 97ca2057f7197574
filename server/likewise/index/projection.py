"""Keys as they came, beside an index over what a projection makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from likewise.index.keyed import KeyedIndex, SlotsOf
from likewise.index.outline import Outline, probes
from likewise.index.parts import Parts
from likewise.index.saved import SavedIndex
from likewise.index.slots import check_added
from likewise.index.store import KeyStore
from likewise.ports import Projection
from likewise.types import Key, Keys, Slots


class Projected:
    """An index over projections that gives keys back as they came. The projection never changes."""

    def __init__(self, dimension: int, projection: Projection, index: KeyedIndex) -> None:
        """Set up an empty index for keys of `dimension` numbers; `index` is empty and of the projection's dimension."""
        self.projection = projection
        self.index = index
        self._store = KeyStore(dimension)

    @property
    def dimension(self) -> int:
        """Length of a key as it comes."""
        return self._store.dimension

    @property
    def kind(self) -> str:
        """The kind that searches the projections."""
        return self.index.kind

    def __len__(self) -> int:
        return len(self.index)

    def add(self, slots: Slots, keys: Keys) -> None:
        """Add keys under slots that are not in the index. Raises InvalidValue for shapes that do not match."""
        keys = check_added(slots, keys, self.dimension)
        self.index.add(slots, self.projection.many(keys))
        self._store.put(slots, keys)

    def remove(self, slots: Slots) -> None:
        """Take slots out; unknown ones are a no-op."""
        self.index.remove(slots)
        for slot in slots.tolist():
            self._store.drop(slot)

    def search(self, keys: Keys, k: int) -> tuple[Keys, Slots]:
        """Return (l2_sq, slots) between projections, both of shape (n, k), nearest first; see Index."""
        return self.index.search(self.projection.many(keys), k)

    def search_one(self, key: Key, k: int) -> tuple[list[float], list[int]]:
        """Return (l2_sq, slots) between projections of the at most k nearest keys, nearest first."""
        return self.index.search_one(self.projection.one(key), k)

    def slots(self) -> Slots:
        """Return the live slots, in no order."""
        return self.index.slots()

    def keys(self, slots: Slots) -> Keys:
        """Return a copy of the keys of live slots as they came, shape (n, d)."""
        return self._store.get(slots)

    def peek(self, slot: int) -> Keys | None:
        """Return a copy of a slot's key as it came, shape (1, d), or None; see KeyedIndex."""
        return self._store.peek(slot)

    def snapshot(self, chunk: int) -> Parts:
        """Return the slots and their keys as they came, in parts; see KeyedIndex."""
        store = self._store
        return Parts(store.slots, lambda part, start: store.get(part), chunk)

    @property
    def worn(self) -> bool:
        """True: time to rebuild."""
        return self.index.worn

    @property
    def effort(self) -> float | None:
        """How much a search among the projections looks at; None where their index has no such thing."""
        return self.index.effort

    @property
    def background(self) -> bool:
        """True: the index over projections does in a thread what takes long."""
        return self.index.background

    @background.setter
    def background(self, background: bool) -> None:
        self.index.background = background

    @property
    def held(self) -> int | None:
        """The capacity of the bulk load that was announced; None: there is none."""
        return self.index.held

    def hold(self, capacity: int) -> None:
        """A bulk load begins."""
        self.index.hold(capacity)

    def release(self, cancelled: Callable[[], bool] | None = None) -> None:
        """The bulk load is over."""
        self.index.release(cancelled)

    @property
    def moving(self) -> bool:
        """True while a replacement of the index over projections is on its way."""
        return self.index.moving

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until no replacement is on its way, at most `timeout_s`."""
        self.index.settle(timeout_s)

    def close(self) -> None:
        """Give up what is on its way and begin nothing more."""
        self.index.close()

    def outline(self) -> Outline | None:
        """Return what is saved of the index over projections, and what tells which projection it was."""
        inner = self.index.outline()
        if inner is None:
            return None
        made = self.projection.many(probes(self.dimension))
        return replace(inner, facts={**inner.facts, "projected": made.shape[1]}, extra=(("probes", [made]),))

    def restore(self, saved: SavedIndex, slots: SlotsOf) -> bool:
        """Begin to replace the index over projections by a saved one, whatever it was that they are of."""
        return self.index.restore(saved, slots)

    def discard(self) -> None:
        """Give the memory back; nothing may be asked any more."""
        self.index.discard()

    def memory_bytes(self) -> int:
        """Return the bytes it holds, both sorts of keys included."""
        return self._store.nbytes + self.index.memory_bytes()
