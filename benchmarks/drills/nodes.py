"""Servers and Redis as processes that a drill starts, kills and starts again."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import ROOT, Failed, environment
from benchmarks.served import FIXED, spec
from likewise.function.fingerprint import fingerprint, journal_id
from likewise.function.spec_text import read_spec

sys.path.insert(0, str(ROOT / "tests" / "support"))
from redis_server import RedisServer, find_redis

FUNCTION = "drilled"
DIMENSION = 64
NEAR = FIXED.replace("0.3", "0.001")
"""Reuse of the very same key alone, so that an answer says exactly which entry is there."""
_LISTENS = re.compile(r"is serving on http://127\.0\.0\.1:(\d+)")


def fixed_index(text: str) -> str:
    """Return a spec whose index is a graph from the start: left alone, each server times by itself what is faster."""
    return text.replace('extractor = "vector"\n', 'extractor = "vector"\nindex = "hnsw"\n')


def write_functions(folder: Path, entries: int, names: Sequence[str] = (FUNCTION,), *, fixed: bool = False) -> Path:
    """Write functions whose results devices compute; return their folder. fixed: see `fixed_index`."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "function.toml").write_text(fixed_index(spec(NEAR, entries)) if fixed else spec(NEAR, entries))
    return folder


def journaled(functions: Path, name: str = FUNCTION) -> str:
    """Return the id under which a node journals a function without a model."""
    found, version = read_spec(functions / name)
    return journal_id(name, version, fingerprint(found, (), {}))


def random_keys(count: int, seed: int) -> np.ndarray:
    """Return keys of unit norm that are far from each other, shape (count, 64)."""
    keys = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return (keys / np.linalg.norm(keys, axis=1)[:, None]).astype(np.float32)


def entry(key: np.ndarray, label: str, **more: Any) -> dict[str, Any]:
    """Return an entry as it is inserted over HTTP."""
    return {"key": base64.b64encode(key.tobytes()).decode(), "result": {"label": label}, "ttl_s": 3000.0, **more}


