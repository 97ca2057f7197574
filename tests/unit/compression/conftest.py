"""Little networks to make smaller."""

from __future__ import annotations

import networks
import numpy as np
import pytest
from small_networks import dense, residual

from likewise.compression.network import Floats, Network


@pytest.fixture(params=[residual, dense], ids=["residual", "dense"])
def network(request: pytest.FixtureRequest) -> Network:
    """Each of them."""
    found: Network = request.param()
    return found


@pytest.fixture
def inputs() -> Floats:
    """Inputs of both."""
    return np.random.default_rng(1).normal(size=(40, 1, networks.SIDE, networks.SIDE)).astype(np.float32)
