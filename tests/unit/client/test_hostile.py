"""Servers that answer nonsense on purpose: an app meets this package's errors and no others."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likewise_client import (
    Answer,
    Client,
    Computed,
    InvalidInput,
    LikewiseClientError,
    MalformedAnswer,
    Overloaded,
    Page,
    Retry,
)
from likewise_client import _wire as wire

ONCE = Retry(rounds=1)
HIT = {"Cache-Status": "likewise; hit; ttl=9"}
DEEP = b"[" * 100_000


class Hostile(httpx.BaseTransport):
    """Answers every request with the same response."""

    def __init__(self, status: int, body: bytes, headers: Any) -> None:
        self.status, self.body, self.headers = status, body, headers
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, headers=self.headers, stream=httpx.ByteStream(self.body))


def calls(client: Client) -> list[Any]:
    """Return everything that a client can ask, as functions of nothing."""
    return [
        lambda: client.infer("f", b"x", media_type="image/png"),
        lambda: client.lookup("f", key=[1.0]),
        lambda: client.lookup("f", keys=[[1.0], [2.0]]),
        lambda: client.insert("f", 1, key=[1.0]),
        lambda: client.insert_many("f", [Computed(1, [1.0])]),
        lambda: client.page("f"),
        lambda: client.register("f", ""),
        lambda: client.unregister("f"),
        lambda: client.invalidate("f", all=True),
        client.functions,
        client.stats,
    ]


def ask_everything(status: int, body: bytes, headers: Any) -> None:
    with Client(transport=Hostile(status, body, headers), retry=ONCE) as client:
        for call in calls(client):
            try:
                call()
            except LikewiseClientError:
                continue


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from(
    re.findall(
        r"\w+",
        """answers entries next id stored label media_type size_bytes cost_s use_count age_s ttl_s tags outcome entry
        age ttl result result_base64 ticket functions invalidated type title detail""",
    )
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=9), max_leaves=20
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Cache-Status": st.sampled_from(["likewise; hit", "likewise; fwd=miss", "likewise; hit; ttl=x", ";;", '"'])
        | st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20),
        "Content-Type": st.sampled_from(
            ["application/json", "text/plain", "text/html; charset=hex", "application/x-npy", "x", ""]
        ),
        "Age": st.sampled_from(["nan", "-1", "1e999", "9" * 5000, "x"]),
        "Retry-After": st.sampled_from(["nan", "Mon, 99999999999999 Jan 2000 00:00:00 GMT", "Mon, 01 Jan", "-5"]),
        "Location": st.sampled_from(["http://[", "//", "x" * 9000, "http://a:b"]),
        "Set-Cookie": st.just("a=b; Domain=.com; Expires=never"),
        "Likewise-Ticket": st.just("t"),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "identity", "nothing"]),
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([200, 201, 204, 206, 301, 304, 400, 404, 418, 429, 500, 502, 503, 504, 599]),
    DOCUMENTS.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=40),
    HEADERS,
)
def test_only_documented_errors_are_raised(status: int, body: bytes, headers: dict[str, str]) -> None:
    """Whatever the status, headers and body."""
    ask_everything(status, body, [(name.encode(), value.encode("latin-1")) for name, value in headers.items()])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(DEEP, id="deeply nested JSON"),
        pytest.param(b"1" * 10_000, id="a number of ten thousand digits"),
        pytest.param(b'{"type": ["\\ud800"], "title": {}, "detail": 1}', id="a lone surrogate"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 503])
def test_hostile_json_is_malformed_or_a_problem(status: int, body: bytes) -> None:
    """Nesting beyond the stack, numbers without end, text that is none."""
    ask_everything(status, body, {"Content-Type": "application/json", **HIT})


def npy(shape: tuple[int, ...], dtype: str, body: bytes = b"") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + body


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(npy((2**40,), "<f8"), id="terabytes that are not there"),
        pytest.param(npy((-2, -2), "<f4", bytes(16)), id="negative dimensions"),
        pytest.param(npy((1,), "|O", b"cos\nsystem\n"), id="a pickle"),
        pytest.param(b"PK\x03\x04" + bytes(40), id="a zip archive"),
        pytest.param(b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16, id="a header that is no Python"),
        pytest.param(b"\x93NUMPY", id="cut off"),
    ],
)
def test_a_hostile_array_is_malformed(body: bytes) -> None:
    """Neither unpickled, nor opened as an archive, nor given memory that it does not fill."""
    with pytest.raises(MalformedAnswer):
        wire.decode_result(body, wire.NPY)


@given(st.sampled_from(["<f4", ">i2", "|b1", "<c8"]), st.lists(st.integers(0, 4), max_size=3), st.booleans())
def test_every_array_is_read_as_numpy_reads_it(dtype: str, shape: list[int], by_column: bool) -> None:
    """Any shape, either order, either byte order."""
    array = np.asarray(
        np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype), order="F" if by_column else "C"
    )
    read = wire.decode_npy(wire.encode_npy(array))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_an_answer_without_end_is_refused() -> None:
    """A small body that inflates to a large one takes no more memory than the client allows."""
    import gzip

    transport = Hostile(200, gzip.compress(bytes(2**24)), {"Content-Encoding": "gzip", **HIT})
    client = Client(transport=transport, retry=ONCE, max_answer_bytes=2**20)
    with pytest.raises(MalformedAnswer, match="max_answer_bytes"):
        client.infer("f", b"x", media_type="image/png")


def test_pages_that_never_end_are_noticed() -> None:
    """A page that names itself as the next one."""
    document = {"entries": [], "next": "00000000000000ab"}
    client = Client(transport=Hostile(200, json.dumps(document).encode(), {}), retry=ONCE)
    with pytest.raises(MalformedAnswer, match="behind itself"):
        list(client.entries("f"))
    assert isinstance(client.page("f"), Page)


def test_cookies_are_neither_kept_nor_sent() -> None:
    """What a server sets is nobody's business."""
    transport = Hostile(200, b"1", {"Set-Cookie": "a=b", **HIT})
    with Client(transport=transport) as client:
        for _ in range(2):
            assert isinstance(client.lookup("f", key=[1.0]), Answer)
    assert [list(request.headers) for request in transport.requests if "cookie" in request.headers] == []
    assert len(transport.requests) == 2


