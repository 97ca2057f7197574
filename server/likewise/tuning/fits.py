"""Projections that make many numbers a short key: what is fitted to the model's results, and which serves best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from likewise.learning.lda import Projection, fit_lda
from likewise.tuning.play import hindsight
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

Labels = NDArray[np.int64]
Wide = NDArray[np.float64]
Source = TypeVar("Source")


@dataclass(frozen=True, slots=True)
class Fitted(Generic[Source]):
    """The projection that serves best."""

    source: Source
    """What numbers it is of."""
    tried: Sequence[Projection]
    """In each round: fitted to what is not played in it, and of the kind that served best in the others."""
    keys: Sequence[Keys]
    """Of what is played in each round, by these."""
    whole: Projection
    """Fitted to all."""
    score: float
    """What is played harvests in hindsight."""


def best_fit(
    features: Sequence[Mapping[Source, Keys]], labels: Labels, rounds: Sequence[Split], budgets: Sequence[float]
) -> Fitted[Source] | None:
    """Return the projection that serves best in hindsight, and of what; None where nothing tells results apart.

    features: in each round, and last to be fitted to all: shape (n, numbers) each, for all requests.

    The kind is chosen by all rounds. What is played in a round is made by the kind that was best in the others (Stone,
    Cross-Validatory Choice and Assessment of Statistical Predictions, 1974), so that many kinds to choose from do not
    look better than a few do.
    """
    scores: dict[tuple[Source, str], list[float]] = {}
    tried: list[dict[tuple[Source, str], Projection]] = []
    for part, sources in zip(rounds, features, strict=False):
        tried.append({})
        judged = part.played[:_JUDGED]
        for source, numbers in sources.items():
            for name, projection in projections(numbers[part.fitted], labels[part.fitted]).items():
                tried[-1][source, name] = projection
                score = hindsight(projection.many(numbers[judged]), labels[judged], budgets)
                scores.setdefault((source, name), []).append(score)
    table = {kind: np.array(each) for kind, each in scores.items() if len(each) == len(rounds)}
    if not table:
        return None
    best = [max(table, key=lambda kind: _mean_without(table[kind], at)) for at in range(len(rounds))]
    source, name = max(table, key=lambda kind: float(table[kind].mean()))
    whole = projections(features[-1][source], labels).get(name)
    if whole is None:
        return None
    chosen = [each[kind] for each, kind in zip(tried, best, strict=True)]
    keys = [
        projection.many(sources[kind[0]][part.played])
        for projection, kind, part, sources in zip(chosen, best, rounds, features, strict=False)
    ]
    score = float(np.mean([table[kind][at] for at, kind in enumerate(best)]))
    return Fitted(source, chosen, keys, whole, score)


def _mean_without(scores: NDArray[np.float64], at: int) -> float:
    """Return the mean of all scores but one; of the only one where there are no others."""
    return float(np.delete(scores, at).mean() if len(scores) > 1 else scores.mean())


def projections(numbers: Keys, labels: Labels) -> dict[str, Projection]:
    """Return what may make numbers short, by what it is called; nothing where they are all the same.

    Principal axes know nothing of the results. Discriminants are few where results are few, and know nothing of
    what they were not fitted on; so there are also both, one behind the other.
    """
    mean = numbers.mean(axis=0)
    centered = (numbers - mean).astype(np.float64)
    if len(centered) >= centered.shape[1]:
        return {name: Projection(mean, matrix) for name, matrix in _matrices(centered, labels, SHRINKAGE).items()}
    # fewer rows than numbers: all that is learned lies in the space of the rows, which is smaller
    spread, axes = np.linalg.eigh(centered @ centered.T)
    kept = spread > 1e-9 * max(float(spread[-1]), 1e-12)
    basis = centered.T @ (axes[:, kept] / np.sqrt(spread[kept]))
    # the mean variance, which covariances are shrunk to, is that of all numbers
    ratio = SHRINKAGE / (1 - SHRINKAGE) * basis.shape[1] / len(basis)
    found = _matrices(centered @ basis, labels, ratio / (1 + ratio), basis.shape[1] / len(basis))
    return {name: Projection(mean, np.ascontiguousarray(basis @ m, np.float32)) for name, m in found.items()}


def _matrices(centered: Wide, labels: Labels, shrinkage: float, share: float = 1.0) -> dict[str, Tensor]:
    """Return the matrices of `projections`. share: of the mean variance, by which discriminants are regularized."""
    moments = centered.T @ centered / len(centered)
    if not float(np.trace(moments)) > 0:
        return {}
    plain = _scaled(_principal(moments), moments)
    found = {"principal axes": plain}
    often = _often(labels)
    alike = np.isin(labels, often)
    if len(often) < 2:
        return found
    for ridge in RIDGES:
        telling = _scaled(_discriminants(centered, moments, labels, often, ridge * share), moments)
        found[f"discriminants, {ridge}"] = telling
        found[f"both, {ridge}"] = np.ascontiguousarray(np.hstack([plain, telling * np.float32(WEIGHT)]))
    normalized = fit_lda(centered[alike].astype(np.float32), labels[alike], dimension=DIMENSION, shrinkage=shrinkage)
    if normalized is not None:
        found["whitened discriminants"] = normalized.matrix
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
