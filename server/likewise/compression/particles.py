"""Importance of kernels by a particle filter: which of them are kept by those of many random masks that do well.

Each particle is a mask over all kernels; its likelihood is how near the network, masked so, stays to what it said.
Particles are drawn anew by that and changed a little, a few times. Source: Anwar, Hwang, Sung, Structured Pruning of
Deep Convolutional Neural Networks, JETC 2017, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from likewise.compression.examples import Examples, Task, scores
from likewise.compression.heads import run
from likewise.compression.network import Floats, Network
from likewise.compression.pruning import Importance

PARTICLES, ROUNDS, INPUTS = 16, 3, 48
MASKED = 0.15
"""Share of the kernels that a particle is without."""
CHANGED = 0.03
"""Share of the kernels of which a particle changes its mind each round."""
SHARPNESS = 3.0


def particle_importance(network: Network, task: Task, seed: int = 0) -> Importance:
    """Return the importance of each weight: its square, times the share of good particles that keep its kernel."""
    rng = np.random.default_rng(seed)
    layers = network.layers()
    sample = task.fitted.spread(INPUTS)
    shapes = {layer.weight: network.weights[layer.weight].shape[: 2 if layer.kind == "conv" else 1] for layer in layers}
    particles = [{name: rng.random(shape) >= MASKED for name, shape in shapes.items()} for _ in range(PARTICLES)]
    kept = {name: np.zeros(shape) for name, shape in shapes.items()}
    total = 0.0
    for _ in range(ROUNDS):
        likelihoods = np.array([_likelihood(network, mask, task, sample) for mask in particles])
        weights = np.exp(SHARPNESS * (likelihoods - likelihoods.max()) / max(float(likelihoods.std()), 1e-6))
        weights /= weights.sum()
        for mask, weight in zip(particles, weights, strict=True):
            for name in kept:
                kept[name] += weight * mask[name]
        total += 1.0
        drawn = rng.choice(PARTICLES, PARTICLES, p=weights)
        particles = [
            {name: np.where(rng.random(each.shape) < CHANGED, rng.random(each.shape) >= MASKED, each)
             for name, each in particles[at].items()}
            for at in drawn
        ]  # fmt: skip
    found: dict[str, Floats] = {}
    for layer in layers:
        weight = np.square(network.weights[layer.weight])
        share = (kept[layer.weight] / total).reshape(
            *shapes[layer.weight], *[1] * (weight.ndim - kept[layer.weight].ndim)
        )
        found[layer.weight] = (weight / max(float(weight.mean()), 1e-30) * share).astype(np.float32)
    return found


def _likelihood(network: Network, mask: Mapping[str, NDArray[np.bool_]], task: Task, sample: Examples) -> float:
    masked = network.copy()
    for name, kept in mask.items():
        weight = masked.weights[name]
        masked.weights[name] = weight * kept.reshape(*kept.shape, *[1] * (weight.ndim - kept.ndim)).astype(np.float32)
    said = run(masked, sample.tensors)
    wanted = scores(sample.outputs[0]) if task.labelled else sample.outputs[0].reshape(len(sample), -1)
    if task.labelled:
        said = scores(said)
    return -float(np.mean(np.square(said - wanted)))
