"""Rendezvous hashing, bounded load, fail-over and return."""

from __future__ import annotations

from typing import Any

import pytest

from likewise_client._errors import InvalidInput
from likewise_client._nodes import Breaker, Nodes

URLS = ["http://a:1", "http://b:1", "http://c:1"]
NAMES = [f"function{i}" for i in range(600)]


def test_all_clients_rank_alike_in_any_order(clock: Any) -> None:
    """The order in which nodes are listed does not matter, nor a trailing slash."""
    one, other = Nodes(URLS, clock), Nodes([url + "/" for url in reversed(URLS)], clock)
    assert all(one.rank(name) == other.rank(name) for name in NAMES)


def test_functions_spread_evenly(clock: Any) -> None:
    """Each of three nodes owns about a third."""
    nodes = Nodes(URLS, clock)
    owners = [nodes.rank(name)[0] for name in NAMES]
    assert all(150 < owners.count(url) < 250 for url in URLS)


def test_a_leaving_node_moves_its_own_functions_alone(clock: Any) -> None:
    """Of the others' functions none changes its node."""
    before, after = Nodes(URLS, clock), Nodes(URLS[:2], clock)
    moved = [name for name in NAMES if before.rank(name)[0] != after.rank(name)[0]]
    assert moved
    assert all(before.rank(name)[0] == URLS[2] for name in moved)


def test_versions_of_a_function_stay_together(clock: Any) -> None:
    """`name` and `name@version` have one owner."""
    nodes = Nodes(URLS, clock)
    assert all(nodes.rank(name) == nodes.rank(f"{name}@3") for name in NAMES)


def test_a_node_that_failed_is_passed_over_and_returned_to(clock: Any) -> None:
    """The pause doubles, one request tries the node afterwards, and a success clears it."""
    nodes = Nodes(URLS, clock, breaker=Breaker(pause_s=1.0))
    owner, second, _ = nodes.rank("f")
    assert nodes.choose("f") == owner
    nodes.done(owner, alive=False)
    assert nodes.choose("f") == second
    clock.now += 1.01
    assert nodes.choose("f") == owner, "its pause is over"
    assert nodes.choose("f") == second, "one request on trial is enough"
    nodes.done(owner, alive=False)
    clock.now += 1.5
    assert nodes.choose("f") == second, "the second pause is longer"
    clock.now += 1.0
    assert nodes.choose("f") == owner
    nodes.done(owner, alive=True)
    assert [nodes.choose("f"), nodes.choose("f")] == [owner, owner]


def test_a_patient_call_asks_even_a_node_that_is_down(clock: Any) -> None:
    """With all down, patience tries the owner; impatience gives up."""
    nodes = Nodes(URLS[:1], clock)
    nodes.done(nodes.take(URLS[0]), alive=False)
    assert nodes.choose("f", patient=False) is None
    assert nodes.choose("f") == URLS[0]
    assert nodes.choose("f", tried=URLS[:1]) is None


def test_an_unknown_end_changes_nothing(clock: Any) -> None:
    """A cancelled request says nothing about the node."""
    nodes = Nodes(URLS, clock)
    owner = nodes.rank("f")[0]
    nodes.done(nodes.take(owner), alive=None)
    assert nodes.choose("f") == owner


def test_load_beyond_a_nodes_share_spills_to_the_next(clock: Any) -> None:
    """No node holds more than its bound of the requests in flight; few requests never spill."""
    nodes = Nodes(URLS, clock, load_factor=1.25, spare_load=4)
    chosen = [nodes.choose("f") for _ in range(60)]
    first, second, third = (chosen.count(url) for url in nodes.rank("f"))
    assert chosen[:4] == [nodes.rank("f")[0]] * 4
    assert first <= 26
    assert second <= 26
    assert third >= 8
    assert first + second + third == 60


def test_a_pause_has_an_upper_bound(clock: Any) -> None:
    """However long a node is away, it is tried again within max_pause_s."""
    nodes = Nodes(URLS[:1], clock, breaker=Breaker(max_pause_s=30.0))
    for _ in range(100):
        nodes.done(nodes.take(URLS[0]), alive=False)
    clock.now += 30.0
    assert nodes.choose("f", patient=False) == URLS[0]


def test_a_breaker_may_wait_for_several_failures_in_a_row(clock: Any) -> None:
    """An answer in between closes it; half open, it takes one request."""
    nodes = Nodes(URLS, clock, breaker=Breaker(failures=3, pause_s=1.0))
    owner, second, _ = nodes.rank("f")
    for alive in (False, False, True, False, False):
        nodes.done(nodes.take(owner), alive=alive)
    assert nodes.choose("f") == owner, "never three in a row"
    nodes.done(owner, alive=False)
    assert nodes.choose("f") == second
    clock.now += 1.01
    assert [nodes.choose("f"), nodes.choose("f")] == [owner, second], "half open: one trial"
    nodes.done(owner, alive=True)
    assert nodes.choose("f") == owner


@pytest.mark.parametrize(
    "options", [{"failures": 0}, {"failures": 1.5}, {"pause_s": -1.0}, {"max_pause_s": float("inf")}]
)
def test_a_breaker_that_means_nothing_is_refused(options: dict[str, Any]) -> None:
    """By the name of the field."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Breaker(**options)


@pytest.mark.parametrize("urls", [[], ["localhost:8080"], ["ftp://a"], ["http://"]])
def test_what_is_no_node_is_refused(urls: list[str], clock: Any) -> None:
    """The mistake shows when the client is made, not at the first call."""
    with pytest.raises(InvalidInput):
        Nodes(urls, clock)
