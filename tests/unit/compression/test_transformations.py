"""Each way runs in ONNX Runtime, is the identity at its mildest, and does what it says by NumPy's reckoning."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import check_same, dense, residual

from likewise.compression.channels import Channels, without
from likewise.compression.counts import count
from likewise.compression.factors import depthwise, fire, low_rank
from likewise.compression.heads import headed, last_map, ridge, run
from likewise.compression.network import Floats, Network
from likewise.compression.precision import dynamic_int8, float16, static_int8
from likewise.compression.pruning import magnitude, pruned
from likewise.compression.saliency import channel_pruned
from likewise.compression.sharing import coded, shared


def test_full_rank_changes_nothing_but_rounding(network: Network, inputs: Floats) -> None:
    """Of convolutions in either direction, with strides, and of dense layers."""
    made = low_rank(network, 1.0)
    assert len(made.layers()) > len(network.layers())
    check_same(network, made, inputs)


def test_low_rank_is_the_best_product_by_numpy(inputs: Floats) -> None:
    """Of a dense layer; and it is less to compute."""
    network = dense()
    layer = network.layers()[-2]
    left, values, right = np.linalg.svd(network.matrix(layer))
    rank = int(np.searchsorted(np.cumsum(values**2), 0.5 * (values**2).sum())) + 1
    made = low_rank(network, 0.5, ["dense"])
    first, second = (made.weights[f"f0_{side}"] for side in ("right", "left"))
    np.testing.assert_allclose(second @ first, (left[:, :rank] * values[:rank]) @ right[:rank], atol=1e-5)
    assert count(made).multiply_adds < count(network).multiply_adds
    assert run(made, inputs).shape == (40, 4)


def test_depthwise_with_all_filters_changes_nothing_but_rounding(network: Network, inputs: Floats) -> None:
    """And with one it is far less to compute."""
    check_same(network, depthwise(network, 9), inputs)
    few = depthwise(network, 1)
    run(few, inputs)
    assert count(few).multiply_adds < 0.8 * count(network).multiply_adds


def test_fire_keeps_shapes_and_is_less_to_compute(network: Network, inputs: Floats) -> None:
    """Its outputs that see all places are exact where nothing is squeezed out."""
    made = fire(network, 0.25)
    assert run(made, inputs).shape == (40, 4)
    assert count(made).multiply_adds < count(network).multiply_adds
    assert any(node.op_type == "Concat" for node in made.model.graph.node)


def test_pruning_nothing_is_the_identity(network: Network, inputs: Floats) -> None:
    """Weight by weight, by kernels and by strides; and channels."""
    for scale in ("weight", "kernel", "stride"):
        check_same(network, pruned(network, 0.0, magnitude(network), scale), inputs, 0.0)
    check_same(network, channel_pruned(network, 1.0, inputs), inputs, 0.0)
    every = [(group, np.arange(group.size)) for group in Channels(network).groups()]
    assert every
    check_same(network, without(network, every), inputs, 0.0)


def test_pruning_takes_the_least_weights(network: Network) -> None:
    """About the share that was asked for, each below all that stay in its layer."""
    made = pruned(network, 0.5, magnitude(network))
    kept = total = 0
    for layer in network.layers():
        before, after = network.weights[layer.weight], made.weights[layer.weight]
        gone = after == 0
        assert np.array_equal(after[~gone], before[~gone])
        if gone.any() and not gone.all():
            assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()
        kept, total = kept + int((~gone).sum()), total + gone.size
    assert 0.4 <= kept / total <= 0.75


def test_kernels_and_strides_go_as_a_whole(network: Network) -> None:
    """A kernel is zero or as it was; so is every third place of an input's kernels."""
    kernels = pruned(network, 0.4, magnitude(network), "kernel")
    strides = pruned(network, 0.4, magnitude(network), "stride")
    seen = 0
    for layer in network.layers():
        if layer.kind == "conv" and network.weights[layer.weight].shape[2] == 3:
            zero = kernels.weights[layer.weight].reshape(-1, 9) == 0
            assert (zero.all(1) | ~zero.any(1)).all()
            for offset in range(3):
                zero = strides.weights[layer.weight].transpose(1, 0, 2, 3)
                zero = zero.reshape(len(zero), -1, 9)[:, :, offset::3].reshape(len(zero), -1) == 0
                assert (zero.all(1) | ~zero.any(1)).all()
                seen += int(zero.all(1).sum())
    assert seen


