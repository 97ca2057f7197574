"""Keeps account of what computing frames in part has saved and cost, in full runs."""

from __future__ import annotations

FIRST = 6.0
"""Full runs that may be lost to begin with: a function's first offers are all checked."""
ALLOWANCE = 0.02
"""Full runs that may be lost for each frame, so that what once did not pay is tried again."""
MOST = 16.0
AGAIN = 4.0
"""What has to be there before it is tried again."""


class Worth:
    """A stream's account. Over any stretch it loses no more than it began with and what it was allowed."""

    def __init__(self) -> None:
        self._credit = FIRST
        self._tired = False

    @property
    def pays(self) -> bool:
        """Whether frames may be computed in part."""
        return not self._tired

    def frame(self, took: float) -> None:
        """Take in a frame of the stream. took: of a full run, 1 for one that was computed in full alone."""
        self._credit = min(self._credit + ALLOWANCE + 1.0 - took, MOST)
        self._tired = self._credit < (AGAIN if self._tired else 0.0)

    def checked(self) -> None:
        """Take in that the last frame was computed in full as well."""
        self._credit -= 1.0
