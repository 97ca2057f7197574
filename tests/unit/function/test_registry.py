"""Functions are found by name and by version, and are served or not, nothing between."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from likewise.errors import UnknownFunction
from likewise.function.registry import Registry


def function(name="f", version=1, mark="a"):
    address = f"{name}@{version}"
    journal_id = f"{address}#{mark}"
    return SimpleNamespace(name=name, version=version, id=address, journal_id=journal_id, retired=True, streams=None)


def test_a_function_is_found_by_name_version_and_journal_id():
    """And by nothing else."""
    registry, fn = Registry(), function()
    assert registry.put(fn) is None
    assert not fn.retired
    assert registry.get("f") is registry.get("f@1") is registry.of_journal("f@1#a") is registry.find("f") is fn
    for address in ("f@2", "f@", "f@01", "f@1#a", "f@1@1", "g", ""):
        with pytest.raises(UnknownFunction):
            registry.get(address)
    assert registry.of_journal("f@1") is registry.of_journal("f@1#b") is registry.find("f@1") is None


def test_what_is_replaced_or_removed_is_retired_and_gone_altogether():
    """Under no address is there anything left of it."""
    registry, old, new = Registry(), function(), function(version=2, mark="b")
    registry.put(old)
    assert registry.put(new) is old
    assert old.retired
    assert list(registry) == [new]
    assert registry.of_journal(old.journal_id) is None
    with pytest.raises(UnknownFunction, match="served as f@2"):
        registry.get("f@1")
    assert registry.remove("f@2") is None
    assert registry.remove("f") is new
    assert new.retired
    assert len(registry) == 0
    assert registry.of_journal(new.journal_id) is None
    assert registry.remove("f") is None


def test_the_same_files_under_the_same_version_take_over_the_journal_id():
    """The one that is served is the one that records go to."""
    registry, old, new = Registry(), function(), function()
    registry.put(old)
    registry.put(new)
    assert registry.of_journal("f@1#a") is new
