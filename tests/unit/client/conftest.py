"""Fixtures for the client: a manual clock, and a real HTTP server whose answers a test writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class ManualClock:
    """A clock that goes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


class ScriptedServer:
    """A real HTTP server on a free port; each request runs the next step of the script, then the last again."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.script: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.release = threading.Event()
        self.arrived = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                server.requests.append((self.command, self.path, body))
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                server.arrived.set()
                step = server.script.pop(0) if len(server.script) > 1 else server.script[0]
                step(self)

            do_GET = do_POST = do_DELETE = _serve  # noqa: N815 named by http.server

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(
        self, status: int, body: bytes = b"", media_type: str = "application/json", **headers: str
    ) -> ScriptedServer:
        """Add an answer to the script."""

        def step(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in {"Content-Type": media_type, **headers}.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.script.append(step)
        return self

    def hang(self) -> ScriptedServer:
        """Add a request that is not answered until the test is over."""

        def step(handler: BaseHTTPRequestHandler) -> None:
            self.release.wait(300)
            handler.close_connection = True

        self.script.append(step)
        return self

    def drop(self) -> ScriptedServer:
        """Add a request after which the connection is closed without an answer."""

        def step(handler: BaseHTTPRequestHandler) -> None:
            handler.close_connection = True

        self.script.append(step)
        return self

    def close(self) -> None:
        """Stop, and let hanging requests go."""
        self.release.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    """A real HTTP server whose answers the test writes."""
    server = ScriptedServer()
    yield server
    server.close()
