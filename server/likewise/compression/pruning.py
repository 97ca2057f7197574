"""Weights set to zero: one by one, by kernels, or by places within kernels.

Zeros cost next to nothing in a packed file. Importance says which go first: the squares of the weights, or what the
loss gains by them to the second order, ½·h·w². Sources: LeCun, Denker, Solla, Optimal Brain Damage, NIPS 1989; Han et
al., Learning both Weights and Connections, NIPS 2015; Anwar, Hwang, Sung, Structured Pruning of Deep Convolutional
Neural Networks, JETC 2017 (channel, kernel and intra-kernel strided sparsity).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from likewise.compression.network import Floats, Network

Scale = Literal["weight", "kernel", "stride"]
Importance = Mapping[str, Floats]
"""By weight: how much each number matters, of the weight's shape."""

GENTLE = 0.5
"""A layer with few weights, such as the first, is pruned by at most this share: it has nothing to spare."""
FEW = 4096


def magnitude(network: Network) -> Importance:
    """Return the squares of the weights, each layer's by its own mean: layers differ in scale."""
    found = {}
    for layer in network.layers():
        squares = np.square(network.weights[layer.weight])
        found[layer.weight] = (squares / max(float(squares.mean()), 1e-30)).astype(np.float32)
    return found


def pruned(network: Network, share: float, importance: Importance, scale: Scale = "weight") -> Network:
    """Return the network with that share of the numbers of its layers at zero, the least important ones.

    The bar is one for all layers; but the last, which has an output for each result, loses half of that share at most.
    Kernels (`kernel`: all places between one input and one output) and strides (`stride`: places of a kernel that lie
    on every third, alike for all outputs of an input) go as a whole; dense layers go weight by weight.
    """
    found = network.copy()
    layers = found.layers()
    means = {}
    for layer in layers:
        worth = importance[layer.weight]
        if scale == "kernel" and layer.kind == "conv":
            worth = np.broadcast_to(worth.mean((2, 3), keepdims=True), worth.shape)
        elif scale == "stride" and layer.kind == "conv":
            worth = _strides(worth)
        means[layer.weight] = worth
    if not layers or share <= 0:
        return found
    # one bar for all, but for kernels, whose means differ less than single weights do
    bars = {}
    for kind in ("conv", "dense"):
        parts = [means[layer.weight].ravel() for layer in layers if scale == "weight" or layer.kind == kind]
        bars[kind] = _bar(parts, share) if parts else 0.0
    for layer in layers:
        worth = means[layer.weight]
        limit = GENTLE * share if layer is layers[-1] or worth.size <= FEW else 1.0
        bar = bars[layer.kind]
        own = min(bar, float(np.quantile(worth, limit))) if limit < 1 else bar
        found.weights[layer.weight] = np.where(worth < own, np.float32(0), found.weights[layer.weight])
    return found


def _bar(parts: list[Floats], share: float) -> float:
    every = np.concatenate(parts)
    at = min(len(every) - 1, round(share * len(every)))
    return float(np.partition(every, at)[at])


def _strides(worth: Floats) -> Floats:
    """Return the mean importance of each third of the places of a kernel, over all outputs of an input."""
    outputs, inputs, high, wide = worth.shape
    if high * wide < 3:
        return worth
    places = worth.reshape(outputs, inputs, high * wide).mean(0)
    found = np.empty_like(places)
    for offset in range(3):
        found[:, offset::3] = places[:, offset::3].mean(1, keepdims=True)
    return np.broadcast_to(found.reshape(1, inputs, high, wide), worth.shape)
