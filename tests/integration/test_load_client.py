"""The load generator of the benchmarks counts an answer for each request that it has a server work on."""

from __future__ import annotations

import socketserver
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.client import Load
from benchmarks.load import Request


class _Answers(socketserver.StreamRequestHandler):
    """Answers every request of a connection, and counts it first."""

    def handle(self) -> None:
        while head := self.rfile.readline():
            length = 0
            while head.strip():
                name, _, value = head.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
                head = self.rfile.readline()
            self.rfile.read(length)
            assert isinstance(self.server, _Server)
            self.server.count()
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nage: 0\r\n\r\nok")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.requests = 0
        self._lock = threading.Lock()

    def count(self) -> None:
        """Count a request that is whole."""
        with self._lock:
            self.requests += 1


def test_a_closed_loop_ends_with_no_request_unanswered(tmp_path: Path) -> None:
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        written = Request("/v1/functions/f/infer", "text/plain", [b"body"] * 4, {}).written(tmp_path)
        seen = Load({"port": server.server_address[1], "connections": 4, "seconds": 0.1, "request": written}).run()
        server.shutdown()
    assert seen["statuses"]["200"] == server.requests >= 4