def test_a_date_far_away_is_a_time_to_come_back() -> None:
    """`Retry-After` as a date."""
    transport = Hostile(503, b"", {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"})
    with pytest.raises(Overloaded) as caught:
        Client(transport=transport).stats()
    assert caught.value.retry_after_s > 1e8


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("infer", {"cache": "nocache"}),
        ("infer", {"cache": "No-Store"}),
        ("infer", {"cache": ""}),
        ("infer", {"cache": ["no-store"]}),
        ("infer", {"max_age_s": -1}),
        ("infer", {"max_age_s": 1.5}),
        ("infer", {"min_fresh_s": "5"}),
        ("infer", {"media_type": "png"}),
        ("infer", {"media_type": "image/\xfc"}),
        ("infer", {"media_type": "image/png\r\nX: 1"}),
    ],
    ids=str,
)
def test_an_option_that_means_nothing_is_refused(method: str, options: dict[str, Any]) -> None:
    """A typo is told, with the choices there are, and never ignored."""
    client = Client(transport=Hostile(500, b"", {}))
    with pytest.raises(InvalidInput, match=next(iter(options))) as caught:
        getattr(client, method)("f", b"x", **{"media_type": "image/png", **options})
    assert isinstance(caught.value, ValueError)
    if "cache" in options:
        assert all(choice in str(caught.value) for choice in ("no-store", "no-cache", "only-if-cached"))


@pytest.mark.parametrize(
    "given_",
    [
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"connect_timeout_s": "2"},
        {"max_connections": 0},
        {"max_answer_bytes": 1.5},
        {"retry": 3},
        {"verify": False},
        {"proxy": "ftp://proxy"},
        {"proxy": "http://"},
    ],
    ids=str,
)
def test_a_setting_that_means_nothing_is_refused(given_: dict[str, Any]) -> None:
    """By its name."""
    with pytest.raises(InvalidInput, match=next(iter(given_))):
        Client(**given_)


def test_a_setting_that_does_not_exist_is_refused() -> None:
    """A typo in its name is told, with the names there are."""
    with pytest.raises(TypeError, match=r"'timeout'.*timeout_s"):
        Client(timeout=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "url",
    ["", "host:8080", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://[::1", "http://a/?q", "http://a/#f",
     f"http://{'a' * 64}.com", "http://" + "a." * 150 + "com"],
)  # fmt: skip
def test_a_url_that_is_no_node_is_refused(url: str) -> None:
    """Before anything is sent, whatever is wrong with it."""
    with pytest.raises(InvalidInput):
        Client(url)
