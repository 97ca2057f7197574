"""`.npy` and JSON arrays: read exactly, sized before made, never unpickled."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from likewise.errors import InvalidValue, LikewiseError, TooLarge, UndecodableInput
from likewise.features.array_formats import decode_json, decode_npy


def npy(body: bytes) -> np.ndarray[Any, Any]:
    """Return the array of a .npy."""
    return decode_npy(body, max_values=1000, max_dimensions=4).values


def parse(text: object) -> np.ndarray[Any, Any]:
    """Return the array of a JSON text, or of what dumps to one."""
    body = text if isinstance(text, bytes) else json.dumps(text).encode()
    return decode_json(body, max_values=1000, max_dimensions=4).values


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i4", ">i8", "<u2", "<f2", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_reads_as_numpy_does(as_npy: Callable[[object], bytes], dtype: str, order: str) -> None:
    """Every numeric type, byte order and memory order, contiguous and native."""
    values = np.asarray(np.arange(24).reshape(2, 3, 4) % 5, dtype=dtype, order=order)  # type: ignore[call-overload]
    got = npy(as_npy(values))
    assert np.array_equal(got, values)
    assert got.dtype == values.dtype.newbyteorder("=")
    assert got.flags.c_contiguous
    assert got.flags.writeable


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("shape", [(), (3,), (1, 3)])
def test_npy_reads_every_format_and_shape(version: tuple[int, int], shape: tuple[int, ...]) -> None:
    """Formats 1, 2 and 3; scalars, vectors, matrices."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ones(shape, np.float32), version=version)
    assert npy(buffer.getvalue()).shape == shape


def with_header(text: str | bytes, data: bytes = bytes(16), version: int = 1) -> bytes:
    """Return a .npy with any header."""
    raw = text if isinstance(text, bytes) else text.encode("latin-1")
    return b"\x93NUMPY" + bytes((version, 0)) + len(raw).to_bytes(2 if version == 1 else 4, "little") + raw + data


FIELDS = ["'descr': '<f4'", "'fortran_order': False", "'shape': (2, 2)"]


@pytest.mark.parametrize(
    "header",
    [
        *("{" + ", ".join(fields) + end for fields in itertools.permutations(FIELDS) for end in ("}", ", }\n")),
        "{'descr':'<f4','fortran_order':False,'shape':(2,2)}",
        "{ 'descr' : '<f4' ,\n'fortran_order' : False , 'shape' : ( 2 , 2 , ) , }   \n",
        '{"descr": "<f4", "fortran_order": False, "shape": (2, 2)}',
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 2L)}",  # as Python 2 wrote it
        *(f"{{'descr': '{name}', 'fortran_order': False, 'shape': (2, 2)}}" for name in ("f4", "=f4", "float32", "f")),
        *(f"{{'descr': '{name}', 'fortran_order': True, 'shape': (2, 2)}}" for name in ("single", ">f4", "<f", "|f4")),
    ],
)
def test_npy_headers_read_as_numpy_reads_them(header: str) -> None:
    """Keys in any order, either quote, any blanks, every name of a type."""
    data = np.arange(1, 5, dtype=">f4" if ">" in header else "<f4").tobytes()
    expected = np.load(io.BytesIO(with_header(header, data))) if "2L" not in header else [[1, 2], [3, 4]]
    for version in (1, 2, 3):
        assert np.array_equal(npy(with_header(header, data, version)), expected)


@pytest.mark.parametrize("dtype", ["?", "b1", "bool", "|b1"])
def test_npy_bools_are_bools_whatever_bytes_they_are(dtype: str) -> None:
    """Any byte but 0 is true, and nothing but 0 and 1 ever comes out."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': (4,)}}"
    assert npy(with_header(header, b"\0\1\2\xff")).view(np.uint8).tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="open"),
        pytest.param(b"{}", id="no fields"),
        pytest.param(b"{,}", id="comma"),
        pytest.param(b"{'descr'}", id="no value"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False}", id="a field short"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'more': True}", id="a field more"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3\x0c4,), }", id="form feed in a number"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2 2), }", id="no comma"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4), }", id="number in parentheses"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,,2), }", id="two commas"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }", id="negative"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4.0,), }", id="fraction"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': ((4,),), }", id="nested"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 5000 + b",)}", id="long number"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': 0, 'shape': (4,), }", id="order no bool"),
        pytest.param(b"{'descr': True, 'fortran_order': False, 'shape': (4,), }", id="type no text"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': '4', }", id="shape no tuple"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), } 1", id="something behind"),
        pytest.param(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), \xff}", id="not ASCII"),
        pytest.param(b"{'descr': '<f4,<f4', 'fortran_order': False, 'shape': (4,), }", id="two types"),
        pytest.param(b"{'descr': 'f" + b"4" * 9000 + b"', 'fortran_order': False, 'shape': (4,), }", id="long type"),
        pytest.param(b"(" * 9000, id="deep"),
        pytest.param(b"{'descr': " + b"-" * 9000, id="signs"),
        pytest.param(b"{" + b" " * 20_000 + b"}", id="long"),
        pytest.param(b"__import__('os').abort()", id="code"),
    ],
)
def test_odd_npy_headers_are_refused(header: bytes) -> None:
    """Whatever is no plain dictionary of the three fields is an error made for people, at once."""
    with pytest.raises(UndecodableInput, match="header"):
        npy(with_header(header))


def test_npy_names_what_stands_behind_the_array() -> None:
    """One array fills the body; what is more is not silently left out."""
    with pytest.raises(UndecodableInput, match="holds 18; send one array"):
        npy(with_header("{" + ", ".join(FIELDS) + "}", bytes(18)))


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_npy_is_never_unpickled(as_npy: Callable[[object], bytes], tmp_path: Any) -> None:
    """An object array is refused and its code does not run."""
    trap = tmp_path / "sprung"
    with pytest.raises(UndecodableInput, match=r"type O|header"):
        npy(as_npy(np.array([Trap(str(trap))], object)))
    assert not trap.exists()


def test_npy_size_is_checked_against_the_header() -> None:
    """A header that promises more, or less, than follows is refused before anything is made."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s,), }\n"

    def body(axis: str) -> bytes:
        text = (header % axis).encode()
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(80)

    assert npy(body("10")).shape == (10,)
    for axis, error in (("9", UndecodableInput), ("11", UndecodableInput), ("99999999999", TooLarge)):
        with pytest.raises(error):
            npy(body(axis))