class Talk:
    """One connection to a node, opened anew where it broke. Not for several threads."""

    def __init__(self, port: int, timeout_s: float = 30.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def send(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[Any, ...]:
        """Return status, headers and body. Raises OSError or HTTPException where the node is gone.

        What only asks is asked again where the connection was an old one: the node may have closed it as idle.
        """
        again = method == "GET" and self._connection.sock is not None
        try:
            self._connection.request(method, path, body, {"Content-Type": kind})
            response = self._connection.getresponse()
            return response.status, response.headers, response.read()
        except (ConnectionError, http.client.RemoteDisconnected):
            self._connection.close()
            if not again:
                raise
            return self.send(method, path, body, kind)
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def close(self) -> None:
        """Close it; the next request opens it anew."""
        self._connection.close()

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        """Send JSON and return the JSON that comes back. Raises Failed for a problem."""
        status, _, body = self.send(method, path, None if document is None else json.dumps(document).encode())
        if status >= 400:
            raise Failed(f"{method} {path} answered {status}: {body[:300]!r}")
        return json.loads(body) if body else None

    def insert(self, entries: Sequence[Any], *, durable: bool = False, function: str = FUNCTION) -> list[str]:
        """Insert entries; return their ids."""
        path = f"/v1/functions/{function}/entries{'?durable=true' if durable else ''}"
        return [each["id"] for each in self.ask("POST", path, {"entries": entries})["entries"]]

    def look(self, key: np.ndarray, function: str = FUNCTION) -> str | None:
        """Return the id of the entry that answers a key, None where nothing does."""
        status, headers, body = self.send(
            "POST", f"/v1/functions/{function}/lookup", key.tobytes(), "application/octet-stream"
        )
        if status >= 400:
            raise Failed(f"a lookup answered {status}: {body[:200]!r}")
        found: str | None = headers["Likewise-Entry"]
        return found if status == 200 else None

    def pages(self, function: str = FUNCTION) -> Iterator[dict[str, Any]]:
        """Yield all entries."""
        after = ""
        while True:
            page = self.ask("GET", f"/v1/functions/{function}/entries?limit=1000{after}")
            yield from page["entries"]
            if page["next"] is None:
                return
            after = f"&after={page['next']}"

    def count(self, function: str = FUNCTION) -> int:
        """Return how many entries there are."""
        return int(self.ask("GET", "/v1/stats")["functions"][f"{function}@1"]["entries"])


class Node:
    """`likewise serve` in a process of its own, whose data outlives it."""

    def __init__(self, folder: Path, functions: Path, *options: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._command = [
            *(sys.executable, "-m", "likewise", "serve", "--port", "0", "--functions", str(functions)),
            *("--data-dir", str(folder / "data"), "--log-level", "warning", *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "node.log"
        self._talks: list[Talk] = []
        self.port = 0
        self.started = 0.0

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # workers, too

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, ready: bool = True, timeout_s: float = 180.0) -> Node:
        """Start it; return once it listens, or is ready. Raises Failed."""
        with self._log.open("wb") as log:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment() | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        while (found := _LISTENS.search(self._log.read_text(errors="replace"))) is None:
            if self._process.poll() is not None or time.monotonic() > self.started + timeout_s:
                raise Failed(f"a node did not start: {self._log.read_text(errors='replace')[-600:]}")
            time.sleep(0.005)
        self.port = int(found[1])
        if ready:
            self.wait_ready(timeout_s)
        return self

    def talk(self) -> Talk:
        """Return a new connection; it ends with the node."""
        talk = Talk(self.port)
        self._talks.append(talk)
        return talk

    def wait_ready(self, timeout_s: float = 180.0) -> float:
        """Return the seconds from its start until it was ready."""
        talk = self.talk()
        while True:
            with contextlib.suppress(ConnectionRefusedError):  # of several workers, none listens yet
                if talk.send("GET", "/readyz")[0] == 200:
                    return time.monotonic() - self.started
            if time.monotonic() > self.started + timeout_s:
                raise Failed(f"a node was not ready after {timeout_s:g} s")
            time.sleep(0.02)

    def end(self, number: signal.Signals, timeout_s: float = 120.0) -> float:
        """Send a signal and wait for the end; return how long that took."""
        began = time.monotonic()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(timeout_s)
        spent = time.monotonic() - began
        while self._talks:
            self._talks.pop().close()
        return spent


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[RedisServer]:
    """Run a redis-server while the block runs. Raises Failed where there is none."""
    if find_redis() is None:
        raise Failed("there is no redis-server here; install redis, or set LIKEWISE_REDIS_SERVER")
    folder.mkdir(parents=True, exist_ok=True)
    server = RedisServer(folder)
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def cluster(folder: Path, masters: int = 3) -> Iterator[str]:
    """Run a Redis Cluster while the block runs; its URL. Raises Failed where there is no redis-server."""
    from redis import Redis

    if find_redis() is None:
        raise Failed("there is no redis-server here; install redis, or set LIKEWISE_REDIS_SERVER")
    with contextlib.ExitStack() as stack:
        servers = []
        for number in range(masters):
            (folder / f"master{number}").mkdir(parents=True)
            server = RedisServer(folder / f"master{number}", "--cluster-enabled", "yes")
            stack.callback(server.kill)
            servers.append(server)
        clients = [stack.enter_context(Redis(port=server.port)) for server in servers]
        slots = [list(range(number, 16_384, masters)) for number in range(masters)]
        for client, own in zip(clients, slots, strict=True):
            client.execute_command("CLUSTER", "ADDSLOTS", *own)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        deadline = time.monotonic() + 120
        while not all(_joined(client, masters) for client in clients):
            if time.monotonic() > deadline:
                raise Failed("the cluster did not come up")
            time.sleep(0.05)
        yield f"redis+cluster://127.0.0.1:{servers[0].port}"


def _joined(client: Any, masters: int) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    if not isinstance(info, dict):
        info = dict(line.split(":") for line in (info.decode() if isinstance(info, bytes) else info).split())
    return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(masters)


def sharing(server: RedisServer | str) -> tuple[str, ...]:
    """Return the options of a node that shares through a Redis."""
    return ("--journal", "redis", "--redis-url", server if isinstance(server, str) else server.url)


def wait_until(condition: Any, timeout_s: float, what: str) -> float:
    """Wait until a condition holds; return how long it took. Raises Failed, saying what did not happen."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise Failed(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(0.01)
    return time.monotonic() - began
