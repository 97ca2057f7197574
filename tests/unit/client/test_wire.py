"""Encoding of inputs, keys and results; parsing of headers."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise_client import _wire as wire
from likewise_client._errors import InvalidInput, MalformedAnswer
from likewise_client._read import read_answer

HIT = wire.CacheStatus("likewise", {"hit": True, "ttl": 3590})


@pytest.mark.parametrize(
    ("start", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"P5\n", "image/x-portable-graymap"),
        (b"P6\n", "image/x-portable-pixmap"),
        (b"RIFF\x00\x00\x00\x00WAVE", "audio/wav"),
        (b"RF64\xff\xff\xff\xffWAVE", "audio/wav"),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        (b"BM\x00\x00", "image/bmp"),
        (b"\x93NUMPY", "application/x-npy"),
    ],
)
def test_bytes_are_told_by_their_beginning(start: bytes, media_type: str) -> None:
    """The media type of common formats need not be said."""
    assert wire.encode_input(start + b"rest") == (start + b"rest", media_type)
    assert wire.encode_input(memoryview(start)) == (start, media_type)


def test_a_given_media_type_wins() -> None:
    """What the caller says is not second-guessed."""
    assert wire.encode_input(b"\x89PNG\r\n\x1a\n", "image/x-own")[1] == "image/x-own"


@pytest.mark.parametrize("value", [b"unknown", b"", "a string", object(), {1, 2}, [float("nan")]])
def test_what_cannot_be_encoded_is_refused(value: object) -> None:
    """An input without a known form never leaves the device."""
    with pytest.raises(InvalidInput):
        wire.encode_input(value)  # type: ignore[arg-type]


def test_an_array_becomes_npy() -> None:
    """A NumPy array arrives as the same array."""
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    body, media_type = wire.encode_input(array)
    assert media_type == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), array)


def test_an_object_array_is_refused() -> None:
    """Nothing is ever pickled."""
    with pytest.raises(InvalidInput):
        wire.encode_input(np.array([object()]))


def test_lists_become_json_or_npy() -> None:
    """Lists are JSON for inference and .npy for a lookup, where JSON means keys."""
    assert wire.encode_input([[1, np.float32(2.5)]]) == (b"[[1,2.5]]", "application/json")
    body, media_type = wire.encode_input([[1, 2]], lists_as=wire.NPY)
    assert media_type == wire.NPY
    assert np.load(io.BytesIO(body)).dtype == np.float32
    with pytest.raises(InvalidInput):
        wire.encode_input(["words"], lists_as=wire.NPY)


def test_a_path_is_read_and_told_by_its_suffix(tmp_path: Path) -> None:
    """The suffix says the media type, in any case; otherwise the content does."""
    (tmp_path / "a.JPG").write_bytes(b"any")
    (tmp_path / "b.dat").write_bytes(b"P6 1 1 255 abc")
    assert wire.encode_input(tmp_path / "a.JPG") == (b"any", "image/jpeg")
    assert wire.encode_input(tmp_path / "b.dat")[1] == "image/x-portable-pixmap"
    with pytest.raises(FileNotFoundError):
        wire.encode_input(tmp_path / "none.png")


def test_keys_are_little_endian_float32() -> None:
    """A key is the same bytes on every machine, from any numeric form."""
    expected = bytes.fromhex("0000803f00000040")
    assert wire.encode_key([1, 2]) == expected
    assert wire.encode_key(np.array([1, 2], dtype=">f8")) == expected
    assert wire.key_matrix(np.ones((3, 4))[:, ::2]).flags.c_contiguous


@pytest.mark.parametrize(
    "key",
    [[], [float("nan")], [float("inf")], [1e300], [[1, 2], [3, 4]], ["a"], np.ones((2, 2, 2)), [1 + 2j], None],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_a_bad_key_is_refused(key: object) -> None:
    """Empty, not finite, not numbers, or not one vector."""
    with pytest.raises(InvalidInput):
        wire.encode_key(key)  # type: ignore[arg-type]


def test_results_travel_as_json_or_base64() -> None:
    """JSON as it is; bytes and arrays in base64, with their media type."""
    assert wire.encode_result({"label": "a"}) == {"result": {"label": "a"}}
    assert wire.encode_result(b"\x00", "image/png") == {"result_base64": "AA==", "media_type": "image/png"}
    assert wire.encode_result(b"\x00")["media_type"] == wire.OCTETS
    sent = wire.encode_result(np.eye(2))
    back = wire.decode_result(base64.b64decode(sent["result_base64"]), sent["media_type"])
    np.testing.assert_array_equal(back, np.eye(2))
    with pytest.raises(InvalidInput):
        wire.encode_result({"label": "a"}, "text/plain")


def test_results_are_decoded_by_media_type() -> None:
    """JSON and its relatives, text, and bytes for the rest."""
    assert wire.decode_result(b'{"a":1}', "application/json") == {"a": 1}
    assert wire.decode_result(b"[1]", "application/geo+json") == [1]
    assert wire.decode_result("ü".encode(), "text/plain") == "ü"
    assert wire.decode_result(b"\x00", "image/png") == b"\x00"


@pytest.mark.parametrize(("body", "media_type"), [(b"{", wire.JSON), (b"", wire.NPY), (b"\xff", "text/plain")])
def test_a_result_that_is_not_what_it_claims_is_malformed(body: bytes, media_type: str) -> None:
    """The client's own error, not a parser's."""
    with pytest.raises(MalformedAnswer):
        wire.decode_result(body, media_type)


@pytest.mark.parametrize(
    ("header", "parameters"),
    [
        ("likewise; hit; ttl=3590", {"hit": True, "ttl": 3590}),
        ("likewise;hit;detail=coalesced", {"hit": True, "detail": "coalesced"}),
        ('likewise; fwd=miss; stored; detail="a \\"b\\", c"', {"fwd": "miss", "stored": True, "detail": 'a "b", c'}),
        ("likewise; fwd=miss; stored=?0", {"fwd": "miss", "stored": False}),
        ('"likewise"; ttl=-5', {"ttl": -5}),
        ("likewise", {}),
    ],
)
def test_cache_status_is_read(header: str, parameters: dict[str, object]) -> None:
    """Tokens, strings, integers and booleans, as structured fields write them."""
    assert wire.parse_cache_status(header) == [wire.CacheStatus("likewise", parameters)]


def test_other_caches_on_the_way_are_passed_over() -> None:
    """A proxy adds its member; likewise's own counts."""
    status = wire.likewise_status('likewise; hit; ttl=3590, "A proxy, here"; fwd=uri-miss')
    assert (status, status.hit, status.ttl_s, status.detail) == (HIT, True, 3590.0, "")
    assert wire.likewise_status("nginx; hit").cache == ""


