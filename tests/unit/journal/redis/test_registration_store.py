"""What Redis keeps of functions is not believed as it is."""

from __future__ import annotations

import math

import pytest

from likewise.journal.redis.registration_store import _moment


@pytest.mark.parametrize("raw", [None, b"", b"x", b"nan", b"inf", b"-inf", b"1e999", b"\xff"])
def test_what_is_no_moment_is_older_than_any(raw: bytes | None) -> None:
    """Else nothing would ever be newer, and the function could not be changed again."""
    assert _moment(raw) == -math.inf
    assert _moment(b"17.5") == 17.5
