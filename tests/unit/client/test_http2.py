"""HTTP/2 over TLS, where the extra is installed: what a server speaks is agreed on, and everything works as ever."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from likewise_client import AsyncClient, Client, Retry, TimedOut

h2_connection = pytest.importorskip("h2.connection")
h2_events = pytest.importorskip("h2.events")

LOCALHOST = Path(__file__).parents[2] / "support" / "localhost.pem"
"""A key and its certificate for localhost, for tests alone."""


class Http2Server:
    """Answers every request over one connection at a time, and says which protocol was agreed on."""

    def __init__(self) -> None:
        self.agreed: list[str | None] = []
        self.paths: list[str] = []
        self.hang = False
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(LOCALHOST)
        self._context.set_alpn_protocols(["h2"])
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(plain,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as connection:
                self.agreed.append(connection.selected_alpn_protocol())
                self._talk(connection)
        except OSError:
            return

    def _talk(self, connection: ssl.SSLSocket) -> None:
        config = pytest.importorskip("h2.config").H2Configuration(client_side=False)
        talk = h2_connection.H2Connection(config=config)
        talk.initiate_connection()
        connection.sendall(talk.data_to_send())
        while data := connection.recv(65536):
            for event in talk.receive_data(data):
                if isinstance(event, h2_events.RequestReceived):
                    self.paths.append(dict(event.headers)[b":path"].decode())
                elif isinstance(event, h2_events.DataReceived):
                    talk.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2_events.StreamEnded) and not self.hang:
                    head = [(":status", "200"), ("cache-status", "likewise; hit"), ("content-type", "application/json")]
                    talk.send_headers(event.stream_id, head)
                    talk.send_data(event.stream_id, b'{"label": "stop"}', end_stream=True)
            connection.sendall(talk.data_to_send())

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture
def server() -> Iterator[Http2Server]:
    """A server that speaks nothing else."""
    made = Http2Server()
    yield made
    made.close()


@pytest.fixture
def trust() -> ssl.SSLContext:
    """Trusts that server."""
    return ssl.create_default_context(cafile=str(LOCALHOST))


def test_http2_is_spoken_with_who_speaks_it(server: Http2Server, trust: ssl.SSLContext) -> None:
    """By both clients, over one connection each."""
    with Client(server.url, verify=trust) as client:
        for _ in range(3):
            assert client.infer("f", bytes(100_000), media_type="image/png").result == {"label": "stop"}

    async def later() -> list[Any]:
        async with AsyncClient(server.url, verify=trust) as client_:
            return await asyncio.gather(*(client_.lookup("f", key=[float(i)]) for i in range(5)))

    assert all(answer.found for answer in asyncio.run(later()))
    assert server.agreed == ["h2", "h2"]
    assert len(server.paths) == 8


def test_a_deadline_ends_a_request_over_http2(server: Http2Server, trust: ssl.SSLContext) -> None:
    """As over HTTP/1.1."""
    server.hang = True
    with Client(server.url, verify=trust, retry=Retry(rounds=1)) as client, pytest.raises(TimedOut):
        client.infer("f", b"x", media_type="image/png", deadline_s=0.3)
