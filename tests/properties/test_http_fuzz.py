"""Whatever comes over the wire is answered with a result or a problem document, and the server goes on."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ALLOWED = {200, 201, 204, 400, 401, 403, 404, 405, 409, 413, 415, 422, 500, 503, 504}
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MEDIA_TYPES = st.sampled_from(
    ["image/png", "image/jpeg", "image/x-portable-pixmap", "application/x-npy", "application/json",
     "application/octet-stream", "audio/wav", "", "x", "multipart/form-data; boundary=x", "text/html; charset=\x80"]
)  # fmt: skip
FUNCTIONS = st.sampled_from(["quadrants", "devices", "careful", "fragile", "quadrants@1", "nothing", "%00", "a/b"])
NUMBERS = st.floats(width=32, allow_nan=True, allow_infinity=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


def sound(answer, server):
    """A documented status, and a problem document where it is an error; the server still works."""
    assert answer.status_code in ALLOWED, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert not answer.json()["type"].endswith("/internal"), answer.text
    assert server.http.get("/livez").status_code == 200


@RELAXED
@given(body=st.binary(max_size=400), media_type=MEDIA_TYPES, fn=FUNCTIONS, verb=st.sampled_from(["infer", "lookup"]))
def test_any_bytes_in_any_media_type(shared_server, body, media_type, fn, verb):
    """Raw inputs and keys."""
    headers = {"content-type": media_type.encode("latin-1")}
    sound(shared_server.http.post(f"/v1/functions/{fn}/{verb}", content=body, headers=headers), shared_server)


@RELAXED
@given(cut=st.integers(0, 200), flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), max_size=6))
def test_pictures_with_flipped_and_missing_bytes(shared_server, toys, cut, flips):
    """Almost right is the hardest."""
    body = bytearray(toys.picture(1, 3))
    for place, change in flips:
        body[place % len(body)] ^= change
    body = bytes(body[: len(body) - cut] if cut < len(body) else body)
    answer = shared_server.http.post(
        "/v1/functions/quadrants/infer", content=body, headers={"content-type": "image/png"}
    )
    sound(answer, shared_server)


@RELAXED
@given(keys=st.lists(st.lists(NUMBERS, min_size=3, max_size=5), min_size=1, max_size=4), binary=st.booleans())
def test_keys_of_any_numbers(shared_server, keys, binary):
    """Finite keys of the right dimension are answered, all others refused."""
    if binary:
        body = b"".join(np.array(key, "<f4").tobytes() for key in keys)
        headers = {"content-type": "application/octet-stream"}
    else:
        body = json.dumps({"keys": keys}).encode()
        headers = {"content-type": "application/json"}
    answer = shared_server.http.post("/v1/functions/careful/lookup", content=body, headers=headers)
    sound(answer, shared_server)
    numbers = [number for key in keys for number in key]
    fits = len(numbers) % 4 == 0 if binary else all(len(key) == 4 for key in keys)
    if answer.status_code < 400:
        assert fits
        assert np.isfinite(numbers).all()


@RELAXED
@given(document=JSON)
def test_entries_of_any_json(shared_server, document):
    """Inserts of whatever JSON."""
    sound(shared_server.http.post("/v1/functions/devices/entries", content=json.dumps(document)), shared_server)


@RELAXED
@given(
    query=st.dictionaries(
        st.sampled_from(["id", "tag", "all", "limit", "after", "x"]),
        st.text(st.characters(codec="utf-8"), max_size=20),
        max_size=3,
    ),
    method=st.sampled_from(["GET", "DELETE"]),
)
def test_any_query(shared_server, query, method):
    """Pages and invalidations."""
    sound(shared_server.http.request(method, "/v1/functions/devices/entries", params=query), shared_server)


@RELAXED
@given(control=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_any_cache_control(shared_server, toys, control):
    """Unknown directives are ignored, wrong numbers refused."""
    answer = shared_server.http.post(
        "/v1/functions/quadrants/infer",
        content=toys.picture(2, 1),
        headers={"content-type": "image/png", "cache-control": control},
    )
    sound(answer, shared_server)
