"""Memory of tensors: what is alive when, against a slow truth, and the arena that holds them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.estimation.arena import Arena, held, planned
from likewise.estimation.description import Description, Layer, Value
from likewise.estimation.liveness import peak, steps


def _network(rows: list[tuple[str, list[str], list[str]]], sizes: dict[str, int], outputs: list[str]) -> Description:
    layers = [Layer(f"l{at}", op, tuple(ins), tuple(outs), {}, 0, 0) for at, (op, ins, outs) in enumerate(rows)]
    values = {name: Value("uint8", (size,)) for name, size in sizes.items()}
    return Description(values=values, layers=layers, inputs=["x"], outputs=outputs)


def test_a_chain_holds_two_at_a_time() -> None:
    rows = [("Pad", ["x"], ["a"]), ("Pad", ["a"], ["b"]), ("Pad", ["b"], ["c"])]
    assert peak(_network(rows, {"x": 9, "a": 100, "b": 50, "c": 30}, ["c"])) == 150


def test_a_short_cut_stays_alive() -> None:
    rows = [("Pad", ["x"], ["a"]), ("Pad", ["a"], ["b"]), ("Pad", ["b"], ["c"]), ("Concat", ["a", "c"], ["d"])]
    assert peak(_network(rows, {"x": 9, "a": 100, "b": 50, "c": 30, "d": 40}, ["d"])) == 180


def test_what_is_written_in_place_takes_nothing() -> None:
    rows = [("Pad", ["x"], ["a"]), ("Relu", ["a"], ["b"]), ("Sigmoid", ["b"], ["c"]), ("Pad", ["c"], ["d"])]
    assert peak(_network(rows, {"x": 9, "a": 100, "b": 100, "c": 100, "d": 10}, ["d"])) == 110


def test_what_is_read_again_is_not_written_over() -> None:
    rows = [("Pad", ["x"], ["a"]), ("Relu", ["a"], ["b"]), ("Add", ["a", "b"], ["c"]), ("Pad", ["c"], ["d"])]
    assert peak(_network(rows, {"x": 9, "a": 100, "b": 100, "c": 100, "d": 10}, ["d"])) == 200


def test_views_share_and_keep_alive() -> None:
    rows = [("Pad", ["x"], ["a"]), ("Reshape", ["a", ""], ["v"]), ("Pad", ["v"], ["b"]), ("Pad", ["b"], ["c"])]
    assert peak(_network(rows, {"x": 9, "a": 100, "v": 100, "b": 10, "c": 5}, ["c"])) == 110


def test_outputs_have_memory_of_their_own() -> None:
    rows = [("Pad", ["x"], ["a"]), ("Relu", ["a"], ["b"])]
    assert peak(_network(rows, {"x": 9, "a": 100, "b": 100}, ["b"])) == 200
    rows = [("Pad", ["x"], ["a"]), ("Reshape", ["a"], ["b"])]
    assert peak(_network(rows, {"x": 9, "a": 100, "b": 100}, ["b"])) == 200


@st.composite
def _graphs(draw: st.DrawFn) -> Description:
    count = draw(st.integers(1, 14))
    names, rows, sizes = ["x"], [], {"x": 7}
    for at in range(count):
        ins = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))
        outs = [f"t{at}_{each}" for each in range(draw(st.integers(1, 2)))]
        rows.append(("Concat", ins, outs))  # neither a view nor in place
        sizes.update({name: draw(st.integers(1, 1000)) for name in outs})
        names += outs
    outputs = draw(st.lists(st.sampled_from(names[1:]), min_size=1, max_size=2, unique=True))
    return _network(rows, sizes, outputs)


def _brute(network: Description) -> int:
    """Return the peak by asking at each layer which tensors are there and still needed, or just made."""
    most = 0
    made_at = {name: at for at, layer in enumerate(network.layers) for name in layer.outputs}
    for now in range(len(network.layers)):
        alive = 0
        for name, at in made_at.items():
            read = [place for place, layer in enumerate(network.layers) if name in layer.inputs]
            last = len(network.layers) if name in network.outputs else max(read, default=at)
            alive += network.values[name].size_bytes if at <= now <= last else 0
        most = max(most, alive)
    return most


@settings(max_examples=200, deadline=None)
@given(_graphs())
def test_the_walk_finds_what_a_slow_search_finds(network: Description) -> None:
    assert peak(network) == _brute(network)


@settings(max_examples=100, deadline=None)
@given(_graphs())
def test_all_that_is_taken_is_given_back_and_the_arena_holds_it(network: Description) -> None:
    taken: dict[str, int] = {}
    for name, size in steps(network):
        taken[name] = taken.get(name, 0) + size
    assert not any(taken.values())
    assert planned(list(steps(network))) >= peak(network)
    assert held(network) >= peak(network)


def test_the_plan_puts_tensors_where_others_were() -> None:
    assert planned([("a", 640), ("b", 64), ("a", -640), ("c", 320), ("d", 320)]) == 704


def test_the_arena_gives_again_what_it_was_given() -> None:
    arena = Arena()
    rng, kept = np.random.default_rng(0), dict[str, int]()
    for at in range(400):
        if kept and rng.random() < 0.5:
            name = str(rng.choice(list(kept)))
            arena.give(name)
            del kept[name]
        else:
            kept[f"t{at}"] = int(rng.integers(1, 300_000))
            arena.take(f"t{at}", kept[f"t{at}"])
    for name in kept:
        arena.give(name)
    before = arena.touched
    arena.take("again", 200_000)
    assert arena.touched == before


def test_the_arena_refuses_to_give_back_what_nobody_took() -> None:
    with pytest.raises(KeyError):
        Arena().give("x")
