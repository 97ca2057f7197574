"""What is checked of a long entry: its JSON without what stands in strings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.errors import TooLarge
from likewise.http.entries import _outline
from likewise.http.pace import Pace

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def bare(value: Any) -> Any:
    """Return a document as it reads where each string is empty; objects as the pairs that they hold."""
    if isinstance(value, dict):
        return [("", bare(each)) for each in value.values()]
    if isinstance(value, list):
        return [bare(each) for each in value]
    return "" if isinstance(value, str) else value


@given(VALUES, st.booleans())
async def test_it_has_every_bracket_and_number_and_no_string(value: Any, plain: bool) -> None:
    text = json.dumps(value, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    assert json.loads(await _outline(text, 1 << 20, Pace()), object_pairs_hook=list) == bare(value)


async def test_strings_count_for_nothing_and_the_rest_has_a_limit() -> None:
    assert await _outline(b'{"a": "%b"}' % (b"9" * 1_000_000), 20, Pace()) == b'{"": ""}'
    with pytest.raises(TooLarge, match="over 20 bytes"):
        await _outline(b"[%b1]" % (b"1," * 100), 20, Pace())
