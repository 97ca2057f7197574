"""What full computations said of would-be answers: a ring of the last ones, and the weights that fit them."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Evidence = tuple[float, float, float, float, float, float]
"""Six numbers, the first of them 1, that speak for or against an answer; the module that weighs them says which."""

WIDTH = 6
CHECKED = 1024
"""Would-be answers in the ring."""


class Checks:
    """The last would-be answers that were checked; the first rows of each array, as many as `len`, are filled.

    What comes is put aside first, and only `absorb` moves it into the ring, which no request waits for.
    """

    __slots__ = ("_at", "_evidence", "_fresh", "_pi", "_wrong", "seen")

    def __init__(self) -> None:
        self._evidence = np.zeros((CHECKED, WIDTH))
        self._wrong = np.zeros(CHECKED)
        self._pi = np.ones(CHECKED)
        self._at = np.zeros(CHECKED)
        self.seen = 0
        """Absorbed so far."""
        self._fresh: list[tuple[Evidence, bool, float, int]] = []

    def __len__(self) -> int:
        """Return how many are in the ring."""
        return min(self.seen, CHECKED)

    @property
    def samples(self) -> int:
        """All that came so far."""
        return self.seen + len(self._fresh)

    @property
    def evidence(self) -> Floats:
        """What was seen, shape (len, 6)."""
        return self._evidence[: len(self)]

    @property
    def wrong(self) -> Floats:
        """1 where the would-be answer was wrong, else 0."""
        return self._wrong[: len(self)]

    @property
    def probability(self) -> Floats:
        """With which each was checked, in (0, 1]."""
        return self._pi[: len(self)]

    @property
    def at(self) -> Floats:
        """When each was checked, by the clock of requests."""
        return self._at[: len(self)]

    def add(self, evidence: Evidence, wrong: bool, probability: float, clock: int) -> None:
        """Remember a check, made with that probability."""
        self._fresh.append((evidence, wrong, probability, clock))

    def absorb(self) -> None:
        """Move what came since the last time into the ring."""
        self.seen += max(0, len(self._fresh) - CHECKED)
        for evidence, wrong, probability, at in self._fresh[-CHECKED:]:
            position = self.seen % CHECKED
            self._evidence[position] = evidence
            self._wrong[position] = wrong
            self._pi[position] = probability
            self._at[position] = at
            self.seen += 1
        self._fresh.clear()

    def importance(self, decay: Floats) -> Floats:
        """Return what each counts in a fit: by its age, and more where such checks were rare."""
        weight: Floats = decay * np.minimum(self.probability**-0.5, 10.0)
        return weight

    def packed(self, since: int = 0) -> str:
        """Return the ring as text; its times count from `since`."""
        return pack(np.column_stack([self.evidence, self.wrong, self.probability, self.at - since]))

    def restore(self, seen: int, table: Floats, since: int = 0) -> None:
        """Take over what `table_of` returned."""
        self.seen = seen
        self._fresh.clear()
        count = len(table)
        self._evidence[:count], self._wrong[:count] = table[:, :WIDTH], table[:, WIDTH]
        self._pi[:count], self._at[:count] = table[:, WIDTH + 1], table[:, WIDTH + 2] + since


def table_of(text: str, seen: int) -> Floats:
    """Return what a text of `Checks.packed` holds. Raises ValueError where that is none, or of another length."""
    table = unpack(text, WIDTH + 3)
    if len(table) != min(seen, CHECKED):
        raise ValueError("a ring of another length than its count says")
    return table


def fitted(
    weights: Evidence, prior: Sequence[float], pull: Floats, checks: Checks, importance: Floats
) -> tuple[float, ...]:
    """Return weights after two Newton steps of a logistic regression drawn to a prior, none longer than 2.

    pull: precision of each prior weight. importance: what each check counts.
    """
    evidence, correct = checks.evidence, 1.0 - checks.wrong
    found, center = np.array(weights), np.array(prior)
    for _ in range(2):
        right = 1.0 / (1.0 + np.exp(-np.clip(evidence @ found, -30.0, 30.0)))
        gradient = evidence.T @ (importance * (right - correct)) + pull * (found - center)
        curvature = (evidence * (importance * right * (1.0 - right))[:, None]).T @ evidence
        curvature[np.diag_indices(WIDTH)] += pull
        step = np.linalg.solve(curvature, gradient)
        length = math.sqrt(float(step @ step))
        found -= step if length <= 2.0 else step * (2.0 / length)
    return tuple(found.tolist())


def error_probability(confidence: Floats) -> Floats:
    """Return the probability of being wrong at these log-odds of being right."""
    wrong: Floats = 1.0 / (1.0 + np.exp(np.clip(confidence, -15.0, 15.0)))
    return wrong


def pack(table: Floats) -> str:
    """Return a table as base64 of little-endian float32."""
    return base64.b64encode(np.ascontiguousarray(table, dtype="<f4").tobytes()).decode("ascii")


def unpack(text: str, width: int) -> Floats:
    """Return what `pack` was given. Raises ValueError where it is none, or not all of it is finite."""
    numbers = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float64)
    table = numbers.reshape(-1, width)
    if not np.isfinite(table).all():
        raise ValueError("a ring has numbers that are not finite")
    return table
