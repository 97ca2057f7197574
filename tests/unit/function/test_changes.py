"""The log of what was taken out."""

from __future__ import annotations

import pytest

from likewise.function.changes import KEPT, MOST_IDS, Changes


def test_a_device_learns_what_it_missed() -> None:
    changes = Changes()
    changes.note((1,))
    version = changes.version
    changes.note((2, 3))
    changes.note((2,))
    assert changes.since(version) == (2, 3)
    assert changes.since(changes.version) == ()


def test_all_that_went_and_too_much_mean_to_start_over() -> None:
    changes = Changes()
    version = changes.version
    changes.note(())
    assert changes.since(version) is None
    changes = Changes()
    version = changes.version
    changes.note(tuple(range(MOST_IDS + 1)))
    assert changes.since(version) is None
    changes = Changes()
    version = changes.version
    for id in range(KEPT + 1):
        changes.note((id,))
    assert changes.since(version) is None


@pytest.mark.parametrize("version", ["", "0.1", "x", "{origin}.9", "{origin}.-1", "{origin}.", "{origin}.1e3"])
def test_a_version_of_another_log_means_to_start_over(version: str) -> None:
    changes = Changes()
    assert changes.since(version.format(origin=changes.origin)) is None


def test_listeners_are_told() -> None:
    changes, heard = Changes(), []
    changes.listeners.add(lambda change: heard.append(change.ids))
    changes.note((5,))
    assert heard == [(5,)]
