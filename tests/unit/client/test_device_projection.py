"""Projections on the device: files of any bytes, and entries that never meet radii of another space."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise_client._answer import Answer
from likewise_client._device import projection
from likewise_client._device.lease import Terms
from likewise_client._device.pack import Packed
from likewise_client._device.place import Place, Query
from likewise_client._device.projection import Projection, read_projection
from likewise_client._device.store import Store

LINEAR = {"mean": [0.1, 0.2], "matrix": [[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]]}
NETWORK = {
    "mean": [0.1, 0.2],
    "layers": [
        {"matrix": [[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]], "bias": [0.0, 0.1, 0.2]},
        {"matrix": [[1.0], [2.0], [3.0]], "bias": [0.5]},
    ],
    "directions": [[1.0, -1.0]],
    "weight": 0.5,
}
NUMBER = st.one_of(st.integers(-3, 3), st.floats(), st.just(10**400), st.none(), st.booleans(), st.text(max_size=3))
VALUE = st.recursive(
    NUMBER,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=2)),
    max_leaves=8,
)


def matrix(rows, columns):
    return st.lists(st.lists(st.floats(-2, 2), min_size=columns, max_size=columns), min_size=rows, max_size=rows)


LAYERS = st.lists(
    st.one_of(VALUE, st.fixed_dictionaries({"matrix": matrix(2, 2), "bias": matrix(1, 2).map(lambda rows: rows[0])})),
    max_size=5,
)
PART = {"mean": st.one_of(VALUE, st.just([0.5, 0.5])), "weight": st.one_of(VALUE, st.just(0.5))}
STATE = st.one_of(
    VALUE,
    st.fixed_dictionaries({**PART, "matrix": st.one_of(VALUE, matrix(2, 3), matrix(3, 2))}),
    st.fixed_dictionaries({**PART, "layers": LAYERS, "directions": st.one_of(VALUE, matrix(2, 2), matrix(1, 3))}),
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=60), STATE.map(lambda state: json.dumps(state).encode())))
def test_a_file_is_refused_or_makes_keys_at_norm_1(content):
    try:
        made = read_projection(content, "digest", 2, "cosine")
    except ValueError:
        return
    for key in ([1.0, 0.0], [0.0, 0.0], [-0.6, 0.8]):
        found = made.one(np.array(key, np.float32))
        assert found.dtype == np.float32
        assert found.ndim == 1
        assert math.isclose(float(np.linalg.norm(found)), 1.0, rel_tol=1e-5) or not found.any()


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ([], "no JSON object"),
        (without(LINEAR, "matrix"), "`matrix` is missing"),
        (without(NETWORK, "weight"), "`weight` is missing"),
        (LINEAR | {"mean": [0.1, 0.2, 0.3]}, "`mean` has shape"),
        (LINEAR | {"matrix": [[1.0], [1.0, 2.0]]}, "`matrix` is no array"),
        (LINEAR | {"matrix": [[], []]}, "`matrix` has shape"),
        (LINEAR | {"matrix": [[1e6], [1.0]]}, "`matrix` has a number"),
        (LINEAR | {"matrix": [[math.nan], [1.0]]}, "`matrix` has a number"),
        (LINEAR | {"mean": [10**400, 0.0]}, "`mean` has a number"),
        (LINEAR | {"matrix": [[0.0] * 4097] * 2}, "`matrix` has shape"),
        (NETWORK | {"layers": {}}, "`layers`"),
        (NETWORK | {"layers": [{"matrix": [[1.0, 0.0], [0.0, 1.0]], "bias": [0.0, 0.0]}] * 4}, "`layers`"),
        (NETWORK | {"layers": [NETWORK["layers"][0]] * 2}, "`matrix` has shape"),
        (NETWORK | {"layers": [NETWORK["layers"][0] | {"bias": [0.0]}]}, "`bias` has shape"),
        (NETWORK | {"layers": [None]}, "`matrix` is missing"),
        (NETWORK | {"directions": [[1.0], [1.0]]}, "`directions` has shape"),
        (NETWORK | {"directions": [[100.0]]}, "`directions` has a number"),
        (NETWORK | {"weight": 0.0}, "`weight` is not above 0"),
        (NETWORK | {"weight": [0.5]}, "`weight` has shape"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(state, wanted):
    assert len(read_projection(json.dumps(LINEAR).encode(), "", 2, "l2").one(np.ones(2, np.float32))) == 3
    assert len(read_projection(json.dumps(NETWORK).encode(), "", 2, "cosine").one(np.ones(2, np.float32))) == 4
    with pytest.raises(ValueError, match=wanted):
        read_projection(json.dumps(state).encode(), "", 2, "cosine")


def test_files_that_take_long_are_refused_at_once(monkeypatch):
    for content in (b"[" * 200_000, b'{"mean": ' + b"9" * 1_000_000 + b"}"):
        with pytest.raises(ValueError, match=r"it is not JSON|has shape"):
            read_projection(content, "", 2, "cosine")
    monkeypatch.setattr(projection, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="the limit is 10"):
        read_projection(json.dumps(LINEAR).encode(), "", 2, "cosine")


def test_a_network_is_for_keys_at_norm_1():
    with pytest.raises(ValueError, match="metric l2"):
        read_projection(json.dumps(NETWORK).encode(), "", 2, "l2")


SPACES = {
    "": (None, 0.25),
    "turned": (Projection("turned", lambda key: key[::-1].copy()), 0.5),  # as many numbers as the key has
    "shorter": (Projection("shorter", lambda key: key[:2].copy()), 0.75),
}
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["describe", "answer", "late", "prefetch", "load", "restart"]),
        st.sampled_from(sorted(SPACES)),
        st.integers(0, 9),
    ),
    max_size=40,
)


def raw(entry):
    return np.random.default_rng(int(entry, 16)).normal(size=4).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(EVENTS)
def test_no_radius_meets_a_key_of_another_space(events):
    """Whatever a server, or another one, says in which order, and whatever was kept on disk."""
    place, late = Place("f", Store(6, 1 << 20)), []
    for what, space, number in events:
        entry, (found, radius) = f"{number:016x}", SPACES[space]
        packed = Packed(entry, raw(entry), radius, b"{}", "a/b", 9.0, 1.0)
        query = Query(b"digest %d" % number, raw(entry) if place.described else None)
        if what == "describe":
            place.describe(None, found, cosine=False)
        elif what == "load":
            place.load({"version": "0123abcd.4", "projection": space}, [packed], 0.0)
        elif what == "restart":
            entries, kept_as = list(place.store.entries(0.0)), place.kept_as
            place = Place("f", Store(6, 1 << 20))
            place.restore({"version": kept_as}, entries, 0.0)
            assert len(place.store) == len(entries)
        else:
            place.wish(query, 0.0)
            late.append((query, number))
            if what == "late":
                query, number = late.pop(0)
                entry = f"{number:016x}"
            beside = (packed,) if what == "prefetch" else ()
            terms = Terms("l", 0.5, 9.0, "0123abcd", 4, radius=radius, key=raw(entry), prefetched=beside, space=space)
            place.take(query, Answer("hit", body=b"{}", media_type="a/b", entry=entry), terms, 0.0)
        if place.described:
            assert place.space == ("" if place.projection is None else place.projection.sha256)
        maker, own = SPACES[place.space]
        for name, row in place.store._rows.items():
            np.testing.assert_array_equal(place.store._keys[row], raw(name) if maker is None else maker.one(raw(name)))
            assert place.store._radii[row] == own
        if not place.described:
            assert place.spare(Query(b"", raw("0" * 16)), 0.0) is None


def test_a_device_says_which_projection_it_has_once_the_function_is_described():
    place = Place("f", Store(6, 1 << 20))
    place.restore({"version": "0123abcd.4@turned"}, [], 0.0)
    query = Query(b"digest", None)
    place.wish(query, 0.0)
    assert (query.space, place.space, place.version) == ("", "turned", "0123abcd.4")
    place.describe(None, SPACES["turned"][0], cosine=False)
    place.wish(query, 0.0)
    assert query.space == "turned"
