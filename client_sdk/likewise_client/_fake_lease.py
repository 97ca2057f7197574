"""What the fake server of `testing` tells a device's own tier: a lease with a fixed probability, radii, a warm-up."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np

from likewise_client._device.pack import Packed, write_pack
from likewise_client._fake import FakeFunction, StoredEntry

LEASE = "fake-lease"


def wants_probe(headers: Mapping[str, str]) -> bool:
    """Whether a request is the probe of a device."""
    return "probe=" in headers.get("likewise-lease", "")


def told(function: FakeFunction, headers: Mapping[str, str], answer: httpx.Response) -> httpx.Response:
    """Add to an answer what goes with a lease, where the request asks for one and the function gives any."""
    wish = headers.get("likewise-lease")
    if wish is None or function.lease is None or answer.status_code >= 400:
        return answer
    terms = [LEASE, f"pi={function.lease}", "ttl=60", f"version=00000000.{function.changes}"]
    entry = next((each for each in function.entries if each.id == answer.headers.get("likewise-entry")), None)
    if wants_probe(headers):
        named = wish.partition("probe=")[2][:16]
        probed = next((each for each in function.entries if each.id == named), None)
        if answer.status_code == httpx.codes.NO_CONTENT:
            terms.append("pending")
        elif probed is not None and probed.body == answer.content:
            terms.append("confirmed")
        else:
            terms = ["none", terms[-1], "contradicted"]
    answer.headers["Likewise-Lease"] = "; ".join(terms)
    key = _key(entry)
    if entry is not None:
        answer.headers["Likewise-Reuse"] = "exact" + (f"; radius={function.radius}" if key is not None else "")
    if key is not None:
        answer.headers["Likewise-Key"] = base64.b64encode(key.astype("<f4").tobytes()).decode()
    return answer


def description(function: FakeFunction) -> dict[str, Any]:
    """Return what GET /v1/functions/{name} says."""
    keys = [key for key in map(_key, function.entries) if key is not None]
    dimension = function.dimension or (len(keys[0]) if keys else 1)
    primary = {"name": "vector", "extractor": "vector", "metric": "l2", "dimension": dimension}
    return {"name": function.name, "version": 1, "keys": [primary], "entries": len(function.entries)}


def warm_up(function: FakeFunction, body: bytes, now: float) -> bytes:
    """Return the entries as a pack, the newest first."""
    wanted = int(json.loads(body or b"{}").get("entries", 500))
    packed = [
        Packed(each.id, key, function.radius, each.body, each.media_type, each.expires_at - now, now - each.created_at)
        for each in reversed(function.entries)
        if (key := _key(each)) is not None and each.expires_at > now
    ]
    dimension = len(packed[0].key) if packed else 1
    return write_pack(
        {"function": function.name, "version": f"00000000.{function.changes}"}, packed[:wanted], dimension
    )


def _key(entry: StoredEntry | None) -> Any:
    key = None if entry is None else next(iter(entry.keys.values()))
    return key if isinstance(key, np.ndarray) else None
