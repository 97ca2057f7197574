"""Projections that make many numbers a short key: what is fitted to the model's results, and which serves best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from likewise.learning.lda import Projection, fit_lda
from likewise.tuning.play import Judge, hindsight
from likewise.tuning.split import Split
from likewise.types import Keys, Tensor

DIMENSION = 48
"""Most numbers of each part of a key: what tells results apart, and what varies most."""
RIDGES = (0.01, 0.1)
"""Of discriminants, as shares of the mean variance."""
SHRINKAGE = 0.1
"""Of whitened ones; see `fit_lda`."""
WEIGHT = 0.7
"""Length of discriminants in the mean, beside principal axes of length 1."""
_MOST_LABELS = 512
_JUDGED = 2000
"""Requests by which projections are compared; the comparison takes their square."""
_SHORT_LIST = 3
"""Projections that are played, of those that look best in hindsight."""

Labels = NDArray[np.int64]
Wide = NDArray[np.float64]
Source = TypeVar("Source")


@dataclass(frozen=True, slots=True)
class Fitted(Generic[Source]):
    """The projection that serves best."""

    source: Source
    """What numbers it is of."""
    tried: Projection
    """Fitted on a part of the requests, to be played on the others."""
    whole: Projection
    """Fitted on all."""


def best_fit(features: Mapping[Source, Keys], labels: Labels, parts: Split, judge: Judge) -> Fitted[Source] | None:
    """Return the projection with which the most is harvested, and of what; None where nothing tells results apart.

    features: shape (n, numbers) each, for all requests. The best few in hindsight are played.
    """
    judged = parts.played[:_JUDGED]
    tried: list[tuple[float, Source, str, Projection, Keys]] = []
    for source, numbers in features.items():
        wide = np.asarray(numbers, np.float32)
        for name, projection in projections(wide[parts.fitted], labels[parts.fitted]).items():
            keys = projection.many(wide[judged])
            tried.append((hindsight(keys, labels[judged], judge.budgets), source, name, projection, keys))
    if not tried:
        return None
    tried.sort(key=lambda each: -each[0])
    harvests = [judge.harvest(keys, judged) for *_, keys in tried[:_SHORT_LIST]]
    _, source, name, projection, _ = tried[int(np.argmax(harvests))]
    whole = projections(np.asarray(features[source], np.float32), labels).get(name)
    return None if whole is None else Fitted(source, projection, whole)


def projections(numbers: Keys, labels: Labels) -> dict[str, Projection]:
    """Return what may make numbers short, by what it is called; nothing where they are all the same.

    Principal axes know nothing of the results. Discriminants are few where results are few, and know nothing of
    what they were not fitted on; so there are also both, one behind the other.
    """
    mean = numbers.mean(axis=0)
    centered = (numbers - mean).astype(np.float64)
    moments = centered.T @ centered / len(centered)
    if not float(np.trace(moments)) > 0:
        return {}
    plain = _scaled(_principal(moments), moments)
    found = {"principal axes": Projection(mean, plain)}
    often = _often(labels)
    alike = np.isin(labels, often)
    if len(often) < 2:
        return found
    for ridge in RIDGES:
        telling = _scaled(_discriminants(centered, moments, labels, often, ridge), moments)
        found[f"discriminants, {ridge}"] = Projection(mean, telling)
        both = np.ascontiguousarray(np.hstack([plain, telling * np.float32(WEIGHT)]))
        found[f"both, {ridge}"] = Projection(mean, both)
    normalized = fit_lda(numbers[alike], labels[alike], dimension=DIMENSION, shrinkage=SHRINKAGE)
    if normalized is not None:
        found["whitened discriminants"] = normalized
    return found


def _principal(moments: Wide) -> Wide:
    """Return the axes of most variance, in columns."""
    spread, axes = np.linalg.eigh(moments)  # ascending
    kept = min(DIMENSION, int(np.count_nonzero(spread > 1e-9 * float(spread[-1]))))
    return np.asarray(axes[:, -kept:])


def _often(labels: Labels) -> Labels:
    """Return the labels that came twice or more, the most frequent of them."""
    ids, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MOST_LABELS]
    return np.asarray(ids[order][counts[order] > 1])


def _discriminants(centered: Wide, moments: Wide, labels: Labels, often: Labels, ridge: float) -> Wide:
    """Return the least-squares fit of some labels' indicators, ridge-regularized (Hoerl and Kennard, 1970), in columns.

    They are linear discriminants, each weighted by how well it tells labels apart (Hastie, Buja and Tibshirani,
    Penalized Discriminant Analysis, 1995), so that what tells little adds little noise.
    """
    sums = np.stack([centered[labels == label].sum(axis=0) for label in often], axis=1)
    level = float(np.trace(moments)) / len(moments)
    matrix = np.linalg.solve(moments + ridge * level * np.eye(len(moments)), sums / len(centered))
    spread, axes = np.linalg.eigh(matrix.T @ moments @ matrix)  # ascending, of the fitted indicators
    kept = min(DIMENSION, int(np.count_nonzero(spread > 1e-9 * float(spread[-1]))))
    return np.asarray(matrix @ axes[:, -max(1, kept) :])


def _scaled(axes: Wide, moments: Wide) -> Tensor:
    """Return axes at such a length that the mean square of a key is 1."""
    size = float(np.sqrt(np.einsum("ij,ij->", axes, moments @ axes)))
    return np.ascontiguousarray(axes / max(size, 1e-12), np.float32)
