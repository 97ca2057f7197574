"""What clients have of a thing that is bounded, by account: where it runs out, whoever has most makes room.

So one access key can take all of it while nobody else wants any, and keeps nobody else out (max-min fairness).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Shares(Generic[T]):
    """Things in the order in which they came or were used, by account."""

    def __init__(self) -> None:
        self._of: dict[str, OrderedDict[T, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return (thing for things in list(self._of.values()) for thing in list(things))

    @property
    def parties(self) -> int:
        """How many accounts have something."""
        return len(self._of)

    def of(self, account: str) -> int:
        """Return how many an account has."""
        return len(self._of.get(account, ()))

    def add(self, account: str, thing: T) -> None:
        """Take in a thing that is not there yet."""
        found = self._of.get(account)
        if found is None:
            found = self._of[account] = OrderedDict()
        found[thing] = None
        self._count += 1

    def use(self, account: str, thing: T) -> None:
        """Make a thing the newest of its account's."""
        self._of[account].move_to_end(thing)

    def remove(self, account: str, thing: T) -> bool:
        """Take a thing out; return whether it was there."""
        found = self._of.get(account)
        if found is None or thing not in found:
            return False
        del found[thing]
        self._count -= 1
        if not found:
            del self._of[account]
        return True

    def accounts(self) -> Iterator[str]:
        """Yield those who have something, in the order of their turns; nothing may come or go meanwhile."""
        return iter(self._of)

    def take(self, account: str, thing: T) -> None:
        """Take out what it is an account's turn with: its next turn comes after those of all others."""
        self.remove(account, thing)
        if account in self._of:
            self._of[account] = self._of.pop(account)

    def those_of(self, account: str) -> Iterator[T]:
        """Yield what an account has, the oldest first; nothing may come or go meanwhile."""
        return iter(self._of.get(account, ()))

    def ranked(self) -> list[str]:
        """Return the accounts, first the one that has most."""
        return sorted(self._of, key=lambda account: -len(self._of[account]))

    def greediest(self) -> str:
        """Return the account that has most; the one that came first, of several. There must be one."""
        return max(self._of, key=lambda account: len(self._of[account]))

    def oldest(self, account: str) -> T:
        """Return what an account has had longest without using it. It must have something."""
        return next(iter(self._of[account]))

    def newest(self, account: str) -> T:
        """Return what an account took in, or used, last. It must have something."""
        return next(reversed(self._of[account]))

    def give_up(self) -> tuple[str, T]:
        """Take out the oldest thing of the account that has most; return both. There must be one."""
        account = self.greediest()
        thing = self.oldest(account)
        self.remove(account, thing)
        return account, thing
