"""Short strings that many entries share, as numbers: kept once, and freed with the last entry that has them."""

from __future__ import annotations

from collections.abc import Sequence

from likewise.errors import InvalidValue

MAX_NAMES = 1000
"""Different ones of a kind at a time, in one namespace."""
MAX_NAME_BYTES = 255


class Names:
    """Numbers for strings, counted by how many entries hold each. Bounded in number and in bytes."""

    def __init__(self, owner: str, what: str) -> None:
        """Set up. owner: `name@version`; what: what the strings are; both for messages."""
        self._owner = owner
        self._what = what
        self._names: list[str] = []
        self._held: list[int] = []
        self._free: list[int] = []
        self.number_of: dict[str, int] = {}
        """The numbers of those in use. For reading alone."""

    def __getitem__(self, number: int) -> str:
        return self._names[number]

    def check(self, name: str) -> None:
        """Raise InvalidValue for a string that is too long."""
        if name not in self.number_of and len(name.encode(errors="replace")) > MAX_NAME_BYTES:
            raise InvalidValue(f"A {self._what} of {len(name)} characters is too long; {MAX_NAME_BYTES} bytes fit.")

    def in_the_way(self, name: str) -> int:
        """Return the number of the string that fewest entries hold, where there is no room for one more; else -1.

        The one that came first, of several. So nobody is refused since others made up a lot.
        """
        if name in self.number_of or len(self.number_of) < MAX_NAMES:
            return -1
        return min(self.number_of.values(), key=self._held.__getitem__)

    def storable(self, names: Sequence[str]) -> list[bool]:
        """Say which of these different strings `hold` would take, if it is to take all of those."""
        room = MAX_NAMES - len(self.number_of)
        found = []
        for name in names:
            known = name in self.number_of
            fits = known or (room > 0 and len(name.encode(errors="replace")) <= MAX_NAME_BYTES)
            room -= fits and not known
            found.append(fits)
        return found

    def hold(self, name: str, count: int = 1) -> int:
        """Return a string's number and count `count` entries that hold it. Raises InvalidValue where it cannot."""
        number = self.number_of.get(name)
        if number is None:
            self.check(name)
            if len(self.number_of) >= MAX_NAMES:
                raise InvalidValue(
                    f"`{self._owner}` has entries of {MAX_NAMES} {self._what}s already; use one of them."
                )
            if self._free:
                number = self._free.pop()
                self._names[number] = name
            else:
                number = len(self._names)
                self._names.append(name)
                self._held.append(0)
            self.number_of[name] = number
        self._held[number] += count
        return number

    def release(self, number: int) -> None:
        """Say that an entry holds it no more."""
        self._held[number] -= 1
        if not self._held[number]:
            del self.number_of[self._names[number]]
            self._names[number] = ""
            self._free.append(number)
