"""What tests of single indexes share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _coded_among_few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lists of keys in 8 bits be tried among few keys, in tests that are about them."""
    if "ivf-sq8" in request.node.name:
        monkeypatch.setattr("likewise.index.contenders.CODED_FROM", 0)
