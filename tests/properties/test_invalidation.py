"""Invalidations among nodes that share: under any interleaving none is overtaken."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from likewise.function.adoption import Adopter
from likewise.function.registry import Registry
from likewise.journal import codec
from likewise.journal.memory import MemoryJournal
from likewise.lookup.namespace import Namespace
from likewise.pipeline import CLOCKS_DIFFER_S, Pipeline
from likewise.records import Inserted
from likewise.replication import Keeper
from likewise.results.labels import Labels
from likewise.types import Entry, Result

FUNCTION = "f@1"


class Log:
    """A shared log whose records reach each node when the test says so, in order, in parts of any size."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, bytes]] = []

    def append(self, node: str, record: object) -> None:
        self.frames.append((node, codec.encode(record)))  # type: ignore[arg-type]


class Node:
    """One node: its own entries, its own clock, and how far it has read the log."""

    def __init__(self, name: str, log: Log, clock, skew_s: float, max_tags: int | None) -> None:
        self.name, self.log, self.at = name, log, 0
        self.clock = lambda: clock() + skew_s
        space = Namespace(FUNCTION, {"v": 1}, 1000, 1 << 20, 1e6, self.clock, index_options={"background": False})
        self.fn = SimpleNamespace(
            name="f", id=FUNCTION, journal_id=FUNCTION, retired=False, namespace=space, policies={}, projectors={}
        )
        self.fn.adopter = Adopter(space, Labels("bytes"), lambda: None, self.clock, max_tags)
        registry = Registry()
        registry.put(self.fn)  # type: ignore[arg-type]
        journal = MemoryJournal(log, name)  # type: ignore[arg-type]
        self.pipeline = Pipeline(journal, self.clock, 1 << 20)
        self.journal = journal
        self.keeper = Keeper(registry, journal, {}, {})

    def insert(self, id: int, tags: tuple[str, ...]) -> None:
        now = self.clock()
        entry = Entry(id, {"v": np.array([id], np.float32)}, Result(b"%d" % id), 0.1, now, now + 1e5, tags)
        self.fn.namespace.insert(entry, id)
        self.journal.append(Inserted(FUNCTION, entry))

    def read(self, count: int) -> None:
        """Apply the next records, as the keeper does between two turns of the event loop."""
        part = self.log.frames[self.at : self.at + count]
        self.at += len(part)
        self.keeper.apply([codec.decode(frame) for node, frame in part if node != self.name])

    @property
    def ids(self) -> set[int]:
        return {each.id for each in self.fn.namespace.page(2000).entries}


class SharingMachine(RuleBasedStateMachine):
    """Two or three nodes whose clocks differ insert, invalidate, and read the log whenever they get to it."""

    max_tags: int | None = None

    @initialize(
        skews=st.lists(st.floats(-CLOCKS_DIFFER_S / 2 + 0.1, CLOCKS_DIFFER_S / 2 - 0.1), min_size=2, max_size=3)
    )
    def start(self, skews: list[float]) -> None:
        self.now = 1e6
        self.log = Log()
        self.nodes = [Node(f"n{i}", self.log, lambda: self.now, skew, self.max_tags) for i, skew in enumerate(skews)]
        self.tags_of: dict[int, tuple[str, ...]] = {}
        self.gone: list[set[int]] = [set() for _ in self.nodes]
        """What each node confirmed, or read, to be invalidated."""
        self.everywhere: set[int] = set()

    @rule(node=st.integers(0, 2), tags=st.lists(st.sampled_from("xy"), unique=True), later=st.floats(0, 3))
    def insert(self, node: int, tags: list[str], later: float) -> None:
        self.now += later
        id = len(self.tags_of) + 1
        self.tags_of[id] = tuple(tags)
        self.nodes[node % len(self.nodes)].insert(id, tuple(tags))

    @rule(node=st.integers(0, 2), what=st.sampled_from(["x", "y", "id", "all"]), which=st.integers(0, 100))
    def invalidate(self, node: int, what: str, which: int) -> None:
        node %= len(self.nodes)
        pipeline, fn = self.nodes[node].pipeline, self.nodes[node].fn
        if what == "id":
            if not self.tags_of:
                return
            victims = {which % len(self.tags_of) + 1}
            pipeline.invalidate(fn, ids=tuple(victims))  # type: ignore[arg-type]
        elif what == "all":
            victims = set(self.tags_of)
            pipeline.invalidate(fn, everything=True)  # type: ignore[arg-type]
        else:
            victims = {id for id, tags in self.tags_of.items() if what in tags}
            pipeline.invalidate(fn, tag=what)  # type: ignore[arg-type]
        self.gone[node] |= victims
        self.everywhere |= victims

    @rule(node=st.integers(0, 2), count=st.integers(1, 5))
    def read(self, node: int, count: int) -> None:
        self.nodes[node % len(self.nodes)].read(count)

    @rule()
    def read_all(self) -> None:
        """Once every node has read everything, what was invalidated anywhere is nowhere."""
        for i, node in enumerate(self.nodes):
            node.read(len(self.log.frames))
            self.gone[i] |= self.everywhere

    @invariant()
    def none_is_overtaken(self) -> None:
        for node, gone in zip(getattr(self, "nodes", ()), getattr(self, "gone", ()), strict=True):
            assert not node.ids & gone


class ForgetfulMachine(SharingMachine):
    """The same, where each node remembers the invalidation of a single tag."""

    max_tags = 1


SharingMachine.TestCase.settings = ForgetfulMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
test_no_node_serves_an_entry_after_it_confirmed_its_invalidation = SharingMachine.TestCase
test_nor_does_one_that_remembers_few_tags = ForgetfulMachine.TestCase
