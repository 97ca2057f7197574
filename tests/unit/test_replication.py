"""What outlives a request: replay, following peers, what policies learned."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from likewise.decision import make_policy
from likewise.function.adoption import Adopter
from likewise.function.registry import Registry
from likewise.learning.evidence import Exchange
from likewise.learning.projections import Projector
from likewise.lookup.namespace import Namespace
from likewise.records import Inserted, Invalidated, Learned, Observed, Registered, Unregistered
from likewise.replication import Keeper
from likewise.results.labels import Labels
from likewise.types import Entry, Neighbors, Result, Sample


class Stub:
    """Just what the keeper uses of a function."""

    def __init__(self, name):
        self.name, self.id, self.version = name, f"{name}@1", 1
        self.journal_id, self.fingerprint, self.retired = self.id, "", False
        self.namespace = Namespace(self.id, {"v": 2}, 100, 1 << 20, 3600.0, lambda: 100.0)
        self.labels = Labels("label")
        self.policies = {"v": make_policy("calibrated+ledger", 0.95, random.Random(1).random)}
        self.evidence = Exchange(self.id, self.policies)
        self.dimensions = {"v": 2}
        self.streams = self.variants = None
        self.projectors = {"v": Projector(self.namespace, "v", None)}
        self.adopter = Adopter(self.namespace, self.labels, self.projectors["v"].tend, lambda: 100.0)


def entry(number, **more):
    fields = {"keys": {"v": np.array([number, 0], np.float32)}, "created_at": 50.0, "expires_at": 1e9, **more}
    return Entry(number, cost_s=0.1, **{"result": Result(b'{"label": 1}'), **fields})


@pytest.fixture
def keeper():
    registry = Registry()
    fn = Stub("f")
    registry.put(fn)

    class Journal:
        def __init__(self):
            self.records = []
            self.shared = True
            self.damage = self.failure = ""

        def append(self, record):
            self.records.append(record)

        def statistics(self):
            return {"up": 1.0}

        def sealed(self):
            return None

    journal = Journal()
    keeper = Keeper(registry, journal, {}, {})
    keeper.fn, keeper.journal = fn, journal
    return keeper


def test_records_are_applied_in_order(keeper):
    """An invalidation after an insert takes it out; one before does not."""
    assert keeper.apply([Inserted("f@1", entry(1)), Invalidated("f@1", 60.0, ids=(1,)), Inserted("f@1", entry(2))]) == 2
    assert [each.id for each in keeper.fn.namespace.page(10).entries] == [2]


def test_what_does_not_fit_is_left_out(keeper):
    """Other functions, other dimensions, what is past its time, what is there already."""
    wrong = entry(4, keys={"v": np.zeros(3, np.float32)})
    records = [
        Inserted("g@1", entry(3)), Inserted("f@1", wrong), Inserted("f@1", entry(5, expires_at=99.0)),
        Inserted("f@1", entry(6)), Inserted("f@1", entry(6)), Learned("f@1", "w", {}), Learned("f@1", "v", {"x": 1}),
    ]  # fmt: skip
    assert keeper.apply(records) == 1
    assert len(keeper.fn.namespace) == 1


@pytest.mark.parametrize(
    "change",
    [{"since": float("inf")}, {"scale": 10**400}, {"budget": {"accounts": {}, "forgotten": [1]}}, {"counters": []}],
)
def test_what_cannot_have_been_learned_is_left_out_and_the_rest_goes_on(keeper, change):
    """Another node's bytes are not believed; nothing of it is taken over."""
    policy = keeper.fn.policies["v"]
    before = json.dumps(policy.state())
    records = [Learned("f@1", "v", {**json.loads(before), **change}), Inserted("f@1", entry(7))]
    assert keeper.apply(records) == 1
    assert json.dumps(policy.state()) == before


def test_what_a_policy_learned_is_journaled_when_it_changed(keeper):
    """Once after it changed, not again while nothing happens; and it comes back."""
    policy = keeper.fn.policies["v"]
    for i in range(60):
        keeper.apply([Inserted("f@1", entry(i + 10))])
        neighbors = keeper.fn.namespace.lookup("v", np.array([i, 0], np.float32), 10)
        policy.learn(policy.decide(neighbors), 0)
    keeper._append_learned()
    keeper._append_learned()
    assert [type(record) for record in keeper.journal.records] == [Learned]
    fresh = make_policy("calibrated+ledger", 0.95, random.Random(1).random)
    keeper.fn.policies["v"] = fresh
    keeper.apply(keeper.journal.records)
    assert fresh.statistics() == policy.statistics()


def test_what_was_computed_is_told_to_others_where_there_are_any(keeper):
    """As one record between two looks; what others tell goes to the policy."""
    policy = keeper.fn.policies["v"]
    keeper._append_evidence()
    keeper.fn.evidence.note("v", policy.decide(Neighbors([0.1], [1], [0])), False)
    keeper.journal.shared = False
    keeper._append_evidence()
    assert keeper.journal.records == []
    keeper.journal.shared = True
    keeper._append_evidence()
    (record,) = keeper.journal.records
    sample = Sample((1.0, 1.0, 0.0, 0.3, 0.0, 0.0), True, 1.0, 0.1)
    keeper.apply(
        [Observed("f@1", "v", record.evidence_schema, "other", 1, (sample,)), Observed("g@1", "v", "", "other", 1, ())]
    )
    assert keeper.fn.evidence.taken_in == 1


