"""Whatever comes over the wire is answered with a result or a problem document, and the server goes on."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import random
import re
import socket
import struct
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
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


# ── mutated requests over raw sockets ──────────────────────────────────────────────────────────────────────

COUNT = int(os.environ.get("LIKEWISE_FUZZ_REQUESTS", "1500"))
SLOWEST_S = float(os.environ.get("LIKEWISE_FUZZ_SLOWEST_S", "5"))
"""Longest an answer may take. On a quiet machine .25 holds; the suite has to pass on a busy one."""
NASTY = (b"[" * 300, b"{" * 300, b'"', b"\\", b"\0", b"\x80\xff", b"NaN", b"1e999", b"9" * 400, b"\r\n\r\n", b"%00",
         b"a.b." * 300 + b"c=1\n", b"null", b"-0", b"\xef\xbb\xbf", b"(3\x0c4,)", b'\\ud800')  # fmt: skip
MORE = (
    "Cache-Control: no-store",
    'Cache-Control: max-age=9, foo="a,b"',
    "Likewise-Device: d",
    "Origin: null",
    "Authorization: Bearer no",
    "Content-Encoding: gzip",
    "X-Forwarded-For: 1.2.3.4",
)


def _seeds(toys) -> list[tuple[str, str, str, bytes]]:
    """Right requests to begin from: method, path, media type, body."""
    array = io.BytesIO()
    np.save(array, np.ones((512, 2), np.float32))
    sound = b"RIFF" + struct.pack("<I", 44) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    key = np.ones(4, "<f4").tobytes()
    entry = {"key": [1, 2, 3, 4], "result": {"label": "a", "x": [1, [2, {"b": None}]]}, "tags": ["t"], "cost_s": 0.5}
    raw = {"keys": {"v": base64.b64encode(key).decode()}, "result_base64": "e30=", "media_type": "application/json"}
    spec = b'[input]\nkind = "array"\n[[keys]]\nname = "v"\nextractor = "vector"\ndimension = 4\nmetric = "l2"\n'
    table = {"input": {"kind": "array"}, "keys": [{"extractor": "vector", "dimension": 4}]}
    form = b'--b\r\nContent-Disposition: form-data; name="spec"; filename="f"\r\n\r\n' + spec + b"\r\n--b--\r\n"
    functions = "/v1/functions"
    return [
        ("POST", f"{functions}/quadrants/infer", "image/png", toys.picture(1)),
        ("POST", f"{functions}/quadrants/infer", "image/x-portable-graymap", b"P5 8 8 255\n" + bytes(64)),
        ("POST", f"{functions}/quadrants/lookup", "image/jpeg", b"\xff\xd8\xff\xe0" + bytes(40)),
        ("POST", f"{functions}/heavy/lookup", "application/x-npy", array.getvalue()),
        ("POST", f"{functions}/devices/infer", "audio/wav", sound + b"data" + struct.pack("<I", 8) + bytes(8)),
        ("POST", f"{functions}/fragile/infer", "application/json", b"[2]"),
        ("POST", f"{functions}/devices/lookup?key_type=v", "application/octet-stream", key),
        ("POST", f"{functions}/devices@1/lookup", "application/octet-stream", key * 40),
        ("POST", f"{functions}/devices/lookup", "application/json", b'{"key":[1,2,3,4.5]}'),
        ("POST", f"{functions}/devices/lookup", "application/json", json.dumps({"keys": [[1.5] * 4] * 900}).encode()),
        ("POST", f"{functions}/devices/entries", "application/json", json.dumps(entry).encode()),
        ("POST", f"{functions}/devices/entries", "application/json", json.dumps({"entries": [raw] * 200}).encode()),
        ("PUT", f"{functions}/fuzzed", "application/toml", spec),
        ("PUT", f"{functions}/fuzzed", "application/json", json.dumps(table).encode()),
        ("PUT", f"{functions}/fuzzed", "multipart/form-data; boundary=b", form),
        ("DELETE", f"{functions}/fuzzed@1", "", b""),
        ("DELETE", f"{functions}/devices/entries?id=0000000000000001", "", b""),
        ("GET", f"{functions}/devices/entries?limit=10&after=0000000000000001", "", b""),
        ("GET", "/v1/stats", "", b""),
    ]


def _mutated(rng: random.Random, body: bytes) -> bytes:
    """Flip, cut, repeat or put in something nasty, up to four times."""
    changed = bytearray(body)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(4)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at : at + rng.choice((1, 4, 1000))]
        elif kind == 2:
            changed[at:at] = rng.choice(NASTY)
        else:
            changed[at:at] = changed[at : at + rng.randrange(1, 64)]
    return bytes(changed)


def _request(rng: random.Random, seeds: list[tuple[str, str, str, bytes]]) -> bytes:
    method, path, media_type, body = rng.choice(seeds)
    other = rng.choice(seeds)
    if rng.random() < 0.1:
        method = rng.choice((other[0], "PATCH", "HEAD", "OPTIONS"))
    if rng.random() < 0.1:
        path = other[1]
    if rng.random() < 0.1:
        path = _mutated(rng, path.encode()).translate(None, b" \r\n\0#?").decode("ascii", "ignore") or "/"
        path = "/" + path.lstrip("/")
    if rng.random() < 0.1:
        media_type = rng.choice((other[2], "text/html", "application/JSON; charset=\xe9", ""))
    body = _mutated(rng, body)
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {media_type}"] if media_type else []
    if rng.random() < 0.2:
        lines += rng.choices(MORE, k=rng.randrange(1, 4))
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class _Wire:
    """One connection after another, as the server closes them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Return status and body."""
        try:
            return self._once(request)
        except (ConnectionError, http.client.RemoteDisconnected):  # a kept connection that the server closed
            self.close()
            return self._once(request)

    def _once(self, request: bytes) -> tuple[int, bytes]:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), 60)
        self._sock.sendall(request)
        answer = http.client.HTTPResponse(self._sock, method=request.split(b" ", 1)[0].decode())
        answer.begin()
        body = answer.read()
        if answer.will_close:
            self.close()
        return answer.status, body

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _memory_mb(pid: int) -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


@pytest.mark.timeout(0 if COUNT > 10_000 else 240)
def test_mutated_requests_are_answered_in_time_and_leave_nothing_behind(process, toys) -> None:
    """No 5xx but those meant, no slow answer, no growth; LIKEWISE_FUZZ_REQUESTS=100000 for a long run."""
    server = process("--capacity-bytes", "1MiB", "--capacity-entries", "200")
    seeds = _seeds(toys)
    rng = random.Random(int(os.environ.get("LIKEWISE_FUZZ_SEED", "1")))
    wire = _Wire(urlsplit(server.url).port)
    settled = 0.0
    for i in range(COUNT):
        request = _request(rng, seeds)
        started = time.perf_counter()
        status, body = wire.ask(request)
        took_s = time.perf_counter() - started
        shown = f"request {i}: {request[:3000]!r} -> {status} {body[:500]!r} in {took_s:.3f} s"
        assert status in ALLOWED, shown
        assert status < 500 or b"/internal" not in body, shown
        if status == 500:  # the function `fragile` has a model that raises
            assert b"/model-failed" in body, shown
        assert took_s < SLOWEST_S, shown
        if i == COUNT // 2:
            settled = _memory_mb(server.pid)
    wire.close()
    assert _memory_mb(server.pid) < settled + 64
