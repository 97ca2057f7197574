"""What entries are tagged with, and of what media type their results are: names kept once, entries found by them."""

from __future__ import annotations

from collections.abc import Iterable

from likewise.errors import InvalidValue

MAX_MEDIA_TYPES = 1000
"""Media types that the results of one function may have."""


class Tags:
    """The tags of slots, both ways; slots without any take no room."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[str, ...]] = {}
        self._tagged: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def of(self, slot: int) -> tuple[str, ...]:
        """Return a slot's tags."""
        return self._of.get(slot, ())

    def put(self, slot: int, tags: tuple[str, ...]) -> None:
        """Give a slot without tags its own."""
        if not tags:
            return
        self._of[slot] = tags
        for tag in tags:
            self._tagged.setdefault(tag, set()).add(slot)

    def drop(self, slot: int) -> None:
        """Forget a slot's tags."""
        for tag in self._of.pop(slot, ()):
            tagged = self._tagged[tag]
            tagged.discard(slot)
            if not tagged:
                del self._tagged[tag]

    def slots(self, tag: str) -> list[int]:
        """Return the slots with a tag, ascending."""
        return sorted(self._tagged.get(tag, ()))


class MediaTypes:
    """Numbers for the media types of results, from 0 in the order of arrival; bounded."""

    def __init__(self, owner: str) -> None:
        """Set up. owner: `name@version`, for messages."""
        self._owner = owner
        self.names: list[str] = []
        self._number_of: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Return a media type's number, new where it is. Raises InvalidValue where there are too many."""
        number = self._number_of.get(name)
        if number is None:
            if len(self.names) >= MAX_MEDIA_TYPES:
                raise InvalidValue(
                    f"`{self._owner}` has results of {MAX_MEDIA_TYPES} media types already; use one of them."
                )
            number = self._number_of[name] = len(self.names)
            self.names.append(name)
        return number

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Return the numbers of many, -1 for those that no longer have room."""
        found = []
        for name in names:
            try:
                found.append(self.number(name))
            except InvalidValue:
                found.append(-1)
        return found
