"""Answers that clients have not read yet: who has to go where they take too much."""

from __future__ import annotations

import pytest

from likewise.http.unread import Unread


class Client:
    """A connection that says whether it was ended."""

    def __init__(self) -> None:
        self.ended = 0

    def abort(self) -> None:
        """End."""
        self.ended += 1


def ended(*clients: Client) -> list[int]:
    """Return which were ended, and how often."""
    return [each.ended for each in clients]


def test_beyond_the_limit_the_address_that_has_most_gives_up_its_oldest() -> None:
    """Not the newest, and nobody at another address."""
    unread = Unread(100)
    other, *many = (Client() for _ in range(5))
    unread.note(other, "b", 30)
    for each in many:
        unread.note(each, "a", 30)
    assert ended(other, *many) == [0, 1, 1, 0, 0]
    assert unread.nbytes == 90


def test_whoever_reads_is_spared_before_those_who_do_not() -> None:
    """Reading, however slowly, makes a connection the newest of its address."""
    unread = Unread(100)
    first, second, third = Client(), Client(), Client()
    unread.note(first, "a", 40)
    unread.note(second, "a", 40)
    unread.note(first, "a", 35)
    unread.note(third, "a", 40)
    assert ended(first, second, third) == [0, 1, 0]


@pytest.mark.parametrize("others", [0, 1])
def test_one_answer_may_be_larger_than_the_limit(others: int) -> None:
    """It ends others, at whatever address, and never itself."""
    unread = Unread(100)
    small = [Client() for _ in range(others)]
    for each in small:
        unread.note(each, "b", 50)
    large = Client()
    unread.note(large, "a", 500)
    assert ended(large, *small) == [0] + [1] * others


def test_what_is_read_or_gone_counts_no_more() -> None:
    """Twice told is told once."""
    unread = Unread(100)
    client = Client()
    unread.note(client, "a", 60)
    unread.note(client, "a", 0)
    unread.note(client, "a", 0)
    assert unread.nbytes == 0
    unread.note(client, "a", 90)
    assert (unread.nbytes, client.ended) == (90, 0)
