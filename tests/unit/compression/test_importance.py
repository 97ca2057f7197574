"""Particles find the kernels that matter, chains are read as they are written, and the student is a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_networks import dense, residual

from likewise.compression.chains import named, parse_chain
from likewise.compression.counts import count
from likewise.compression.examples import Examples, Task
from likewise.compression.heads import run
from likewise.compression.methods import METHODS
from likewise.compression.network import Floats, Network
from likewise.compression.particles import particle_importance
from likewise.compression.refusals import NotApplicable
from likewise.compression.saliency import channel_pruned
from likewise.compression.search import parse_demands
from likewise.compression.students import student
from likewise.errors import InvalidValue

KNOWN = {method.name: method for method in METHODS}


def task_of(network: Network, inputs: Floats) -> Task:
    examples = Examples(inputs, (run(network, inputs),), np.full(len(inputs), -1))
    return Task(Path(), examples, examples, examples, lambda one, other: one[0] == other[0], labelled=True)


def test_particles_tell_kernels_that_nothing_comes_of(inputs: Floats) -> None:
    """What they keep says more of the others."""
    network = residual()
    weight = network.weights["w1"].copy()
    weight[:, ::2] *= 1e-3
    network.weights["w1"] = weight
    found = particle_importance(network, task_of(network, inputs))["w1"]
    assert found.shape == weight.shape
    assert found[:, ::2].max() < found[:, 1::2].mean()


def test_channels_go_by_any_importance(inputs: Floats) -> None:
    """Filters without any go first."""
    network = dense()
    importance = {layer.weight: np.ones_like(network.weights[layer.weight]) for layer in network.layers()}
    importance["w1"][:8] = 0
    made = channel_pruned(network, 0.9, inputs, importance)
    assert np.array_equal(made.weights["w1"][:, : made.weights["w1"].shape[1]], network.weights["w1"][8:])


def test_chains_are_read_as_written() -> None:
    """And what is wrong with one is said."""
    chain = parse_chain("channels:0.5+training+int8", KNOWN)
    assert named(chain) == "channels+training+int8"
    assert "+".join(map(str, chain)) == "channels:0.5+training+int8"
    for text in (
        "training",
        "nonsense",
        "channels:half",
        "channels:7",
        "int8+",
        "channels:nan",
        "+".join(["int8"] * 9),
    ):
        with pytest.raises(InvalidValue, match="--methods"):
            parse_chain(text, KNOWN)


def test_demands_are_read_in_their_units() -> None:
    """Spaces and cases aside."""
    assert parse_demands("memory=4MB, latency=2ms", 0.5) == {"loss": 0.5, "memory": 4e6, "latency": 2e-3}
    assert parse_demands("storage=300kb,energy=5uJ,loss=1", 0.5) == pytest.approx(
        {"loss": 1.0, "storage": 3e5, "energy": 5e-6}
    )


def test_there_are_ways_in_all_three_categories() -> None:
    """Ten and more without PyTorch, none of one name."""
    assert len(KNOWN) == len(METHODS)
    usual = [method for method in METHODS if method.usual and not method.needs_torch]
    assert len(usual) >= 10
    assert {method.category for method in usual} == {"weights", "convolutions", "architecture"}


def test_a_student_is_small_and_runs(inputs: Floats) -> None:
    """With outputs of the same name and shape; a network without convolutions has none."""
    network = residual()
    made = student(network, 8)
    assert made.outputs == network.outputs
    assert run(made, inputs).shape == (40, 4)
    assert count(student(network, 4)).parameters < count(made).parameters
    for node in network.model.graph.node:
        if node.op_type == "Conv":
            node.op_type = "ConvTranspose"
    with pytest.raises(NotApplicable, match="convolution"):
        student(network, 8)
