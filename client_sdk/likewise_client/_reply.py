"""What a node sent back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Reply(NamedTuple):
    """What a node sent back."""

    status_code: int
    headers: Mapping[str, str]
    """By name, in lower case; lines of one name are joined."""
    content: bytes
    """The body, decoded."""
    sent: int = 0
    """Bytes of the request, head and body."""
    received: int = 0
    """Bytes of the answer, head and body, as they came over the wire."""
