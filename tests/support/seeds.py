"""Right requests to begin from, one of every kind that there is, and what is put into them."""

from __future__ import annotations

import base64
import io
import json
import struct
from typing import NamedTuple

import numpy as np

FUNCTIONS = "/v1/functions"
NASTY = (b"[" * 300, b"{" * 300, b'"', b"\\", b"\0", b"\x80\xff", b"NaN", b"1e999", b"1e-320", b"9" * 400, b"\r\n\r\n",
         b"%00", b"a.b." * 300 + b"c=1\n", b"null", b"-0", b"\xef\xbb\xbf", b"(3\x0c4,)", b'\\ud800', b"--b\r\n",
         b'"key":[0,0,0,0],', b"true", b"[[]]", b"\xf0\x9f\x9a\xa6", b"../", b"\r\n0\r\n\r\n")  # fmt: skip
MORE = (
    "Cache-Control: no-store",
    "Cache-Control: only-if-cached",
    "Cache-Control: no-cache, max-age=0",
    'Cache-Control: max-age=9, foo="a,b"',
    "Cache-Control: min-fresh=99999999999999999999",
    "Likewise-Device: d",
    "Likewise-Device: \xe9\xff",
    "Likewise-Device: " + "d" * 3000,
    "Likewise-Ticket: x",
    "Likewise-Ticket: TICKET",
    "Likewise-Entry: 0000000000000001",
    "Likewise-Lease: want",
    "Likewise-Lease: want; key; idle",
    "Likewise-Lease: watch; version=VERSION",
    "Likewise-Lease: LEASE; version=VERSION; answered=3; repeats=1; probe=ENTRY",
    "Likewise-Lease: LEASE; version=VERSION; prefetch=8",
    "Likewise-Lease: want; prefetch=999999999999",
    "Likewise-Lease: LEASE; lost; answered=9999999999999",
    "Likewise-Lease: LEASE; idle; version=00000000.999999999999999",
    "Likewise-Lease: ;;;",
    "Likewise-Lease: want; probe=ffffffffffffffff; answered=\xb2",
    "Likewise-Lease: " + "want;" * 200,
    "Likewise-Stream: cam",
    "Likewise-Stream: cam; frame=7; late=drop",
    "Likewise-Stream: cam;frame=999999999999999",
    "Likewise-Stream: " + "c" * 129,
    "Likewise-Stream: cam; frame=\xb3",
    "Request-Timeout: 0.001",
    "Request-Timeout: 0",
    "Request-Timeout: 999999999.999999999",
    "Request-Timeout: 1e3",
    "Origin: null",
    "Authorization: Bearer no",
    "Authorization: Basic bm86bm8=",
    "Content-Encoding: gzip",
    "Content-Encoding: br, deflate",
    "Content-Encoding: identity",
    "Content-Encoding: ",
    "Expect: 100-continue",
    "Expect: 200-maybe",
    "TE: trailers",
    "Trailer: X-Late",
    "Range: bytes=0-1",
    "If-None-Match: *",
    'If-None-Match: W/"x", "y',
    "Last-Event-ID: VERSION",
    "Accept: text/html;q=0.1",
    "Accept: text/event-stream",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "X-Forwarded-For: 1.2.3.4",
    "X-A: " + "a" * 9000,
)


class Seed(NamedTuple):
    """A right request. TICKET, LEASE, VERSION, ENTRY and FILE stand for what answers gave before."""

    method: str
    path: str
    media_type: str
    body: bytes
    lines: tuple[str, ...] = ()
    """More header fields."""


def seeds(picture: bytes) -> list[Seed]:
    """Return one of every kind."""
    return [*_inputs(picture), *_keys_and_entries(), *_devices(picture), *_registrations(), *_plain()]


def _inputs(picture: bytes) -> list[Seed]:
    array = io.BytesIO()
    np.save(array, np.ones((512, 2), np.float32))
    sound = b"RIFF" + struct.pack("<I", 44) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    return [
        Seed("POST", f"{FUNCTIONS}/quadrants/infer", "image/png", picture),
        Seed("POST", f"{FUNCTIONS}/quadrants/infer", "image/x-portable-graymap", b"P5 8 8 255\n" + bytes(64)),
        Seed("POST", f"{FUNCTIONS}/quadrants/lookup", "image/jpeg", b"\xff\xd8\xff\xe0" + bytes(40)),
        Seed("POST", f"{FUNCTIONS}/quadrants/infer", "image/webp", b"RIFF\x24\0\0\0WEBPVP8L" + bytes(24)),
        Seed("POST", f"{FUNCTIONS}/quadrants/infer", "image/bmp", b"BM" + bytes(60)),
        Seed("POST", f"{FUNCTIONS}/heavy/lookup", "application/x-npy", array.getvalue()),
        Seed("POST", f"{FUNCTIONS}/devices/infer", "audio/wav", sound + b"data" + struct.pack("<I", 8) + bytes(8)),
        Seed("POST", f"{FUNCTIONS}/fragile/infer", "application/json", b"[2]"),
    ]


