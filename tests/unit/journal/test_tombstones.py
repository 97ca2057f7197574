"""Remembered invalidations."""

from __future__ import annotations

from likewise.journal.tombstones import Tombstones
from likewise.records import Invalidated


def test_an_invalidation_covers_what_stands_up_to_it() -> None:
    """And nothing behind it, nor of another function."""
    tombstones = Tombstones()
    tombstones.add(Invalidated("f", 0.0, everything=True), 10)
    tombstones.add(Invalidated("g", 0.0, ids=(1,)), 10)
    tombstones.add(Invalidated("g", 0.0, tag="x"), 20)
    assert tombstones.covers("f", 5, 10)
    assert not tombstones.covers("f", 5, 11)
    assert tombstones.covers("g", 1, 9)
    assert not tombstones.covers("g", 2, 9)
    assert tombstones.covers_tags("g", ("y", "x"), 20)
    assert not tombstones.covers_tags("g", ("y",), 20)
    assert not tombstones.covers_tags("f", ("x",), 1)
    assert tombstones.names_tags("g")
    assert not tombstones.names_tags("f")
    assert len(tombstones) == 3


def test_an_older_invalidation_does_not_shorten_a_newer_one() -> None:
    """The furthest counts."""
    tombstones = Tombstones()
    for until in (10, 5):
        tombstones.add(Invalidated("f", 0.0, everything=True), until)
        tombstones.add(Invalidated("f", 0.0, tag="x"), until)
    assert tombstones.covers("f", 1, 10)
    assert tombstones.covers_tags("f", ("x",), 10)


def test_the_oldest_ids_are_forgotten_first() -> None:
    """Memory is bounded."""
    tombstones = Tombstones(max_ids=2)
    tombstones.add(Invalidated("f", 0.0, ids=(1, 2, 3)), 10)
    assert [tombstones.covers("f", one, 5) for one in (1, 2, 3)] == [False, True, True]
    assert tombstones.ids == 2


def test_what_is_remembered_can_be_told_to_others() -> None:
    """As invalidations that take out the same; knowing one means that it adds nothing."""
    tombstones = Tombstones()
    told = [
        Invalidated("f", 5.0, everything=True),
        Invalidated("f", 7.0, tag="x"),
        Invalidated("f", 9.0, ids=(1, 2)),
    ]
    for record in told:
        assert not tombstones.knows(record)
        tombstones.add(record, record.at, ids_until=float("inf"))
    assert all(tombstones.knows(record) for record in told)
    assert not tombstones.knows(Invalidated("f", 6.0, everything=True))
    assert not tombstones.knows(Invalidated("f", 1.0, ids=(1, 3)))
    other = Tombstones()
    for record in tombstones.records("f"):
        other.add(record, record.at, ids_until=float("inf"))
    assert all(other.knows(record) for record in told[:2])
    assert other.covers("f", 1, 1e12)
    assert tombstones.records("g") == []


def test_the_oldest_tags_come_to_stand_for_everything() -> None:
    """Memory is bounded, and what a tag kept out stays out; so does all else that is as old, of that function alone."""
    tombstones = Tombstones(max_tags=2)
    for at, tag in enumerate(["x", "y", "x", "z"], start=10):
        tombstones.add(Invalidated("f", float(at), tag=tag), at)
    tombstones.add(Invalidated("g", 50.0, tag="y"), 50)
    assert tombstones.merged == 1
    assert len(tombstones) == 4
    assert tombstones.covers("f", 1, 11)  # "y", the least recent
    assert not tombstones.covers("f", 1, 12)
    assert tombstones.covers_tags("f", ("x",), 12)
    assert tombstones.covers_tags("f", ("z",), 13)
    assert not tombstones.covers("g", 1, 1)
    other = Tombstones()
    for record in tombstones.records("f"):
        other.add(record, record.at)
    assert other.covers("f", 1, 11)
    for tag in range(1000):
        tombstones.add(Invalidated("f", 100.0, tag=str(tag)), 100)
    assert len(tombstones) == 4
