"""A likewise server as an operator runs it, everything on: access keys, metrics, limits, Cache-Status."""

from __future__ import annotations

import base64
import http.client
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import Request
from benchmarks.processes import SERVER_CORE, Child, Failed, free_port
from likewise.access import add_key

DIMENSION = 64
CLUSTERS = 500
RESULT_BYTES = 200

FIXED = 'policy = "fixed"\n[reuse.options]\nthreshold = 0.5\n'
DEFAULT = 'policy = "calibrated+ledger"\n'


def spec(reuse: str, entries: int, dimension: int = DIMENSION) -> str:
    """Return the spec of a function that devices compute, over keys that they send."""
    return (
        f'[input]\nkind = "array"\n[[keys]]\nname = "v"\nextractor = "vector"\ndimension = {dimension}\n'
        f"[capacity]\nentries = {entries}\nbytes = {entries * 2048}\n[reuse]\n{reuse}"
    )


def clustered(count: int, seed: int, dimension: int = DIMENSION) -> tuple[np.ndarray, np.ndarray]:
    """Return keys of unit norm around common centers, shape (count, dimension), and the number of their center."""
    centers = np.random.default_rng(7).normal(size=(CLUSTERS, dimension))
    centers /= np.linalg.norm(centers, axis=1)[:, None]
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, CLUSTERS, count)
    keys = centers[chosen] + rng.normal(size=(count, dimension)) * (0.1 / np.sqrt(dimension))
    return (keys / np.linalg.norm(keys, axis=1)[:, None]).astype(np.float32), chosen


def result(label: int) -> dict[str, str]:
    """Return a result of 200 bytes."""
    document = {"label": f"c{label}", "more": ""}
    missing = RESULT_BYTES - len(json.dumps(document, separators=(",", ":")))
    return document | {"more": "m" * missing}


class Served:
    """A running server, and how to talk to it."""

    def __init__(self, child: Child, port: int, access_key: str) -> None:
        self.child = child
        self.port = port
        self.headers = {"Authorization": f"Bearer {access_key}"}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        """Send JSON and return the JSON that comes back. Raises Failed for a problem."""
        body = None if document is None else json.dumps(document).encode()
        self._connection.request(method, path, body, {**self.headers, "Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= 400:
            raise Failed(f"{method} {path} answered {response.status}: {answer[:300]!r}")
        return json.loads(answer) if answer else None

    def insert(self, function: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Insert results in blocks."""
        for start in range(0, len(entries), 1000):
            self.ask("POST", f"/v1/functions/{function}/entries", {"entries": entries[start : start + 1000]})

    def fill(self, function: str, count: int) -> None:
        """Insert clustered entries."""
        keys, labels = clustered(count, 1)
        self.insert(
            function,
            [{"key": _text(key), "result": result(label)} for key, label in zip(keys, labels.tolist(), strict=True)],
        )

    def warm(self, function: str, seed: int = 2, rounds: int = 120) -> float:
        """Look keys up and bring back what was asked for by ticket, until the policy reuses; return the hit rate."""
        rate = 0.0
        for turn in range(rounds):
            keys, labels = clustered(256, seed * 1000 + turn)
            answers = self.ask("POST", f"/v1/functions/{function}/lookup", {"keys": keys.tolist()})["answers"]
            tickets = [
                {"key": _text(key), "result": result(label), "ticket": answer["ticket"]}
                for key, label, answer in zip(keys, labels.tolist(), answers, strict=True)
                if "ticket" in answer
            ]
            if tickets:
                self.insert(function, tickets)
            rate = 1.0 - len(tickets) / len(keys)
            if rate >= 0.97 and turn >= 20:
                break
        return rate

    def settle(self, timeout_s: float = 300.0) -> None:
        """Wait until the server does nothing by itself any more: indexes are built behind the requests."""
        until = time.monotonic() + timeout_s
        quiet = 0
        while quiet < 5:
            before = self.child.cpu_s()
            time.sleep(0.2)
            quiet = quiet + 1 if self.child.cpu_s() - before <= 0.011 else 0
            if time.monotonic() > until:
                raise Failed(f"the server is still busy by itself after {timeout_s:g} s")

    def outcomes(self, function: str) -> dict[str, int]:
        """Return the answers of a function so far, by outcome."""
        functions = self.ask("GET", "/v1/stats")["functions"]
        found: dict[str, int] = functions[f"{function}@1"]["outcomes"]
        return found

    def lookup(self, function: str, media_type: str, bodies: Sequence[bytes]) -> Request:
        """Return lookups to send."""
        return Request(f"/v1/functions/{function}/lookup", media_type, bodies, self.headers)


def _text(key: np.ndarray) -> str:
    return base64.b64encode(key.tobytes()).decode()


@contextmanager
def serving(folder: Path, specs: Mapping[str, str], *options: str, functions: Path | None = None) -> Iterator[Served]:
    """Run `likewise serve` on the server's core while the block runs.

    specs: by function name; functions: a folder prepared already, instead.
    """
    root = functions or folder / "functions"
    for name, text in specs.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "function.toml").write_text(text)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    keys = data / "access-keys.json"
    keys.unlink(missing_ok=True)
    access_key = add_key(keys, "bench", ["admin"])
    port = free_port()
    command = [sys.executable, "-m", "likewise", "serve", "--port", str(port), "--functions", str(root)]
    command += ["--data-dir", str(data), "--require-key", "always", "--log-level", "warning", *options]
    with Child(command, SERVER_CORE, folder / "serve.log") as child:
        child.wait_for_port(port)
        yield Served(child, port, access_key)
