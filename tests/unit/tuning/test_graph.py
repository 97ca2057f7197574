"""A graph is cut where all passes through one tensor, and the parts give what the whole gives."""

from __future__ import annotations

from pathlib import Path

import networks
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from likewise.errors import InvalidFunction
from likewise.function.fingerprint import file_digest
from likewise.function.layers import SOURCE
from likewise.inference.graphs import peeker
from likewise.inference.model import OnnxModel
from likewise.tuning.graph import Graph, Pool, pooled


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    onnx.save(networks.residual_model(), tmp_path / "model.onnx")
    return Graph(tmp_path / "model.onnx")


def test_cuts_are_between_blocks_and_behind_activations(graph: Graph) -> None:
    """Not within the block, whose result also needs what goes around it."""
    assert [cut.tensor for cut in graph.cuts()] == ["stem", "block", "pooled"]
    depths = [cut.depth for cut in graph.cuts()]
    assert depths == sorted(depths)


POOLS = [Pool((1, 2), 1), Pool((1, 2), 2, root=True), Pool((1, 2), 3), Pool((0,), 4), Pool((2,), 5, root=True)]


@pytest.mark.parametrize("last", ["Relu", "Tanh"])
@pytest.mark.parametrize("pool", POOLS)
def test_the_parts_together_give_what_the_model_gives(tmp_path: Path, pool: Pool, last: str) -> None:
    """And the key is what the pooled numbers are projected to, also on grids that do not divide the sides.

    Roots are taken of numbers below 0, too, where the operator before the cut gives such.
    """
    model = networks.residual_model()
    next(node for node in model.graph.node if node.output[0] == "block").op_type = last
    onnx.save(model, tmp_path / "model.onnx")
    graph = Graph(tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    x = rng.random((3, 1, 16, 16), np.float32)
    tensor = peeker(graph.with_outputs(["block"]))(x)["block"]
    assert (tensor.min() < 0) == (last == "Tanh")
    numbers = pooled(tensor, pool)
    mean, matrix = numbers.mean(0), rng.normal(size=(numbers.shape[1], 7)).astype(np.float32)
    (tmp_path / "before.onnx").write_bytes(graph.before("block", pool, tensor.shape[1:], mean, matrix))
    (tmp_path / "after.onnx").write_bytes(graph.after("block", tensor.shape[1:]))
    before, after, whole = (OnnxModel(tmp_path / f"{name}.onnx") for name in ("before", "after", "model"))
    key, middle = before.run(x)
    np.testing.assert_allclose(key, (numbers - mean) @ matrix, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(after.run(middle)[0], whole.run(x)[0], rtol=1e-5, atol=1e-5)
    assert before.metadata[SOURCE] == after.metadata[SOURCE] == file_digest(tmp_path / "model.onnx")
    assert before.dynamic_batch
    assert after.dynamic_batch


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf, -3.0e38])
def test_a_tensor_goes_through_a_pooling_of_single_pixels_as_it_is(
    graph: Graph, tmp_path: Path, strange: float
) -> None:
    """Whatever it holds: what is not finite stays so, and the model's result with it."""
    tensor = np.random.default_rng(0).normal(size=(2, 8, 16, 16)).astype(np.float32)
    tensor[1, 3, 5, 5] = strange
    found = []
    for through_pool in (False, True):
        path = tmp_path / f"after-{through_pool}.onnx"
        path.write_bytes(graph.after("stem", (8, 16, 16), through_pool=through_pool))
        found.append(OnnxModel(path).run(tensor)[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_a_fused_activation_stays_fused_at_the_cut(tmp_path: Path) -> None:
    """Behind a pooling of single pixels, where ONNX Runtime would compute it by itself; tensor and key are the same."""
    model = networks.residual_model()
    next(node for node in model.graph.node if node.output[0] == "block").op_type = "HardSwish"
    onnx.save(model, tmp_path / "model.onnx")
    graph = Graph(tmp_path / "model.onnx")
    assert [graph.fuses_late(name) for name in ("stem", "block")] == [False, True]
    x = np.random.default_rng(0).normal(size=(2, 1, 16, 16)).astype(np.float32)
    numbers = np.zeros(32, np.float32), np.eye(32, 9, dtype=np.float32)
    found = []
    for through_pool in (False, True):
        path = tmp_path / f"before-{through_pool}.onnx"
        path.write_bytes(graph.before("block", Pool((1, 2), 2), (8, 16, 16), *numbers, through_pool=through_pool))
        found.append(OnnxModel(path).run(x))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_pooling_takes_means_over_parts() -> None:
    """Parts of a side that cannot be divided evenly are as even as can be."""
    tensor = np.arange(10, dtype=np.float32).reshape(1, 2, 5)
    assert pooled(tensor, Pool((1,), 2)).tolist() == [[1.0, 3.5, 6.0, 8.5]]
    assert pooled(tensor, Pool((), 1)).shape == (1, 10)
    assert pooled(-tensor, Pool((1,), 1, root=True)).tolist() == [[-np.sqrt(np.float32(2)), -np.sqrt(np.float32(7))]]


def test_what_an_inner_graph_reads_is_still_needed(tmp_path: Path) -> None:
    """A branch of an If that reads the input itself leaves no cut before it."""
    info = helper.make_tensor_value_info

    def branch(name: str, source: str) -> onnx.GraphProto:
        node = helper.make_node("Identity", [source], [name])
        return helper.make_graph([node], name, [], [info(name, TensorProto.FLOAT, None)])

    nodes = [
        helper.make_node("Relu", ["x"], ["early"]),
        helper.make_node("ReduceSum", ["early"], ["total"], keepdims=0),
        helper.make_node("Cast", ["total"], ["flag"], to=TensorProto.BOOL),
        helper.make_node("If", ["flag"], ["y"], then_branch=branch("a", "x"), else_branch=branch("b", "early")),
    ]
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, ["batch", 4])], [info("y", TensorProto.FLOAT, ["batch", 4])]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    assert [cut.tensor for cut in Graph(tmp_path / "m.onnx").cuts()] == []


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """As every other file of a function."""
    (tmp_path / "m.onnx").write_bytes(b"\xff\xff\xff")
    with pytest.raises(InvalidFunction, match=r"m\.onnx"):
        Graph(tmp_path / "m.onnx")
