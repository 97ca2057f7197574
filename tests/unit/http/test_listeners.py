"""Places for those who follow changes: shared among accounts, left once, and given up when the server stops."""

from __future__ import annotations

import pytest

from likewise.errors import Overloaded
from likewise.http.listeners import Listeners


def test_an_account_that_took_all_places_makes_room_for_another() -> None:
    """Until both have as many; nobody is sent away for more than that."""
    listeners = Listeners()
    greedy = [listeners.join("greedy", 6) for _ in range(6)]
    with pytest.raises(Overloaded):
        listeners.join("greedy", 6)
    for _ in range(3):
        listeners.join("modest", 6)
    assert [each.over for each in greedy] == [True] * 3 + [False] * 3
    for name in ("greedy", "modest"):
        with pytest.raises(Overloaded):
            listeners.join(name, 6)
    for each in greedy:
        listeners.leave(each)
        listeners.leave(each)
    assert len(listeners) == 3


def test_when_the_server_stops_all_streams_end() -> None:
    listeners = Listeners()
    before = listeners.join("", 2)
    listeners.stop()
    assert before.over
    assert before.news.is_set()
    assert listeners.join("", 2).over


def test_without_places_nobody_listens() -> None:
    with pytest.raises(Overloaded):
        Listeners().join("", 0)
