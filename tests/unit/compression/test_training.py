"""Networks as PyTorch modules say the same, and training brings back what pruning took; where PyTorch is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from small_networks import dense, residual, task_of

from likewise.compression.examples import scores
from likewise.compression.factors import depthwise, fire, low_rank
from likewise.compression.heads import run
from likewise.compression.network import Floats, Network
from likewise.compression.pruning import magnitude, pruned
from likewise.compression.sharing import shared
from likewise.compression.students import student
from likewise.errors import InvalidFunction

torch = pytest.importorskip("torch")


def test_modules_say_what_onnx_runtime_says(network: Network, inputs: Floats) -> None:
    """Of all that compression makes, and written back unchanged."""
    from likewise.compression.modules import Module

    for made in (
        network, shared(network, 3), pruned(network, 0.5, magnitude(network)), fire(network, 0.5),
        depthwise(network, 2), low_rank(network, 0.8), student(network, 8),
    ):  # fmt: skip
        expected = run(made, inputs)
        module = Module(made).eval()
        found = module(torch.from_numpy(inputs)).detach().numpy()
        np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())
        np.testing.assert_allclose(run(module.result(), inputs), expected, atol=1e-5 * np.abs(expected).max())


def test_training_brings_back_what_pruning_took_and_zeros_stay(tmp_path: Path) -> None:
    """So do the few numbers of shared weights."""
    from likewise.compression.training import Trainer

    network, inputs = residual(), np.random.default_rng(0).normal(size=(300, 1, 16, 16)).astype(np.float32)
    trainer = Trainer(task_of(network, tmp_path, inputs), 3.0)
    wanted = scores(run(network, inputs))
    for made in (pruned(network, 0.6, magnitude(network)), shared(network, 2)):
        trained = trainer.train(made)
        before, after = (np.mean((scores(run(each, inputs)) - wanted) ** 2) for each in (made, trained))
        assert after < 0.7 * before
        for layer in made.layers():
            one, other = made.weights[layer.weight], trained.weights[layer.weight]
            assert not other[one == 0].any()
            assert len(np.unique(one)) >= len(np.unique(other)) or len(np.unique(one)) > 64


def test_frozen_weights_stay(tmp_path: Path, inputs: Floats) -> None:
    """As an exit's trunk does."""
    from likewise.compression.training import Trainer

    network = dense()
    frozen = [name for name in network.weights if name != "f1"]
    trained = Trainer(task_of(network, tmp_path, inputs), 0.3).train(network, frozen=frozen)
    assert all(np.array_equal(network.weights[name], trained.weights[name]) for name in frozen)
    assert not np.array_equal(network.weights["f1"], trained.weights["f1"])


def test_second_derivatives_are_those_by_hand(tmp_path: Path) -> None:
    """Of the last layer: the variance of the classes' shares, times squared features."""
    from likewise.compression.training import Trainer

    network, inputs = residual(), np.random.default_rng(0).normal(size=(60, 1, 16, 16)).astype(np.float32)
    found = Trainer(task_of(network, tmp_path, inputs), 1.0).second_derivatives(network)
    (last,) = [layer for layer in network.layers() if layer.kind == "dense"]
    from likewise.inference.graphs import peeker

    looked = network.copy()
    info = onnx.ValueInfoProto()
    info.name = "flat"
    looked.model.graph.output.append(info)
    features = peeker(looked.to_bytes())(inputs)["flat"].astype(np.float64)
    said = run(network, inputs).astype(np.float64)
    shares = np.exp(said - said.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    fisher = np.einsum("nf,nc->fc", features**2, shares * (1 - shares)) / len(inputs)
    expected = 0.5 * fisher * network.weights[last.weight].astype(np.float64) ** 2
    np.testing.assert_allclose(found[last.weight], expected, rtol=1e-2, atol=1e-4 * expected.max())


def test_a_student_learns(tmp_path: Path) -> None:
    """From nothing to most of the answers."""
    from likewise.compression.training import Trainer

    network, inputs = residual(), np.random.default_rng(0).normal(size=(300, 1, 16, 16)).astype(np.float32)
    task = task_of(network, tmp_path, inputs)
    made = student(network, 8)
    trained = Trainer(task, 4.0).train(made, fresh=True)
    agreed = [(run(each, inputs).argmax(1) == run(network, inputs).argmax(1)).mean() for each in (made, trained)]
    assert agreed[1] > max(0.7, agreed[0])


def test_an_unknown_operator_is_named(inputs: Floats) -> None:
    """And the file."""
    from likewise.compression.modules import Module

    network = residual()
    network.model.graph.node[1].op_type = "Mish"
    with pytest.raises(InvalidFunction, match=r"residual.*Mish"):
        Module(network)