def _keys_and_entries() -> list[Seed]:
    key = np.ones(4, "<f4").tobytes()
    encoded = base64.b64encode(key).decode()
    entry = {"key": [1, 2, 3, 4], "result": {"label": "a", "x": [1, [2, {"b": None}]]}, "tags": ["t"], "cost_s": 0.5}
    raw = {"keys": {"v": encoded}, "result_base64": "e30=", "media_type": "application/json"}
    bare = {"key": encoded, "result": {"label": "b"}, "ttl_s": 60, "ticket": "TICKET"}
    several = json.dumps({"entries": [bare, entry, bare]}).encode()
    many, long = json.dumps({"entries": [raw] * 200}).encode(), json.dumps({"keys": [[1.5] * 4] * 900}).encode()
    return [
        Seed("POST", f"{FUNCTIONS}/devices/lookup?key_type=v", "application/octet-stream", key),
        Seed("POST", f"{FUNCTIONS}/devices@1/lookup", "application/octet-stream", key * 40),
        Seed("POST", f"{FUNCTIONS}/careful/lookup", "application/octet-stream", key),
        Seed("POST", f"{FUNCTIONS}/devices/lookup", "application/json", b'{"key":[1,2,3,4.5]}'),
        Seed("POST", f"{FUNCTIONS}/devices/lookup", "application/json", long),
        Seed("POST", f"{FUNCTIONS}/devices/entries", "application/json", json.dumps(entry).encode()),
        Seed("POST", f"{FUNCTIONS}/careful/entries", "application/json", json.dumps(bare).encode()),
        Seed("POST", f"{FUNCTIONS}/careful/entries?durable=true", "application/json", several),
        Seed("POST", f"{FUNCTIONS}/devices/entries", "application/json", many),
        Seed("DELETE", f"{FUNCTIONS}/devices/entries?id=0000000000000001", "", b""),
        Seed("DELETE", f"{FUNCTIONS}/careful/entries?tag=t", "", b""),
        Seed("DELETE", f"{FUNCTIONS}/quadrants/entries?id=ENTRY", "", b""),
        Seed("GET", f"{FUNCTIONS}/devices/entries?limit=10&after=0000000000000001", "", b""),
    ]


def _devices(picture: bytes) -> list[Seed]:
    key = np.ones(4, "<f4").tobytes()
    keys = base64.b64encode(key * 3).decode()
    warm = json.dumps({"entries": 50, "bytes": 5000, "place": "t", "keys": keys}).encode()
    lease, stream = "Likewise-Lease: LEASE; version=VERSION; prefetch=4", "Likewise-Stream: cam; frame=3"
    infer = f"{FUNCTIONS}/quadrants/infer"
    return [
        Seed("POST", infer, "image/png", picture, ("Likewise-Lease: want", "Likewise-Device: phone")),
        Seed("POST", infer, "image/png", picture, (f"{lease}; answered=2; probe=ENTRY",)),
        Seed("POST", infer, "image/png", picture, (stream, "Request-Timeout: 5")),
        Seed("POST", f"{FUNCTIONS}/shared/infer", "image/png", picture, ("Likewise-Ticket: TICKET",)),
        Seed("POST", f"{FUNCTIONS}/heavy/infer", "application/json", b"[[1,2]]", (stream,)),
        Seed("POST", f"{FUNCTIONS}/careful/lookup", "application/octet-stream", key, (f"{lease}; probe=ENTRY; key",)),
        Seed("POST", f"{FUNCTIONS}/quadrants/leases/LEASE", "application/json",
             b'{"answered":3,"repeats":1,"done":false}'),
        Seed("POST", f"{FUNCTIONS}/quadrants/leases/LEASE", "application/json", b'{"done":true}'),
        Seed("GET", f"{FUNCTIONS}/quadrants/changes?since=VERSION", "", b""),
        Seed("GET", f"{FUNCTIONS}/careful/changes?since=VERSION&events=1", "", b"", ("Accept: text/event-stream",)),
        Seed("POST", f"{FUNCTIONS}/quadrants/warm-up", "application/json", warm),
        Seed("POST", f"{FUNCTIONS}/careful/warm-up", "application/json", warm),
        Seed("POST", f"{FUNCTIONS}/careful/warm-up", "", b""),
        Seed("GET", f"{FUNCTIONS}/shared/variants", "", b""),
        Seed("GET", f"{FUNCTIONS}/shared/variants/model.onnx.lwz", "", b"", ('If-None-Match: "FILE"',)),
        Seed("GET", f"{FUNCTIONS}/shared/files/FILE", "", b""),
    ]  # fmt: skip


def _registrations() -> list[Seed]:
    spec = b'[input]\nkind = "array"\n[[keys]]\nname = "v"\nextractor = "vector"\ndimension = 4\nmetric = "l2"\n'
    table = {"input": {"kind": "array"}, "keys": [{"extractor": "vector", "dimension": 4}]}
    files = form(("spec", "function.toml", spec), ("m.onnx", "m.onnx", b"\x08\x09" + bytes(9)), ("x", "../y", b""))
    return [
        Seed("PUT", f"{FUNCTIONS}/fuzzed", "application/toml", spec),
        Seed("PUT", f"{FUNCTIONS}/fuzzed", "application/json", json.dumps(table).encode()),
        Seed("PUT", f"{FUNCTIONS}/fuzzed", "multipart/form-data; boundary=b", form(("spec", "f", spec))),
        Seed("PUT", f"{FUNCTIONS}/fuzzed?version=2", 'multipart/form-data; boundary="b"', files),
        Seed("DELETE", f"{FUNCTIONS}/fuzzed@1", "", b""),
    ]


def _plain() -> list[Seed]:
    paths = (f"{FUNCTIONS}/devices", FUNCTIONS, "/v1/stats", "/metrics", "/readyz", "/openapi.json")
    return [*(Seed("GET", path, "", b"") for path in paths), Seed("OPTIONS", f"{FUNCTIONS}/devices", "", b"")]


def form(*parts: tuple[str, str, bytes]) -> bytes:
    """Return a multipart form of boundary b. parts: field, file name, content."""
    disposition = '--b\r\nContent-Disposition: form-data; name="{}"; filename="{}"\r\n\r\n'
    return b"".join(disposition.format(*part[:2]).encode() + part[2] + b"\r\n" for part in parts) + b"--b--\r\n"
