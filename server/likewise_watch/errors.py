"""What may go wrong with a source or a destination.

LikewiseError
├── SourceLost       of a camera that may come back: worth opening again
└── SettingsError    asked for what cannot be: no such file, no video stream, no access
"""

from __future__ import annotations

from likewise.errors import LikewiseError


class SourceLost(LikewiseError):
    """A source that cannot be opened or read now; the detail names it without credentials."""
