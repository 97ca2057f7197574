"""What is bounded and shared by account."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from likewise.shares import Shares


@given(
    steps=st.lists(st.tuples(st.sampled_from(["add", "remove", "use"]), st.sampled_from("abc"), st.integers(0, 9))),
    limit=st.integers(1, 12),
)
def test_nobody_makes_room_for_whoever_has_more(steps: list[tuple[str, str, int]], limit: int) -> None:
    """Against a plain list; what has to go is the oldest of an account that has as much as any."""
    shares: Shares[tuple[str, int]] = Shares()
    plain: list[tuple[str, int]] = []
    for step, account, number in steps:
        thing = account, number
        if step == "add" and thing not in plain:
            shares.add(account, thing)
            plain.append(thing)
            if len(shares) > limit:
                of, gone = shares.give_up()
                counts = {each: sum(name == each for name, _ in plain) for each in "abc"}
                assert counts[of] == max(counts.values())
                assert gone == next(each for each in plain if each[0] == of)
                plain.remove(gone)
        elif step == "remove":
            assert shares.remove(account, thing) == (thing in plain)
            plain = [each for each in plain if each != thing]
        elif step == "use" and thing in plain:
            shares.use(account, thing)
            plain.remove(thing)
            plain.append(thing)
        assert len(shares) == len(plain) <= limit
        for each in "abc":
            assert list(shares.those_of(each)) == [kept for kept in plain if kept[0] == each]
            assert shares.of(each) == sum(name == each for name, _ in plain)
        assert sorted(shares) == sorted(plain)


def test_who_has_most_comes_first() -> None:
    """Whoever has nothing left is nobody."""
    shares: Shares[int] = Shares()
    for account, number in (("a", 1), ("b", 2), ("b", 3), ("c", 4)):
        shares.add(account, number)
    assert shares.greediest() == shares.ranked()[0] == "b"
    assert shares.oldest("b") == 2
    for number in (2, 3):
        shares.remove("b", number)
    assert shares.ranked() == ["a", "c"]


def test_accounts_take_turns() -> None:
    """Whoever had one is behind all others, and nobody where nothing is left."""
    shares: Shares[int] = Shares()
    for account, number in (("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5)):
        shares.add(account, number)
    taken = []
    while shares:
        account = next(shares.accounts())
        taken.append(shares.oldest(account))
        shares.take(account, taken[-1])
    assert taken == [1, 4, 5, 2, 3]
