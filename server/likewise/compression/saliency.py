"""Which channels are worth least, by what the layers behind them would miss, and a network without those.

A channel's worth is the mean square of what it adds to the layers that read it, as a share of what all its group adds.
Its mean goes into their offsets when it is taken out. Sources: Molchanov et al., Pruning Convolutional Neural Networks,
ICLR 2017; He, Zhang, Sun, Channel Pruning, ICCV 2017 (what is missed is measured where it is read).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from likewise.compression.channels import Channels, Group, Use, without
from likewise.compression.counts import count
from likewise.compression.network import Network
from likewise.compression.pruning import Importance
from likewise.inference.graphs import peeker
from likewise.types import Tensor

Doubles = NDArray[np.float64]
STEP = 8
"""Channels of a larger group are kept in such numbers: vector units compute so many at once."""
INPUTS = 96
_HALVINGS = 14


def channel_pruned(network: Network, share: float, inputs: Tensor, importance: Importance | None = None) -> Network:
    """Return the network with the least channels out, with that share of its multiply-adds left, or somewhat less.

    inputs: shape (n, ...), by which channels are weighed. With share 1 nothing changes. importance: weighs them by the
    sum of their filters' instead.
    """
    groups = [group for group in Channels(network).groups() if group.used_by]
    if share >= 1 or not groups:
        return network.copy()
    means, squares = moments(network, [use.layer.input for group in groups for use in group.used_by], inputs)
    if importance is None:
        worths = [worth(network, group, squares) for group in groups]
    else:
        worths = [filters_worth(group, importance) for group in groups]
    goal = share * count(network).multiply_adds
    low, high = 0.0, max(float(each.max()) for each in worths)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if count(without(network, _kept(groups, worths, middle))).multiply_adds > goal:
            low = middle
        else:
            high = middle
    kept = _kept(groups, worths, high)
    return without(_compensated(network, kept, means), kept)


def moments(network: Network, tensors: Sequence[str], inputs: Tensor) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
    """Return by tensor the mean, and the mean square, of each of its channels (axis 1)."""
    looked = network.copy()
    del looked.model.graph.output[:]
    for name in dict.fromkeys(tensors):
        if name == network.input:
            continue
        info = onnx.ValueInfoProto()
        info.name = name
        looked.model.graph.output.append(info)
    looked.outputs = [each.name for each in looked.model.graph.output]
    run = peeker(looked.to_bytes())
    means: dict[str, list[Doubles]] = {}
    squares: dict[str, list[Doubles]] = {}
    for one in inputs[:: max(1, len(inputs) // INPUTS)]:
        for name, value in run(one[None]).items():
            flat = value.reshape(value.shape[1], -1).astype(np.float64)
            means.setdefault(name, []).append(flat.mean(1))
            squares.setdefault(name, []).append(np.square(flat).mean(1))
    return (
        {name: np.mean(each, axis=0) for name, each in means.items()},
        {name: np.mean(each, axis=0) for name, each in squares.items()},
    )


def worth(network: Network, group: Group, squares: dict[str, Doubles]) -> Doubles:
    """Return what each channel of a group adds to those that read it, as a share, summed over those."""
    found = np.zeros(group.size)
    for use in group.used_by:
        matrix = np.square(network.matrix(use.layer).astype(np.float64)).sum(0)
        inputs = squares[use.layer.input]
        energy = (matrix.reshape(len(inputs), -1).sum(1) * inputs)[use.begin : use.begin + group.size * use.spread]
        each = energy.reshape(group.size, use.spread).sum(1)
        found += each / max(float(each.sum()), 1e-30)
    return found


def filters_worth(group: Group, importance: Importance) -> Doubles:
    """Return the importance of the filters that make each channel of a group, as a share."""
    found = np.zeros(group.size)
    for layer in group.made_by:
        worth_of = importance[layer.weight].astype(np.float64)
        each = worth_of.reshape(group.size, -1) if layer.kind == "conv" or len(worth_of) == group.size else worth_of.T
        sums = each.sum(1)
        found += sums / max(float(sums.sum()), 1e-30)
    return found


def _kept(groups: Sequence[Group], worths: Sequence[Doubles], bar: float) -> list[tuple[Group, NDArray[np.int64]]]:
    found = []
    for group, values in zip(groups, worths, strict=True):
        step = STEP if group.size >= 2 * STEP else 1
        least = max(1, -(-int((values > bar).sum()) // step) * step)
        count_kept = min(group.size, max(least, step))
        found.append((group, np.sort(np.argsort(-values, kind="stable")[:count_kept])))
    return found


def _compensated(
    network: Network, kept: Sequence[tuple[Group, NDArray[np.int64]]], means: dict[str, Doubles]
) -> Network:
    """Return the network with what channels add in the mean in the offsets of the layers that read them."""
    found = network.copy()
    for group, chosen in kept:
        gone = np.ones(group.size, bool)
        gone[chosen] = False
        if gone.any():
            for use in group.used_by:
                _offset(found, use, gone, means[use.layer.input])
    return found


def _offset(network: Network, use: Use, gone: NDArray[np.bool_], means: Doubles) -> None:
    if not use.layer.bias:
        return
    matrix = network.matrix(use.layer).astype(np.float64)
    by_input = matrix.reshape(len(matrix), len(means), -1).sum(2)
    end = use.begin + len(gone) * use.spread
    mask = np.repeat(gone, use.spread)
    added = by_input[:, use.begin : end] @ (means[use.begin : end] * mask)
    network.weights[use.layer.bias] = (network.weights[use.layer.bias] + added).astype(np.float32)
