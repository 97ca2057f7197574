"""A small stream that stands for a workload."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.evaluation.streams import Stream


@pytest.fixture
def stream() -> Stream:
    """Return 600 requests from 12 well separated clusters on the unit sphere."""
    rng = np.random.default_rng(3)
    centers = rng.normal(size=(12, 16))
    labels = rng.integers(12, size=600)
    keys = centers[labels] + 0.15 * rng.normal(size=(600, 16))
    keys = (keys / np.linalg.norm(keys, axis=1, keepdims=True)).astype(np.float32)
    return Stream("clusters", 0, keys, labels.tolist(), [0] * len(labels), 10)
