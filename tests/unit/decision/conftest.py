"""A small world of two clusters, for policies to learn."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from likewise.types import Neighbors

World = Callable[[], tuple[Neighbors, int]]


@pytest.fixture
def world() -> World:
    """Return a source of (neighbors, truth): easy requests are near and unanimous, hard ones far and mixed."""
    own = random.Random(5)

    def draw() -> tuple[Neighbors, int]:
        easy = own.random() < 0.7
        spread = 0.1 if easy else 0.6
        distances = sorted(spread * (0.5 + own.random()) for _ in range(10))
        label = own.randrange(3)
        labels = [label if own.random() < (1.0 if easy else 0.6) else own.randrange(3) for _ in range(10)]
        truth = label if easy and own.random() < 0.995 else labels[0] if own.random() < 0.6 else own.randrange(3)
        return Neighbors(distances, labels, list(range(10))), truth

    return draw


@pytest.fixture
def near() -> Neighbors:
    """Return ten unanimous neighbors, the nearest very near."""
    return Neighbors([0.01, *[0.5] * 9], [7] * 10, list(range(10)))
