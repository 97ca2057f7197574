"""What becomes of an entry whose reuse proved wrong."""

from __future__ import annotations

import pytest

from likewise.lookup.contradiction import OFTEN, is_proven
from likewise.types import Entry, Result


@pytest.mark.parametrize(
    ("uses", "digest", "expected"),
    [
        pytest.param(OFTEN + 1, b"d" * 16, True, id="computed-and-used"),
        pytest.param(OFTEN, b"d" * 16, False, id="hardly-used"),
        pytest.param(OFTEN + 1, b"", False, id="brought"),
    ],
)
def test_an_entry_is_proven_by_the_full_model_and_by_uses(uses: int, digest: bytes, expected: bool) -> None:
    """One that a device brought may be wrong however often it was used."""
    assert is_proven(Entry(1, {}, Result(b"1"), 0.1, 0.0, 1.0, use_count=uses, digest=digest)) is expected
