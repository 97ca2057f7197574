"""Weights that share few numbers: k-means, and the same where each number also pays for its code.

A network's weights become indices into a codebook of each layer, which Huffman codes make short (`packing.py`).
Sources: Han, Mao, Dally, Deep Compression, ICLR 2016, section 3; Choi, El-Khamy, Lee, Towards the Limit of Network
Quantization, ICLR 2017, section 4 (entropy-constrained scalar quantization).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from likewise.compression.network import Floats, Network

BINS = 1 << 13
"""Weights are clustered by a histogram of so many bins."""
ROUNDS = 40
MOST_CODES = 255
"""Numbers of a codebook, beside zero."""

Doubles = NDArray[np.float64]


def shared(network: Network, bits: int) -> Network:
    """Return the network with at most 2 ** bits different numbers in each layer; zeros stay zeros.

    The clusters begin evenly spaced between the least and the largest weight.
    """
    return _replaced(network, lambda values, _: _clustered(values, _even(values, 2**bits), 0.0))


def coded(network: Network, noise: float) -> Network:
    """Return the network with numbers that few bits tell, at so much noise.

    noise: root mean square error of the largest layer's weights, of their own root mean square; a smaller layer has
    less by the square root of its share, so that each bit buys as much everywhere. What a number costs in bits is
    weighed against its error at the slope of the bound for that noise: 2 ln 2 times the mean square error a bit.
    """
    largest = max((network.weights[layer.weight].size for layer in network.layers()), default=1)

    def codebook(values: Floats, size: int) -> Floats:
        own = noise * math.sqrt(size / largest)
        scale = float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
        step = own * scale * math.sqrt(12.0)
        span = float(values.max() - values.min())
        if step <= 0 or not span:
            return values
        count = min(MOST_CODES, math.ceil(span / step) + 1)
        # on a grid through zero: most weights are near it
        low = math.floor(float(values.min()) / step)
        begin = (np.arange(count) + low) * step if count < MOST_CODES else _even(values, MOST_CODES)
        return _clustered(values, begin.astype(np.float64), 2 * math.log(2) * (own * scale) ** 2)

    return _replaced(network, codebook, zeros=False)


def _replaced(network: Network, change: Callable[[Floats, int], Floats], *, zeros: bool = True) -> Network:
    found = network.copy()
    for layer in found.layers():
        weight = found.weights[layer.weight]
        kept = weight != 0 if zeros or (weight == 0).mean() > 0.2 else np.ones(weight.shape, bool)
        if kept.any():
            made = np.zeros_like(weight)
            made[kept] = change(weight[kept], weight.size)
            found.weights[layer.weight] = made
    return found


def _even(values: Floats, count: int) -> Doubles:
    return np.linspace(float(values.min()), float(values.max()), count)


def _clustered(values: Floats, begin: Doubles, price: float) -> Floats:
    """Return each value as the number of its cluster.

    begin: the clusters' numbers at the start. price: what a bit of a number's code costs, as a squared error.
    """
    unique = np.unique(values)
    if len(unique) <= len(begin) and not price:
        return values
    edges = np.linspace(float(unique[0]), float(unique[-1]), BINS + 1)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS).astype(np.float64)
    sums = np.bincount(place, weights=values.astype(np.float64), minlength=BINS)
    filled = counts > 0
    counts, means = counts[filled], sums[filled] / counts[filled]
    centers = np.unique(begin)
    bits = np.zeros(len(centers))
    for _ in range(ROUNDS):
        owner = _owners(means, centers, price * bits)
        weight = np.bincount(owner, counts, len(centers))
        total = np.bincount(owner, counts * means, len(centers))
        used = weight > 0
        moved = total[used] / weight[used]
        bits = -np.log2(weight[used] / weight.sum())
        if len(moved) == len(centers) and np.allclose(moved, centers, rtol=1e-6, atol=0):
            break
        centers = moved
    return centers[_owners(values.astype(np.float64), centers, price * bits)].astype(np.float32)


def _owners(values: Doubles, centers: Doubles, costs: Doubles) -> NDArray[np.int64]:
    """Return which center each value goes to: the least squared distance and cost together."""
    found = np.empty(len(values), np.int64)
    for begin in range(0, len(values), 1 << 15):
        part = values[begin : begin + (1 << 15), None]
        found[begin : begin + (1 << 15)] = np.argmin(np.square(part - centers) + costs, axis=1)
    return found
