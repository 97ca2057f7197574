"""Capacities in one file: each is a part of the next larger one, and comes out as it went in."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_networks import check_same, dense, residual

from likewise.compression.channels import Channels
from likewise.compression.counts import count
from likewise.compression.nested import METADATA, apply, capacity, ordered, places, plan, read, write
from likewise.compression.network import Floats, Network
from likewise.errors import InvalidFunction


def test_ordering_changes_nothing(network: Network, inputs: Floats) -> None:
    """But in which order channels stand."""
    found = ordered(network, inputs)
    check_same(network, found, inputs)
    assert any(not np.array_equal(found.weights[name], value) for name, value in network.weights.items())


def test_smaller_filters_are_the_first_of_larger_ones(network: Network) -> None:
    """And the places that are told say so."""
    found = plan(network, [0.25, 0.5, 1.0])
    for counts in found.kept:
        made, at = capacity(network, counts), places(network, counts)
        for layer in made.layers():
            if layer.weight in network.weights:
                flat = network.weights[layer.weight].reshape(-1)
                assert np.array_equal(flat[at[layer.weight]], made.weights[layer.weight])
        assert [group.size for group in Channels(made).groups()] == list(counts)
    convolution = residual()
    small = capacity(convolution, plan(convolution, [0.5, 1.0]).kept[0])
    assert np.array_equal(small.weights["w1"], convolution.weights["w1"][:16, :16])


def test_capacities_come_out_as_they_went_in(network: Network, inputs: Floats) -> None:
    """With scales and offsets of their own; and the file loads as the largest."""
    found = plan(network, [0.25, 0.5, 0.75, 1.0])
    rng = np.random.default_rng(0)
    own, expected = [], []
    for counts in found.kept[:-1]:
        made = capacity(network, counts)
        mine = {layer.weight: rng.random(len(made.matrix(layer)), np.float32) for layer in made.layers()}
        mine |= {layer.bias: rng.random(len(made.matrix(layer)), np.float32) for layer in made.layers() if layer.bias}
        apply(made, mine)
        own.append(mine)
        expected.append(made)
    content = write(network, found, own)
    for one, other in zip([*expected, network], read(content, "file"), strict=True):
        check_same(one, other, inputs, 0.0)
    check_same(network, Network.parse(content, "file"), inputs, 0.0)
    assert [count(each).parameters for each in expected] == sorted(count(each).parameters for each in expected)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"kept": 3}', '{"kept": [[1000, 1]]}', '{"kept": [[1.5]]}', "[]", '{"kept": [[], []]}']
)
def test_files_that_lie_are_refused(text: str) -> None:
    """Naming the file."""
    model = onnx.load_model_from_string(write(dense(), plan(dense(), [0.5, 1.0]), []))
    (entry,) = [each for each in model.metadata_props if each.key == METADATA]
    entry.value = text if "1000" not in text else '{"kept": [[1000, 1], [1, 1]]}'
    with pytest.raises(InvalidFunction, match="file"):
        read(model.SerializeToString(), "file")
    with pytest.raises(InvalidFunction, match="capacities"):
        read(dense().to_bytes(), "file")
