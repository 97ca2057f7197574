"""docs/gallery.md has the commands and specs that tests/gallery tries."""

from __future__ import annotations

import pytest
from gallery_models import DOCUMENT, MODELS, documented

from likewise.function.spec_text import parse_toml


def test_every_model_has_its_section():
    """With the very arguments that are tried."""
    found = documented()
    assert set(found) == set(MODELS)
    for name, model in MODELS.items():
        assert found[name][0] == [f"{model.package}/{model.file}", *model.arguments]
        assert f"\n| [{name}](#" in DOCUMENT.read_text()
        assert model.distribution in DOCUMENT.read_text()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_spec_there_can_be_read(name):
    """Without a word that is not known."""
    assert parse_toml(documented()[name][1], name).model is not None
