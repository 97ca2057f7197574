"""Whatever a server says of leases, entries and packs: an app meets the documented errors, and nothing else."""

from __future__ import annotations

import base64
import json
import string
import zlib
from contextlib import suppress
from hashlib import sha256

import httpx
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likewise_client import Client, DeviceCache, LikewiseClientError, Retry
from likewise_client._device.pack import Packed, write_pack

WORDS = st.sampled_from(
    [
        "want",
        "none",
        "lease-1",
        "pi=0.25",
        "pi=nan",
        "pi=1e-9",
        "ttl=60",
        "ttl=1e308",
        "ttl=-1",
        "version=00000000.1",
        "version=00000000.999",
        "version=ffffffff.1",
        "drop=0000000000000001",
        "drop=,",
        "reset",
        "confirmed",
        "contradicted",
        "pending",
        "checking",
        "exact",
        "radius=0.5",
        "radius=1e300",
        "radius=nan",
        "key",
        "probe",
        ";;",
        "=",
        "\x7f",
    ]
)
FIELD = st.one_of(
    st.lists(WORDS, max_size=7).map("; ".join),
    st.text(string.printable.replace("\r", "").replace("\n", ""), max_size=60),
)
KEY = st.one_of(st.sampled_from(["", "AAAA", "AACAPwAAAAA=", "AADAfw==", "!"]), st.text("ABab01+/=", max_size=40))
PREFETCH = st.one_of(
    KEY.map(lambda text: text.encode("latin-1", "replace")),
    st.one_of(
        st.binary(max_size=40),
        st.just(bytes(1 << 19)),
        st.builds(
            lambda numbers, radius, ttl: write_pack(
                {}, [Packed("0" * 16, np.array(numbers, np.float32), radius, b"{}", "a/b", ttl, 0.0)], len(numbers)
            ),
            st.lists(st.floats(width=32), min_size=1, max_size=3),
            st.floats(width=32),
            st.floats(width=32),
        ),
    ).map(lambda content: base64.b64encode(zlib.compress(content))),
)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
PROJECTION = b'{"mean": [0, 0], "matrix": [[1, 0, 3], [0, 1, 2]]}'
DESCRIPTION = st.one_of(
    VALUE,
    st.fixed_dictionaries(
        {
            "input": st.one_of(VALUE, st.just({"kind": "array"})),
            "keys": st.lists(
                st.fixed_dictionaries(
                    {
                        "extractor": st.one_of(st.sampled_from(["vector", "onnx", "hog", "bytes"]), VALUE),
                        "metric": st.one_of(st.sampled_from(["l2", "cosine"]), VALUE),
                        "dimension": st.one_of(st.integers(-1, 5), st.just(2), VALUE),
                        "file": st.one_of(VALUE, st.fixed_dictionaries({"sha256": VALUE, "bytes": VALUE})),
                        "prepare": VALUE,
                        "projection": st.one_of(
                            VALUE,
                            st.fixed_dictionaries({"sha256": VALUE, "bytes": VALUE}),
                            st.just({"sha256": sha256(PROJECTION).hexdigest(), "bytes": len(PROJECTION)}),
                        ),
                    }
                ),
                max_size=2,
            ),
        }
    ),
)


def hostile(data: st.DataObject) -> httpx.MockTransport:
    """A server that says anything."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            if "/changes" in request.url.path:
                line = data.draw(st.one_of(FIELD, VALUE.map(json.dumps)))
                said = {"version": data.draw(st.one_of(VALUE, st.just("00000000.3"))), "reset": data.draw(VALUE)}
                said["entries"] = data.draw(st.one_of(VALUE, st.lists(st.just("0" * 16), max_size=2)))
                return httpx.Response(
                    200, text=data.draw(st.sampled_from([f"data: {line}", f"data: {json.dumps(said)}"]))
                )
            if "/files/" in request.url.path:
                return httpx.Response(200, content=data.draw(st.one_of(st.just(PROJECTION), st.binary(max_size=30))))
            return httpx.Response(200, content=json.dumps(data.draw(DESCRIPTION)).encode())
        if request.url.path.endswith("warm-up"):
            content = bytearray(write_pack({"version": "00000000.1"}, [], 2)[:-32])
            if data.draw(st.booleans()):
                key = np.zeros(data.draw(st.integers(1, 3)), np.float32)
                one = Packed("0" * 16, key, 0.5, b"{}", data.draw(st.text(max_size=5)), 5.0, 0.0)
                content = bytearray(write_pack({"version": data.draw(VALUE)}, [one], len(key))[:-32])
            at = data.draw(st.integers(0, len(content) - 1))
            content[at : at + 2] = data.draw(st.binary(max_size=3))
            return httpx.Response(200, content=bytes(content) + sha256(content).digest())
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-status", data.draw(st.sampled_from([b"likewise; hit; ttl=5", b"likewise; fwd=miss; stored"]))),
            (b"likewise-entry", data.draw(st.sampled_from([b"0" * 16, b"0000000000000001", b"x", b""]))),
        ]
        for name, field in ((b"likewise-lease", FIELD), (b"likewise-reuse", FIELD), (b"likewise-key", KEY)):
            if data.draw(st.booleans()):
                headers.append((name, data.draw(field).encode("latin-1", "replace")))
        if data.draw(st.booleans()):
            headers.append((b"likewise-prefetch", data.draw(PREFETCH)))
        if data.draw(st.booleans()):
            named = st.one_of(st.just(request.headers.get("likewise-projection", "")), FIELD)
            headers.append((b"likewise-projection", data.draw(named).encode("latin-1", "replace")))
        return httpx.Response(200, headers=headers, content=b'{"label": "a"}')

    return httpx.MockTransport(answer)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_nothing_but_documented_errors(data):
    """Of infer, lookup, warm_up and close; the entries stay within their bounds."""
    cache = DeviceCache(max_entries=5, max_bytes=4096, offline=data.draw(st.sampled_from(["never", "serve"])))
    client = Client(transport=hostile(data), device_cache=cache, retry=Retry(rounds=1))
    for _ in range(data.draw(st.integers(1, 6))):
        what = data.draw(st.sampled_from(["infer", "lookup", "warm_up", "follow"]))
        with suppress(LikewiseClientError):
            if what == "infer":
                client.infer("f", np.array([1.0, 2.0]))
            elif what == "lookup":
                client.lookup("f", key=[1.0, 2.0])
            else:
                getattr(client, what)("f")
        info = client.cache_on_device("f")
        assert info.entries <= 5
        assert info.repeats <= 5
        assert info.bytes <= 4096
        assert 0.0 < info.probability <= 1.0
    client.close()
