"""Long JSON arrays are read piece by piece, and give what they give when they are read at once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import LikewiseError, UndecodableInput
from likewise.features import array_formats, json_lists
from likewise.features.array_formats import decode_json

AT_ONCE = 1 << 16


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut after every few bytes."""
    monkeypatch.setattr(json_lists, "PIECE_BYTES", 5)


def read(body: bytes, long_bytes: int) -> Any:
    """Return the array, or that it was refused."""
    before = array_formats.LONG_BYTES
    array_formats.LONG_BYTES = long_bytes
    try:
        return decode_json(body, max_values=1000, max_dimensions=4).values
    except LikewiseError:
        return None
    finally:
        array_formats.LONG_BYTES = before


def check(body: bytes) -> None:
    """Hold the two ways against each other."""
    whole, cut = read(body, AT_ONCE), read(body, 0)
    if whole is None or cut is None:
        assert (whole is None) == (cut is None), body
        return
    assert whole.dtype == cut.dtype, body
    np.testing.assert_array_equal(whole, cut)


NUMBERS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans())


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_arrays_of_any_shape_read_alike(data: st.DataObject) -> None:
    """Any axes, any numbers of one type or several, any space between them."""
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    few = data.draw(st.sampled_from([st.booleans(), st.integers(0, 9), st.floats(-9, 9), NUMBERS]))
    flat = data.draw(st.lists(few, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    nested: Any = flat
    for axis in shape[:0:-1]:
        nested = [nested[at : at + axis] for at in range(0, len(nested), axis)]
    forms = [nested, {"shape": shape, "data": flat}, {"data": flat, "shape": shape}]
    text = json.dumps(
        data.draw(st.sampled_from(forms)), separators=data.draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "PIECE_BYTES", data.draw(st.integers(32, 80)))
        check(text.encode())


@given(
    st.lists(
        st.sampled_from([*'[],1 "{}:-.e', "[[1],[2]]", ",[3]", "true", "null", '{"shape":[2],"data":[1,2]}']),
        max_size=14,
    )
)
@settings(max_examples=400, deadline=None)
def test_nothing_is_read_piece_by_piece_that_is_not_json(parts: list[str]) -> None:
    """Whatever the text: what is refused at once is refused in pieces, and the other way round."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "PIECE_BYTES", 8)
        check("".join(parts).encode())


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    "text",
    [
        "[1,2,3,4,5,6,]", "[,1,2,3,4,5,6]", "[1,2,,3,4,5,6]", "[[1,2],[3,4],]", "[[1,2],[3]]", "[[1,2,3],[4,5],[6]]",
        "[1[,2,3,4]]", "[[1,2]3,[4,5]]", "[[1,2],4,[4,5]]", "[1,2,3,4]]", "[[1,2,3,4]", "]1,2,3,4[", "[[[[[[1,2]]]]]]",
        "[1 2 3,4,5]", "[1,2,3,4] x", "[1,2,null,4,5]", "[1,2,{},4,5]", '[1,2,"3",4,5]', "[[],[],[],[]]", "1,2,3,4,5,6",
        '{"shape":[2,2],"data":[1,2,3]}', '{"shape":[[2]],"data":[1,2]}', '{"shape":[2],"data":[[1,2]]}',
        '{"shape":[1,1,1,1,1,1],"data":[1]}', '{"sh[pe":[2],"data":[1,2]}', '{"shape":[6],"date":[1,2,3,4,5,6]}',
        '{"shape":[6],"data":[1,2,3,4,5,6]', '{"shape":[6],"data":[1,2,3,4,5,null]}',
        '{"shape":[2.0],"data":[1,2]}', '{"data":[],"shape":[1,1,1]}',
    ],
)  # fmt: skip
def test_what_is_no_array_is_refused_either_way(text: str) -> None:
    """Brackets and commas where none belong, lists of different lengths, and what is not a number."""
    assert read(text.encode(), 0) is None
    check(text.encode())


def test_a_long_list_never_keeps_the_parser_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the numbers are nested, nothing longer than two pieces is parsed at once."""
    longest = 0
    parsed = json_lists._parsed

    def watched(text: bytes | memoryview) -> object:
        nonlocal longest
        longest = max(longest, len(text))
        return parsed(text)

    monkeypatch.setattr(json_lists, "_parsed", watched)
    for shape in ((120_000,), (2, 60_000), (60_000, 2), (1, 1, 120_000), (3, 40_000)):
        values = np.arange(120_000.0).reshape(shape)
        found = decode_json(json.dumps(values.tolist()).encode(), max_values=200_000, max_dimensions=4).values
        np.testing.assert_array_equal(found, values)
    body = json.dumps({"shape": [2, 60_000], "data": list(range(120_000))}).encode()
    assert decode_json(body, max_values=200_000, max_dimensions=4).values.shape == (2, 60_000)
    assert 0 < longest <= 2 * json_lists.PIECE_BYTES + 2


def test_much_space_is_refused_and_not_searched_for_its_end() -> None:
    """No encoder writes it."""
    with pytest.raises(UndecodableInput, match="space"):
        decode_json(b" " * 100_000 + b"[1]", max_values=9, max_dimensions=4)