def test_channels_that_nothing_comes_of_go_without_a_trace(network: Network, inputs: Floats) -> None:
    """Filters and offsets of zero: the smaller network says the same, with less to compute."""
    made = network.copy()
    kept = []
    for group in Channels(made).groups():
        gone = np.arange(0, group.size, 3)
        for layer in group.made_by:
            for name in (layer.weight, layer.bias):
                if name:
                    made.weights[name] = made.weights[name].copy()
                    made.weights[name][gone] = 0
        for name, axis in group.along:
            if made.weights[name].ndim == 1:
                made.weights[name] = made.weights[name].copy()
                np.moveaxis(made.weights[name], axis, 0)[gone] = 0
        kept.append((group, np.setdiff1d(np.arange(group.size), gone)))
    smaller = without(made, kept)
    check_same(made, smaller, inputs)
    assert count(smaller).multiply_adds < 0.8 * count(made).multiply_adds


def test_what_cannot_be_followed_keeps_its_channels() -> None:
    """The residual sum is one group; behind a transposition nothing is taken."""
    sizes = sorted((group.size, len(group.made_by)) for group in Channels(residual()).groups())
    assert sizes == [(32, 1), (32, 2)]
    odd = residual()
    node = odd.model.graph.node[-3]
    node.op_type = "Transpose"
    del node.attribute[:]
    assert [len(group.made_by) for group in Channels(odd).groups()] == [1]


def test_channel_pruning_reaches_the_work_that_was_asked_for(network: Network, inputs: Floats) -> None:
    """Or somewhat less, since channels go by eights."""
    made = channel_pruned(network, 0.6, inputs)
    run(made, inputs)
    assert 0.2 < count(made).multiply_adds / count(network).multiply_adds <= 0.6


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_shared_weights_are_means_of_their_clusters(network: Network, bits: int) -> None:
    """At most so many numbers in each layer, and zeros stay."""
    sparse = pruned(network, 0.3, magnitude(network))
    made = shared(sparse, bits)
    for layer in network.layers():
        before, after = sparse.weights[layer.weight], made.weights[layer.weight]
        assert np.array_equal(before == 0, after == 0)
        values = np.unique(after[after != 0])
        assert len(values) <= 2**bits
        for value in values:
            assert value == pytest.approx(before[after == value].mean(), abs=0.02 * float(np.abs(before).max()))


def test_coded_weights_are_as_near_as_was_asked(network: Network) -> None:
    """Within a third of the noise, and with fewer numbers the more there may be."""
    counts = []
    for noise in (0.05, 0.2):
        made = coded(network, noise)
        numbers = 0
        for layer in network.layers():
            before, after = network.weights[layer.weight], made.weights[layer.weight]
            assert np.sqrt(np.mean((before - after) ** 2) / np.mean(before**2)) < 1.34 * noise
            numbers += len(np.unique(after))
        counts.append(numbers)
    assert counts[1] < counts[0]


def test_fewer_bits_say_nearly_the_same(network: Network, inputs: Floats) -> None:
    """Of 8 in weights and activations, or 16 as stored."""
    check_same(network, float16(network), inputs, 0.01)
    check_same(network, dynamic_int8(network), inputs, 0.1)
    check_same(network, static_int8(network, inputs), inputs, 0.1)
    full = count(network)
    for made in (dynamic_int8(network), static_int8(network, inputs)):
        assert count(made).multiply_adds == full.multiply_adds
        assert count(made).energy_j < full.energy_j


def test_a_head_is_the_best_linear_map_by_numpy() -> None:
    """With little shrinkage."""
    rng = np.random.default_rng(0)
    features, wanted = rng.normal(size=(500, 6)), rng.normal(size=(6, 3))
    matrix, offset = ridge(features.astype(np.float32), (features @ wanted + 2.0).astype(np.float32))
    np.testing.assert_allclose(matrix, wanted, atol=0.05)
    np.testing.assert_allclose(offset, 2.0, atol=0.05)


def test_a_pooled_head_replaces_dense_layers(inputs: Floats) -> None:
    """Of the map that is flattened; a network without one has none to replace."""
    network = dense()
    shapes = network.shapes()
    tensor = last_map(network, shapes)
    assert tensor == "both"
    made = headed(network, tensor, 1, inputs, run(network, inputs))
    assert made.outputs == network.outputs
    assert run(made, inputs).shape == (40, 4)
    assert count(made).parameters < 0.5 * count(network).parameters


def test_counts_are_those_by_hand() -> None:
    """Of the plain network."""
    found = count(dense())
    convolutions = 8 * 8 * 16 * 9 + 8 * 8 * 16 * 9 + 4 * 4 * 24 * 16 * 9 + 4 * 4 * 8 * 16
    assert found.multiply_adds == convolutions + 512 * 64 + 64 * 4
    assert found.parameters == sum(value.size for value in dense().weights.values())
    assert found.features == 16 * 64 * 2 + 24 * 16 + 8 * 16 + 32 * 16 + 64 + 4
    assert found.weight_bytes == 4 * found.parameters