def test_npy_refusals_say_why(as_npy: Callable[[object], bytes]) -> None:
    """Wrong magic, format, header, type, axes, emptiness and NaN."""
    good = as_npy(np.ones(3))
    cases: list[tuple[bytes, type[LikewiseError], str]] = [
        (b"PK\x03\x04" + bytes(20), UndecodableInput, "numpy.save"),
        (good[:6] + b"\x09" + good[7:], UndecodableInput, "format 9"),
        (good[:20], UndecodableInput, "breaks off"),
        (good.replace(b"descr", b"DESCR"), UndecodableInput, "header"),
        (as_npy(np.ones(3, complex)), UndecodableInput, "c16"),
        (as_npy(np.array(["a"])), UndecodableInput, "U1"),
        (as_npy(np.zeros(2, [("a", "f4")])), UndecodableInput, "records"),
        (as_npy(np.ones((1, 1, 1, 1, 1))), TooLarge, "5 axes"),
        (as_npy(np.ones(1001)), TooLarge, "1001 numbers"),
        (as_npy(np.ones((0, 3))), InvalidValue, "empty"),
        (as_npy(np.array([1, np.inf])), InvalidValue, "NaN or infinity"),
    ]
    for body, error, message in cases:
        with pytest.raises(error, match=message):
            npy(body)


def test_json_lists_and_shaped_objects_read_alike() -> None:
    """Nested lists, or shape and flat data."""
    assert parse([[1, 2], [3, 4.5]]).tolist() == [[1, 2], [3, 4.5]]
    assert parse({"shape": [2, 2], "data": [1, 2, 3, 4.5]}).tolist() == [[1, 2], [3, 4.5]]


def test_json_numbers_have_one_type_however_they_are_written() -> None:
    """1 and 1.0 are one number in JSON; only whole numbers that float64 cannot hold stay whole."""
    assert parse([1, 2]).dtype == parse([1, 2.0]).dtype == parse([2**53, -(2**53)]).dtype == np.float64
    assert parse([2**53 + 1]).tolist() == [2**53 + 1]
    assert parse([2**64 - 1]).tolist() == [2**64 - 1]
    assert parse([True, False]).dtype == np.bool_


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param(b"[1, 2", UndecodableInput, id="truncated"),
        pytest.param(b"[1, NaN]", UndecodableInput, id="NaN"),
        pytest.param(b"\xff\xfe", UndecodableInput, id="not UTF-8"),
        pytest.param(b"3", UndecodableInput, id="number alone"),
        pytest.param(b"[[1], [2, 3]]", UndecodableInput, id="ragged"),
        pytest.param(b"[null]", UndecodableInput, id="null"),
        pytest.param(b'["1"]', UndecodableInput, id="string"),
        pytest.param(b"[{}]", UndecodableInput, id="object inside"),
        pytest.param(b"[" * 900 + b"]" * 900, LikewiseError, id="deep"),
        pytest.param(b"[" * 100_000, LikewiseError, id="very deep"),
        pytest.param(b"[[[[[1]]]]]", TooLarge, id="axes"),
        pytest.param(b"[]", InvalidValue, id="empty"),
        pytest.param(b"[" + b"1," * 1000 + b"1]", TooLarge, id="many"),
        pytest.param(b"[" + b"[]," * 999 + b"1]", LikewiseError, id="many empty lists"),
        pytest.param({"shape": [2]}, UndecodableInput, id="no data"),
        pytest.param({"shape": 2, "data": [1, 2]}, UndecodableInput, id="shape no list"),
        pytest.param({"shape": ["2"], "data": [1, 2]}, UndecodableInput, id="shape of strings"),
        pytest.param({"shape": [3], "data": [1, 2]}, UndecodableInput, id="wrong count"),
        pytest.param({"shape": [-1, -2], "data": [1, 2]}, InvalidValue, id="negative axes"),
        pytest.param({"shape": [2], "data": [1, "x" * 1000]}, UndecodableInput, id="string in data"),
        pytest.param({"shape": [2], "data": [1, None]}, UndecodableInput, id="null in data"),
        pytest.param(b"[1e999, 1]", LikewiseError, id="overflow"),
        pytest.param(b"[99999999999999999999999999]", None, id="long integer"),
    ],
)
def test_json_refusals(text: object, error: type[LikewiseError] | None) -> None:
    """Anything that is not one finite numeric array of a bounded size is refused."""
    if error is None:
        assert parse(text).tolist() == [1e26]
        return
    with pytest.raises(error):
        parse(text)
