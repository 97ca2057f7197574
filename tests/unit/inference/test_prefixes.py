"""Where graphs are the same, and what their parts give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import GraphBuilder, random_graph
from models import scores, with_external

from likewise.inference.graphs import Piece
from likewise.inference.prefixes import Prefixes, deepest


def write(path: Path, model: bytes) -> Path:
    path.write_bytes(model)
    return path


def pair(folder: Path, common: int, change: str = "") -> tuple[Path, Path]:
    """Return two models of 3 + 3 blocks that have so many of the first in common; their tensors' names differ."""
    found = []
    for which in (1, 2):
        net = GraphBuilder(7, 3, 12, 12)
        x = "x"
        for block in range(6):
            if block == common:
                net.rng = np.random.default_rng(100 + which)
            x = net.add("Relu", [net.conv(x, 6, 3, 1)], (6, 12, 12))
        model = onnx.ModelProto.FromString(net.model([x]))
        if which == 2:
            for node in model.graph.node:
                node.input[:] = [name if name == "x" else f"other_{name}" for name in node.input]
                node.output[:] = [f"other_{name}" for name in node.output]
            for named in (*model.graph.initializer, *model.graph.output):
                named.name = f"other_{named.name}"
            if change == "opset":
                model.opset_import[0].version = 16
            elif change == "attribute":
                next(each for each in model.graph.node[0].attribute if each.name == "dilations").ints[:] = [2, 2]
            elif change == "input":
                model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 13
        found.append(write(folder / f"{which}.onnx", model.SerializeToString()))
    return found[0], found[1]


@pytest.mark.parametrize("seed", range(12))
def test_the_parts_of_any_graph_give_what_the_whole_gives(seed: int, tmp_path: Path) -> None:
    """At every place where it may be cut."""
    model, shape, names = random_graph(seed)
    prefixes = Prefixes(write(tmp_path / "model.onnx", model))
    batch = np.random.default_rng(seed).random((2, *shape), np.float32)
    whole = Piece(model).run({"x": batch}, names)
    assert prefixes.cuts
    for cut in prefixes.cuts:
        tensor = Piece(prefixes.before(cut)).run({"x": batch})[0]
        parts = Piece(prefixes.after(cut, tensor.ndim)).run({cut.tensor: tensor}, names)
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_common_prefix_is_found_whatever_its_tensors_are_called(tmp_path: Path) -> None:
    """Its last tensor, in each of the graphs."""
    first, second = (Prefixes(each) for each in pair(tmp_path, 4))
    cuts = deepest(first.cuts, second.cuts)
    assert cuts is not None
    assert (cuts[0].tensor, cuts[1].tensor) == ("t7", "other_t7")
    assert cuts[0].depth == pytest.approx(8 / 12)
    batch = np.random.default_rng(0).random((1, 3, 12, 12), np.float32)
    given = [Piece(each.before(cut)).run({"x": batch})[0] for each, cut in zip((first, second), cuts, strict=True)]
    np.testing.assert_array_equal(*given)


@pytest.mark.parametrize("change", ["opset", "attribute", "input"])
def test_what_changes_a_result_ends_the_prefix(change: str, tmp_path: Path) -> None:
    """Weights alone do not make two layers the same."""
    first, second = (Prefixes(each) for each in pair(tmp_path, 6, change))
    assert deepest(first.cuts, second.cuts) is None


def test_a_short_prefix_is_not_worth_it(tmp_path: Path) -> None:
    """One block of six."""
    first, second = (Prefixes(each) for each in pair(tmp_path, 1))
    assert deepest(first.cuts, second.cuts) is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(with_external("weights"), id="weights elsewhere"),
        pytest.param(b"\x3a\x7f", id="cut off"),
        pytest.param(scores()[:-20], id="damaged"),
        pytest.param(b"", id="empty"),
    ],
)
def test_what_cannot_be_cut_says_why(content: bytes, tmp_path: Path) -> None:
    """As an error that the caller knows."""
    with pytest.raises((ValueError, KeyError, IndexError)):
        Prefixes(write(tmp_path / "model.onnx", content))