@pytest.mark.parametrize("header", ["", "likewise; hit;;", "likewise hit", ";hit", "a; =1", "likewise,"])
def test_a_malformed_cache_status_says_nothing(header: str) -> None:
    """RFC 8941: a field that does not parse is as good as absent."""
    assert wire.parse_cache_status(header) == []


@given(st.text(max_size=80))
def test_any_header_is_survived(header: str) -> None:
    """No header makes the parsers raise."""
    wire.likewise_status(header)
    assert wire.parse_seconds(header, 0.0) >= 0.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("inf", 0.0),
        ("soon", 0.0),
        (None, 0.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 50.0),
    ],
)
def test_seconds_are_a_number_or_a_date(header: str | None, seconds: float) -> None:
    """Retry-After comes in two forms."""
    assert wire.parse_seconds(header, 10.0) == seconds


def test_an_answer_by_a_variant_says_which() -> None:
    """It was computed, by a cheaper model; others have no source."""
    headers = {"cache-status": "likewise; fwd=miss; stored; detail=variant", "content-type": wire.JSON}
    body = b'{"label": "a"}'
    answer = read_answer(httpx.Response(200, headers={**headers, "likewise-source": "head"}, content=body), "n")
    assert (answer.outcome, answer.variant, answer.from_cache, answer.stored) == ("variant", "head", False, True)
    headers["cache-status"] = "likewise; fwd=miss"
    assert read_answer(httpx.Response(200, headers=headers, content=body), "n").variant == ""
