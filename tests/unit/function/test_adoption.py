"""What a function believes of entries that come from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.function.adoption import MAX_ADOPTED_USES, SLICE_BYTES, Adopter, slices
from likewise.journal.blocks import block_of
from likewise.lookup.namespace import Namespace
from likewise.records import Invalidated
from likewise.results.labels import Labels
from likewise.types import Entry, Result

HOUR = 3600.0


class Node:
    """An adopter with a wall clock that may be wrong and a monotonic one."""

    def __init__(self) -> None:
        self.wall, self.mono = 1e6, 50.0
        clocks = (lambda: self.wall, lambda: self.mono)
        options = {"index_options": {"background": False}}
        self.space = Namespace("f@1", {"a": 1}, 5000, 10**8, HOUR, clocks[0], monotonic=clocks[1], **options)
        self.adopter = Adopter(self.space, Labels(), lambda: None, clocks[0], 100, clocks[1])

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


@pytest.fixture
def node() -> Node:
    return Node()


def entry(id: int, created_at: float = 1e6, ttl_s: float = HOUR, **facts: object) -> Entry:
    given = {"result": Result(b'{"label":"a"}'), "cost_s": 1.0, **facts}
    return Entry(id, {"a": np.zeros(1, np.float32)}, created_at=created_at, expires_at=created_at + ttl_s, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("created_at", "ttl_s", "left"),
    [
        pytest.param(1e6 - 10, 3.0, None, id="expired"),
        pytest.param(1e6 - 1, 3.0, 2.0, id="in good order"),
        pytest.param(1e6 + 597, 3.0, 3.0, id="the clock was set back over a restart"),
        pytest.param(1e6 + 1e9, 3.0, 3.0, id="from the far future"),
        pytest.param(1e6, float("inf"), HOUR, id="for ever"),
        pytest.param(1e6 - 60, 1e12, HOUR, id="longer than the function lets live"),
    ],
)
@pytest.mark.parametrize("way", ["one", "block"])
def test_an_entry_lives_no_longer_than_it_was_given(
    node: Node, way: str, created_at: float, ttl_s: float, left: float | None
) -> None:
    """Nor longer than the function lets its entries live, whatever its stamps say."""
    given = entry(1, created_at, ttl_s)
    adopted = node.adopter.adopt(given) if way == "one" else node.adopter.adopt_block(block_of("f@1", [given]))
    assert bool(adopted) is (left is not None)
    if left is not None:
        slot = node.space.slot_of(1)
        assert node.space.ttl_s(slot) == pytest.approx(left)
        assert node.space.age_s(slot) >= 0


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({"result": Result(b"{broken")}, id="no JSON"),
        pytest.param({"result": Result(b'{"a":1},{"b":2}')}, id="two answers for one"),
        pytest.param({"result": Result(b"x", "text/plain\r\nx: y")}, id="a header in its media type"),
        pytest.param({"result": Result(b"x", "text/\u2603")}, id="a media type that no header takes"),
        pytest.param({"result": Result(b"x", "text/" + "x" * 300)}, id="a long media type"),
        pytest.param({"tags": tuple(map(str, range(17)))}, id="many tags"),
        pytest.param({"tags": ("x" * 65,)}, id="a long tag"),
        pytest.param({"tags": ("",)}, id="an empty tag"),
        pytest.param({"digest": b"short"}, id="a digest that is none"),
        pytest.param({"signature": "x" * 300}, id="a long signature"),
    ],
)
def test_what_could_not_be_inserted_is_not_adopted(node: Node, facts: dict) -> None:
    """Those beside it are."""
    assert node.adopter.adopt_many([entry(1), entry(2, **facts), entry(3)]) == 2
    assert node.space.slot_of(2) == -1


def test_uses_and_costs_from_elsewhere_count_for_little(node: Node) -> None:
    """Nothing stays for what a peer says of it."""
    node.adopter.adopt(entry(1, use_count=2**32 - 1, cost_s=1e300))
    kept = node.space.entry(node.space.slot_of(1))
    assert kept.use_count == MAX_ADOPTED_USES
    assert kept.cost_s <= 600


@pytest.mark.parametrize("selector", [{"tag": "t"}, {"everything": True}], ids=str)
def test_an_invalidation_of_a_clock_that_runs_ahead_keeps_out_nothing_new(node: Node, selector: dict) -> None:
    """What is old stays out, what was made after it comes in at once."""
    node.adopter.withdraw(Invalidated("f@1", node.wall + 2 * HOUR, **selector))
    assert not node.adopter.adopt(entry(1, node.wall - 1, tags=("t",)))
    node.wait(1.0)
    assert node.adopter.adopt(entry(2, node.wall, tags=("t",)))


def test_an_invalidation_made_before_the_own_clock_was_set_back_keeps_out_nothing_new(node: Node) -> None:
    """Its stamp was of the clock as it was."""
    node.wall += 2 * HOUR
    node.adopter.withdraw(Invalidated("f@1", node.wall, tag="t"))
    node.wait(10.0)
    node.wall -= 2 * HOUR
    assert node.adopter.adopt(entry(1, node.wall, tags=("t",)))
    assert not node.adopter.adopt(entry(2, node.wall - 11, tags=("t",)))


def test_an_entry_from_the_future_may_be_old(node: Node) -> None:
    """A peer whose clock runs ahead may have made it before the invalidation; once that had expired, it cannot have."""
    node.adopter.withdraw(Invalidated("f@1", node.wall, tag="t"))
    node.wait(60.0)
    assert not node.adopter.adopt(entry(1, node.wall + HOUR, tags=("t",)))
    assert node.adopter.adopt(entry(2, node.wall + HOUR, tags=("u",)))
    node.wait(HOUR)
    assert node.adopter.adopt(entry(3, node.wall + HOUR, tags=("t",)))


def test_blocks_are_taken_in_by_bytes_as_well_as_by_number() -> None:
    """No slice has more of either, unless it is one entry."""
    sizes = [10] * 100 + [SLICE_BYTES * 2] + [SLICE_BYTES // 3] * 9 + [10]
    block = block_of("f@1", [entry(id, result=Result(b"1" * size)) for id, size in enumerate(sizes)])
    parts = list(slices(block, lambda: 64))
    assert [id for part in parts for id in part.ids.tolist()] == list(range(len(sizes)))
    assert all(len(part) == 1 or (len(part) <= 64 and len(part.bodies) <= SLICE_BYTES) for part in parts)
    assert len(parts) < 9