async def test_registrations_are_followed_in_their_place(keeper):
    """What comes behind one waits for it: it may be its entries."""

    seen = []

    class Registrations:
        async def follow(self, record):
            seen.append((record, len(keeper.fn.namespace)))

    keeper._registrations = Registrations()
    first, second = Registered("g@1", 1.0, "", {}), Unregistered("g@1", 2.0)
    assert await keeper._apply_slices([first, Inserted("f@1", entry(1)), second]) == 1
    assert seen == [(first, 0), (second, 1)]


async def test_entries_of_other_files_or_another_spec_are_left_out(keeper, caplog):
    """Records carry what tells results apart; a journal of before that was so has none, and none are trusted."""
    caplog.set_level("INFO")
    keeper._registry.remove("f")
    keeper.fn.journal_id = "f@1#new"
    keeper._registry.put(keeper.fn)
    records = [Inserted(address, entry(i)) for i, address in enumerate(["f@1", "f@1#old", "f@1#new"])]

    async def replay():
        yield records

    async def nothing():
        return
        yield

    keeper.journal.blocks = keeper.journal.follow = nothing
    keeper.journal.replay = replay
    await keeper._replay_and_follow()
    assert [each.id for each in keeper.fn.namespace.page(10).entries] == [2]
    (line,) = [each.message for each in caplog.records if "left out" in each.message]
    assert "2 entries" in line
    assert "f@1#old" in line


def test_a_restart_finds_entries_and_learned_state(live, toys):
    """With SQLite, a second server over the same data begins where the first ended."""
    png = {"content-type": "image/png"}
    first = live(journal="sqlite")
    for i in range(120):
        first.http.post("/v1/functions/quadrants/infer", content=toys.picture(i % 4, i), headers=png)
    before = first.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    first.__exit__()
    second = live(journal="sqlite")
    after = second.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert after["entries"] == before["entries"] > 0
    assert after["probes"] == before["probes"]
    answers = [
        second.http.post("/v1/functions/quadrants/infer", content=toys.picture(i % 4, 900 + i), headers=png)
        for i in range(12)
    ]
    assert sum(" hit" in each.headers["cache-status"] for each in answers) >= 6


def test_what_a_projector_learned_is_journaled_and_comes_back(keeper):
    """Under a name of its own beside the policy's, once; a broken one is left out with a warning."""
    projector = keeper.fn.projectors["v"]
    keeper._append_learned()
    assert keeper.journal.records == []
    projector.restore({"fits": 3, "seen": 0, "entries": 0, "projection": {"mean": [0, 0], "matrix": [[0.0], [1.0]]}})
    keeper._append_learned()
    keeper._append_learned()
    (record,) = keeper.journal.records
    assert (record.function, record.key_type) == ("f@1", "v:projection")
    projector.restore({"fits": 0, "seen": 0, "entries": 0, "projection": None})
    keeper.apply([record, Learned("f@1", "v:projection", {"fits": 4}), Learned("f@1", "w:projection", {})])
    assert projector.fits == 3
    assert projector.projection.matrix.tolist() == [[0.0], [1.0]]


def test_what_was_invalidated_stays_out_however_late_it_arrives(keeper):
    """By id for good; by tag, or all, what was created before; what came after it is welcome, also in a mixed batch."""
    keeper.apply([Invalidated("f@1", 60.0, ids=(1,)), Invalidated("f@1", 60.0, tag="x")])
    records = [
        Inserted("f@1", entry(1, created_at=70.0)), Inserted("f@1", entry(2, tags=("x",))),
        Inserted("f@1", entry(3, tags=("x",), created_at=61.0)), Inserted("f@1", entry(4)),
    ]  # fmt: skip
    assert keeper.apply(records) == 2
    assert [each.id for each in keeper.fn.namespace.page(10).entries] == [3, 4]
    keeper.apply([Invalidated("f@1", 80.0, everything=True)])
    assert keeper.apply([Inserted("f@1", entry(5)), Inserted("f@1", entry(6, created_at=81.0))]) == 1


def test_a_batch_of_different_shapes_is_taken_one_by_one(keeper):
    """One entry that does not fit costs the others nothing."""
    odd = entry(2, keys={"v": np.zeros(3, np.float32)})
    large = entry(3, result=Result(bytes(2 << 20)))
    assert keeper.apply([Inserted("f@1", each) for each in (entry(1), odd, large, entry(4))]) == 2


async def test_a_journal_that_could_not_be_read_is_not_replaced_by_a_snapshot(keeper):
    """Only who has everything may seal; and only when something changed since."""
    sealed = []

    async def seal(blocks, *, prune=True):
        sealed.append([id for block in blocks for id in block.ids.tolist()])

    keeper.journal.seal = seal
    keeper.apply([Inserted("f@1", entry(1))])
    await keeper._seal()
    assert sealed == []
    keeper._whole = True
    await keeper._seal()
    await keeper._seal()
    assert sealed == [[1]]
    assert [each.id for each in keeper._live("f@1")] == [1]
    assert list(keeper._live("g@1")) == []
