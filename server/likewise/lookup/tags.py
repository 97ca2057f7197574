"""What entries are tagged with: names kept once, entries found by them."""

from __future__ import annotations

MAX_TAGS = 16
"""Tags of one entry, whichever way it comes."""
MAX_TAG_LENGTH = 64
"""Characters of a tag; it has at least one."""


def tags_fit(tags: tuple[str, ...]) -> bool:
    """Say whether an entry may have these tags."""
    return len(tags) <= MAX_TAGS and all(0 < len(tag) <= MAX_TAG_LENGTH for tag in tags)


def tag_bytes(tags: tuple[str, ...]) -> int:
    """Return what tags count for in a namespace's bytes."""
    return sum(map(len, tags))


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
