"""Capacities trained together say what their file says, and begin near the whole; where PyTorch is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_networks import check_same, residual, task_of

from likewise.compression.heads import run
from likewise.compression.nested import apply, capacity, ordered, places, plan, read, write
from likewise.compression.network import Floats, Network

torch = pytest.importorskip("torch")

SHARES = [0.25, 0.5, 1.0]


def products() -> tuple[Network, Floats]:
    """Return a network of products with square weights, whose filters are columns, and inputs."""
    rng = np.random.default_rng(3)
    shapes = {"w0": (16, 16), "w1": (16, 16), "w2": (16, 4)}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w2"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, ["n", 16])], [info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(rng.normal(size=size).astype(np.float32), name) for name, size in shapes.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return Network(model, "products"), rng.normal(size=(60, 16)).astype(np.float32)


def check_matched(network: Network, inputs: Floats) -> None:
    """Fail unless each capacity, matched, has the moments of the whole, and says in PyTorch what it says in a file."""
    from likewise.compression.modules import Module
    from likewise.compression.nesting import Capacity

    found, tensors, whole, own = plan(network, SHARES), torch.from_numpy(inputs), Module(network).eval(), []
    for counts in found.kept[:-1]:
        made = capacity(network, counts)
        part = Capacity(whole, made, places(network, counts), last=False).eval()
        part.match(tensors)
        wanted, seen = (each.tensors(tensors) for each in (whole, part))
        for layer in made.layers():
            axes = (0, 2, 3) if layer.kind == "conv" else (0,)
            one, other = (each[layer.output].detach().numpy() for each in (seen, wanted))
            other = other[:, : one.shape[1]]
            if layer.bias:
                np.testing.assert_allclose(one.mean(axes), other.mean(axes), atol=1e-3 * other.std())
            ratio = one.std(axes) / other.std(axes)
            assert np.all((np.abs(ratio - 1) < 1e-3) | (one.std(axes) < 1e-6) | (ratio < 1))
            assert np.median(np.abs(ratio - 1)) < 1e-3
        own.append(part.values())
        apply(made, own[-1])
        np.testing.assert_allclose(part(tensors).detach().numpy(), run(made, inputs), rtol=1e-3, atol=1e-3)
    for counts, mine, each in zip(found.kept, own, read(write(network, found, own), "file"), strict=False):
        expected = capacity(network, counts)
        apply(expected, mine)
        check_same(expected, each, inputs, 0.0)


def test_capacities_begin_like_the_whole(network: Network, inputs: Floats) -> None:
    """Filter by filter; and are what their file says."""
    check_matched(ordered(network, inputs), inputs)


def test_filters_that_are_columns_are_scaled_as_such() -> None:
    """Also where a weight is as wide as it is high."""
    check_matched(*products())


def test_training_brings_all_nearer_to_the_full_model(tmp_path: Path) -> None:
    """And alone, the better of two rates is taken."""
    from likewise.compression.nesting import alone, nest
    from likewise.compression.training import RATE, Trainer

    network, inputs = residual(), np.random.default_rng(0).normal(size=(300, 1, 16, 16)).astype(np.float32)
    trainer = Trainer(task_of(network, tmp_path, inputs), 0.0)
    start = ordered(network, inputs)
    found = plan(start, SHARES)
    trained = nest(trainer, start, found, steps=80)
    assert trained.steps == 80
    parts = read(write(trained.whole, found, trained.own), "file")
    for part, begun in zip(parts[:-1], trained.starts, strict=False):
        assert trainer.distance(part) < 0.9 * trainer.distance(begun)
    single = trainer.distance(alone(trainer, trained.starts[0], 10))
    assert single <= trainer.distance(trainer.train(trained.starts[0], rate=RATE, steps=10))


def test_a_seed_and_steps_say_all(tmp_path: Path) -> None:
    """Whatever else the machine does meanwhile."""
    from likewise.compression.nesting import nest
    from likewise.compression.training import Trainer

    network, inputs = residual(), np.random.default_rng(0).normal(size=(70, 1, 16, 16)).astype(np.float32)
    task = task_of(network, tmp_path, inputs)
    first, again, other = (
        nest(Trainer(task, 0.0, seed), network, plan(network, SHARES), steps=2).whole.weights for seed in (0, 0, 1)
    )
    assert all(np.array_equal(value, again[name]) for name, value in first.items())
    assert not all(np.array_equal(value, other[name]) for name, value in first.items())
