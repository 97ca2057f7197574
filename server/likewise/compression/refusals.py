"""What a way to make a network smaller cannot work on."""

from __future__ import annotations

from likewise.errors import InvalidValue


class NotApplicable(InvalidValue):
    """A network has nothing that a way works on; the detail says what is missing."""
