"""Who takes results in tests: a web hook, and a broker that knows as much of MQTT as one publisher needs."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hook:
    """A web hook. statuses: what it answers to its first requests; afterwards 204. Answers wait while `busy` is set."""

    def __init__(self, *statuses: int, location: str = "") -> None:
        self.taken: list[Any] = []
        self.asked = 0
        self.authorization: str | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.authorization = self.headers.get("Authorization")
                status = statuses[hook.asked] if hook.asked < len(statuses) else 204
                hook.asked += 1
                hook.go_on.wait(60)
                if status == 204:
                    hook.taken.append(body)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    if location:
                        self.send_header("Location", location)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is, with credentials."""
        return f"http://me:sesame@127.0.0.1:{self._server.server_address[1]}/results"

    def close(self) -> None:
        """Listen no more."""
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


class Broker:
    """Takes what clients publish (MQTT 3.1.1). refusal: the return code of CONNACK, 0: welcome."""

    def __init__(self, refusal: int = 0) -> None:
        self.taken: list[tuple[str, Any]] = []
        self.logins: list[bytes] = []
        self._refusal = refusal
        self._open: list[socket.socket] = []
        self.port = 0
        self.come_back()

    def come_back(self) -> None:
        """Listen, at the port where it was before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def die(self) -> None:
        """Hang up and listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                link = listener.accept()[0]
                self._open.append(link)
                threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as stream, contextlib.suppress(OSError, struct.error, IndexError):
            while head := stream.read(1):
                body = stream.read(_length(stream))
                kind = head[0] >> 4
                if kind == 1:  # CONNECT
                    self.logins.append(body)
                    link.sendall(bytes((0x20, 2, 0, self._refusal)))
                elif kind == 3:  # PUBLISH, QoS 1
                    (size,) = struct.unpack(">H", body[:2])
                    self.taken.append((body[2 : 2 + size].decode(), json.loads(body[4 + size :])))
                    link.sendall(b"\x40\x02" + body[2 + size : 4 + size])
                elif kind == 12:  # PINGREQ
                    link.sendall(b"\xd0\x00")


def _length(stream: Any) -> int:
    """Return the remaining length of a packet (MQTT 3.1.1, section 2.2.3)."""
    value, shift = 0, 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value
