"""A key network that is fitted without training: filters found in the inputs themselves, then a projection.

Small patches are whitened and clustered; the centers, both ways, are the filters of a convolution, and its activations
are averaged over a grid (Coates, Ng and Lee, An Analysis of Single-Layer Networks in Unsupervised Feature Learning,
AISTATS 2011). Only the projection behind that knows the model's results, so that few inputs are enough. Sounds become
pictures first: their spectrograms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from likewise.inference.graphs import peeker
from likewise.tuning import filter_graph, key_file
from likewise.tuning.candidates import Candidate, Material
from likewise.tuning.distill import recipe
from likewise.tuning.filter_graph import Filters
from likewise.types import Tensor

NAME = "filters"
SIZE = 8
"""Filters are this wide and high."""
COUNT = 64
"""Filters, the same half with the other sign."""
_ROUNDS = 10
_WHITEN = 1.0
"""Added to the variance of each direction of patches, beside the mean variance."""
_THRESHOLD = 0.25
"""What an activation has to be above, beside their standard deviation."""
_BATCH = 64
_FEWEST = 100
"""Inputs to be fitted to, below which it is not tried."""
_DRAWN = 2000
"""Inputs, drawn from all, in which filters are looked for."""


def filtered(material: Material, advance: Callable[[float], None]) -> list[Candidate]:
    """Return the key network, or nothing for kinds that are no pictures and no sounds, or too few of them."""
    subject, rounds = material.subject, material.rounds
    model = subject.spec.model
    made = recipe(subject.spec.input.kind, model, material.sample) if model is not None else None
    if made is None or min(len(part.fitted) for part in rounds) < _FEWEST:
        return []
    stacked = key_file.prepared(material, made.prepare)
    front = filter_graph.front(subject.spec.input.kind, stacked.shape[1:], made.options.get("sample_rate", 0))
    look = peeker(filter_graph.pictures(front), subject.threads)
    features: list[dict[str, Tensor]] = []
    for fitted in (*(part.fitted for part in rounds), np.arange(len(stacked))):
        drawn = stacked[fitted[np.random.default_rng(0).permutation(len(fitted))[:_DRAWN]]]
        filters = found_in(look(drawn)[filter_graph.PICTURE])
        run = peeker(filter_graph.features(front, filters), subject.threads)
        numbers = []
        for at in range(0, len(stacked), _BATCH):
            numbers.append(run(stacked[at : at + _BATCH])[filter_graph.NUMBERS])
            advance(len(numbers[-1]) / (len(rounds) + 1))
        features.append({NAME: np.concatenate(numbers)})
    best = material.best_fit(features)
    if best is None:
        return []
    content = filter_graph.key(front, filters, best.whole.mean, best.whole.matrix)
    key_s = key_file.timed(content, made.prepare, best.whole.dimension, material)
    write = partial(key_file.write, NAME, content, made.options)
    return [Candidate(NAME, best.keys, key_s, material.model_s, False, write)]


def found_in(pictures: Tensor, patches: int = 20_000) -> Filters:
    """Return filters for pictures, shape (n, channels, high, wide). patches: how many of them are looked at."""
    rng = np.random.default_rng(0)
    count, channels, high, wide = pictures.shape
    size = min(SIZE, high, wide)
    which = rng.integers(count, size=patches)
    downs, rights = rng.integers(high - size + 1, size=patches), rng.integers(wide - size + 1, size=patches)
    seen = np.stack(
        [
            pictures[at, :, down : down + size, right : right + size].ravel()
            for at, down, right in zip(which, downs, rights, strict=True)
        ]
    ).astype(np.float32)
    seen -= seen.mean(axis=1, keepdims=True)  # how bright it is there says little
    spread, axes = np.linalg.eigh(seen.T @ seen / patches)
    whiten = (axes / np.sqrt(np.maximum(spread, 0) + _WHITEN * max(float(spread.mean()), 1e-12))) @ axes.T
    white = seen @ whiten
    centers = _centers(white, COUNT // 2, rng)
    weights = centers @ whiten
    weights -= weights.mean(axis=1, keepdims=True)
    threshold = _THRESHOLD * float((white @ centers.T).std())
    both = np.concatenate([weights, -weights]).reshape(-1, channels, size, size)
    return Filters(np.ascontiguousarray(both, np.float32), np.full(len(both), -threshold, np.float32))


def _centers(patches: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Return directions, shape (count, d), near each patch or its negative: k-means on the sphere, signs aside."""
    centers = _unit(patches[rng.choice(len(patches), count, replace=False)])
    for _ in range(_ROUNDS):
        likeness = patches @ centers.T
        nearest = np.abs(likeness).argmax(axis=1)
        signed = likeness[np.arange(len(patches)), nearest]
        moved = np.zeros_like(centers)
        np.add.at(moved, nearest, patches * signed[:, None])
        lost = np.linalg.norm(moved, axis=1) < 1e-6
        moved[lost] = patches[rng.integers(len(patches), size=int(lost.sum()))]
        centers = _unit(moved)
    return centers


def _unit(rows: Tensor) -> Tensor:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))
