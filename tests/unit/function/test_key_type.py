"""Keys are read from bytes and numbers alike, and have one rule of norm."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.errors import InvalidValue, TooLarge
from likewise.features.vector import VectorExtractor
from likewise.function.key_type import KeyType
from likewise.types import Array


def key_type(metric="cosine", dimension=3):
    return KeyType("v", VectorExtractor(dimension, metric), dimension, metric, "f@1")


FLOATS = st.floats(-1e6, 1e6, width=32)


@given(st.lists(FLOATS, min_size=3, max_size=3), st.sampled_from(["cosine", "l2"]))
def test_every_way_in_gives_the_same_key(numbers, metric):
    """Bytes, a list, base64 and the extractor agree."""
    kind = key_type(metric)
    body = np.array(numbers, "<f4").tobytes()
    expected = kind.extract(Array(np.array(numbers, np.float32)))
    for found in (
        kind.from_bytes(body, 1)[0],
        kind.from_lists([numbers], 1)[0],
        kind.from_value(numbers),
        kind.from_value(base64.b64encode(body).decode()),
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-30)
    plain = kind.plain(body)
    if plain is not None:
        np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-30)
    else:
        assert np.linalg.norm(np.array(numbers, np.float64)) < 1e-11


def test_unit_norm_where_the_metric_is_cosine():
    """Many at once; a zero key stays zero, and other metrics keep keys as they are."""
    keys = np.array([[3, 0, 4], [0, 0, 0], [1e-20, 0, 0]], np.float32)
    np.testing.assert_allclose(key_type().normalized(keys), [[0.6, 0, 0.8], [0, 0, 0], [0, 0, 0]], rtol=1e-6)
    np.testing.assert_array_equal(key_type("l2").normalized(keys), keys)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_numbers_that_no_distance_can_take_are_refused(bad):
    """Whichever way they come, with the key type's name."""
    kind = key_type()
    body = np.array([1, bad, 0], "<f4").tobytes()
    assert kind.plain(body) is None
    for read in (lambda: kind.from_bytes(body, 1), lambda: kind.from_lists([[1, float(bad), 0]], 1)):
        with pytest.raises(InvalidValue, match="key type `v` of `f@1`"):
            read()


@pytest.mark.parametrize(
    "rows",
    [[], {}, None, [[1, 2]], [[1, 2, "3"]], [[1, 2, True]], [[1, 2, None]], [[1, 2, [3]]], [3], [[10**400, 1, 1]]],
)
def test_lists_that_are_no_keys_are_refused(rows):
    """Of the wrong length, or not of numbers."""
    with pytest.raises(InvalidValue):
        key_type().from_lists(rows, 4)


def test_lengths_and_counts_are_checked():
    """Bytes have to be whole keys, and no more than the limit."""
    kind = key_type()
    assert kind.plain(b"1234") is None
    for body in (b"", b"1234", bytes(13)):
        with pytest.raises(InvalidValue, match="12 bytes a key"):
            kind.from_bytes(body, 2)
    with pytest.raises(TooLarge, match="limit is 2"):
        kind.from_bytes(bytes(36), 2)
    with pytest.raises(TooLarge, match="limit is 1"):
        kind.from_lists([[1, 2, 3]] * 2, 1)
    with pytest.raises(InvalidValue, match="base64"):
        kind.from_value("%%%")
