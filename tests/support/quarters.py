"""A function whose model says which quarter of 16 numbers is largest, and devices that ask it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from likewise_client import Client, DeviceCache

RNG = np.random.default_rng(0)


def sound(place: int) -> np.ndarray:
    """Return an input of one of four kinds, never the same twice."""
    value = np.zeros(16, np.float32)
    value[4 * place : 4 * place + 4] = 1.0
    return value + RNG.normal(0, 0.02, 16).astype(np.float32)


def make_quarters(root: Path, projection: str = "") -> Path:
    """Write the function into a folder of functions, and return that. projection: what its file holds, if any."""
    from onnx import helper
    from tests.conftest import _save  # the makers of small models

    weights = np.zeros((16, 4), np.float32)
    for kind in range(4):
        weights[4 * kind : 4 * kind + 4, kind] = 1.0
    nodes = [helper.make_node("MatMul", ["input", "w"], ["logits"])]
    _save(root / "quarters" / "1" / "model.onnx", nodes, {"w": weights}, [16], 4, "logits")
    (root / "quarters" / "1" / "labels.txt").write_text("a\nb\nc\nd\n")
    named, metric = ("key.json", "cosine") if projection else ("off", "l2")
    if projection:
        (root / "quarters" / "1" / named).write_text(projection)
    (root / "quarters" / "function.toml").write_text(
        '[input]\nkind = "array"\n[model]\n[result]\nkind = "label"\nlabels = "labels.txt"\n'
        f'[[keys]]\nextractor = "vector"\ndimension = 16\nmetric = "{metric}"\nprojection = "{named}"\n'
    )
    return root


def warmed(server):
    """Return a server that has answered enough to lend tokens."""
    with Client(server.url) as client:
        for turn in range(150):
            client.infer("quarters", sound(turn % 4))
    return server


def stats(server):
    """Return what the server counts of the function."""
    return server.http.get("/v1/stats").json()["functions"]["quarters@1"]


def make(server, coin=lambda: 0.99, clock=None, kind=Client, on_answer=None, **options):
    """Return a client whose tier tosses a coin of the test's. options: of its DeviceCache."""
    settings = {"clock": clock} if clock else {}
    client = kind(server.url, device="phone", device_cache=DeviceCache(**options), on_answer=on_answer, **settings)
    client._tier._coin = coin
    return client


def until_local(client, place=0, limit=60):
    """Ask until the device answers by itself."""
    for _ in range(limit):
        answer = client.infer("quarters", sound(place))
        if answer.from_device:
            return answer
    raise AssertionError(client.cache_on_device("quarters"))
