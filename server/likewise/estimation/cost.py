"""Time of a layer from its features: amounts of work at measured rates, corrected by what was measured near it.

A kind's rates are fitted by least squares of relative errors, none below zero. What its measured points lie off is
interpolated between them in the space of logarithms of shapes, and fades with the distance (simple kriging with an
exponential covariance). A kind without points of its own takes the rates of its group.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.estimation.features import TERMS, Features

Doubles = NDArray[np.float64]
REACH = 3.0
"""Distance, in doublings, over which a measured point's correction falls to 1/e."""
NUGGET = 0.05
"""Share of the points' variance that is noise."""
FEW = 4
"""Points below which a kind is told by its group."""
LEAST_US = 0.2


@dataclass(slots=True)
class Kind:
    """One kind's rates and measured points."""

    rates: list[float]
    """µs per unit of each term."""
    points: list[list[float]] = field(default_factory=list)
    """Shapes that were measured."""
    off: list[float] = field(default_factory=list)
    """By point: logarithm of measured by rated time."""
    _weights: Doubles | None = None

    def predict(self, features: Features) -> float:
        """Return µs."""
        rated = max(LEAST_US, sum(rate * term for rate, term in zip(self.rates, features.terms, strict=True)))
        if not self.points or len(self.points[0]) != len(features.shape):
            return rated
        points = np.asarray(self.points, np.float64)
        if self._weights is None:
            spread = _covariance(points, points) + NUGGET * np.eye(len(points))
            self._weights = np.asarray(np.linalg.solve(spread, np.asarray(self.off, np.float64)), np.float64)
        near = _covariance(np.asarray([features.shape], np.float64), points)[0]
        return rated * math.exp(float(np.clip(near @ self._weights, -2.0, 2.0)))


def _covariance(left: Doubles, right: Doubles) -> Doubles:
    away = np.sqrt(((left[:, None] - right[None]) ** 2).sum(-1))
    return np.asarray(np.exp(-away / REACH), np.float64)


@dataclass(slots=True)
class Costs:
    """All kinds of one machine."""

    kinds: dict[str, Kind]
    groups: dict[str, Kind]

    def microseconds(self, features: Features) -> float:
        """Return the time of a layer."""
        kind = self.kinds.get(features.kind) or self.groups.get(features.group) or self.groups["numbers"]
        return kind.predict(features)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""

        def one(kind: Kind) -> dict[str, Any]:
            points = [[round(x, 3) for x in point] for point in kind.points]
            return {"rates": kind.rates, "points": points, "off": [round(x, 4) for x in kind.off]}

        return {
            "kinds": {name: one(each) for name, each in sorted(self.kinds.items())},
            "groups": {name: one(each) for name, each in sorted(self.groups.items())},
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Costs:
        """Return what a document holds. Raises KeyError, TypeError or ValueError for one that is none."""

        def one(found: Mapping[str, Any]) -> Kind:
            rates = [float(each) for each in found["rates"]]
            points = [[float(x) for x in point] for point in found.get("points", [])]
            off = [float(each) for each in found.get("off", [])]
            numbers = [*rates, *off, *(x for point in points for x in point)]
            if len(rates) != TERMS or len(points) != len(off) or len({*map(len, points)}) > 1:
                raise ValueError("rates and points do not fit each other")
            if not all(map(math.isfinite, numbers)) or min(rates) < 0 or len(points) > 10_000:
                raise ValueError("numbers are out of range")
            return Kind(rates, points, off)

        found = cls(*({str(k): one(v) for k, v in document[part].items()} for part in ("kinds", "groups")))
        if "numbers" not in found.groups:
            raise ValueError("there is no group `numbers`, which all others fall back to")
        return found


def fit(samples: Iterable[tuple[Features, float]]) -> Costs:
    """Return the costs of a machine from layers and their µs."""
    by_kind: dict[str, list[tuple[Features, float]]] = defaultdict(list)
    by_group: dict[str, list[tuple[Features, float]]] = defaultdict(list)
    for features, us in samples:
        by_kind[features.kind].append((features, us))
        by_group[features.group].append((features, us))
    return Costs(
        {name: _fit(each, True) for name, each in by_kind.items() if len(each) >= FEW},
        {name: _fit(each, False) for name, each in by_group.items()},
    )


def _fit(samples: Sequence[tuple[Features, float]], points: bool) -> Kind:
    times = np.array([max(us, LEAST_US) for _, us in samples])
    terms = np.array([features.terms for features, _ in samples], np.float64)
    rates = non_negative(terms / times[:, None], np.ones(len(times)))
    kind = Kind([float(f"{each:.6g}") for each in rates])
    if points:
        rated = np.maximum(terms @ np.array(kind.rates), LEAST_US)
        kind.points = [list(features.shape) for features, _ in samples]
        kind.off = [float(each) for each in np.log(times / rated)]
        if not kind.points[0]:
            kind.points, kind.off = [], []
    return kind


def non_negative(matrix: Doubles, wanted: Doubles, rounds: int = 400) -> Doubles:
    """Return x ≥ 0 with the least |matrix x - wanted|², by coordinate descent."""
    scale = np.sqrt((matrix**2).sum(0))
    scale[scale == 0] = 1.0
    scaled = matrix / scale
    gram, right = scaled.T @ scaled, scaled.T @ wanted
    found = np.zeros(matrix.shape[1])
    for _ in range(rounds):
        for at in range(len(found)):
            if gram[at, at] > 0:
                found[at] = max(0.0, found[at] + (right[at] - gram[at] @ found) / gram[at, at])
    return np.asarray(found / scale, np.float64)
