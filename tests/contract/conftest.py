"""Fixtures that several files of contract tests use."""

from __future__ import annotations

import pytest
from quarters import make_quarters, warmed


@pytest.fixture
def quarters(tmp_path, toys):
    """The folder of a function whose model says which quarter of 16 numbers is largest."""
    return make_quarters(tmp_path / "functions")


@pytest.fixture
def warm(live, quarters):
    """A real server that has answered enough to lend tokens, and sends what was asked for alone."""
    return warmed(live(functions=quarters, lease_prefetch=0))
