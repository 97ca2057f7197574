"""What the connection takes from uvicorn: a new version that changes it has to be read before it is let in."""

from __future__ import annotations

import asyncio
import inspect

import pytest
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http import httptools_impl
from uvicorn.server import Server, ServerState

READ = (
    "uvicorn {version} changed {what}. Read its server.py and protocols/http/httptools_impl.py, bring "
    "likewise/http/connection.py and output.py in line, and only then raise the cap in pyproject.toml."
)


def changed(what: str) -> str:
    return READ.format(version=uvicorn.__version__, what=what)


def test_state_has_what_connections_share() -> None:
    """The server counts, stops and dates by these."""
    state = vars(ServerState())
    for name, kind in {"total_requests": int, "connections": set, "tasks": set, "default_headers": list}.items():
        assert isinstance(state.get(name), kind), changed(f"ServerState.{name}")
    assert set(state) == {"total_requests", "connections", "tasks", "default_headers"}, changed("ServerState")


@pytest.mark.parametrize("name", ["app", "access_log", "root_path", "loaded", "load", "http"])
def test_configuration_has_what_is_read(name: str) -> None:
    """The application, and how it is to be served."""
    assert hasattr(Config(lambda: None), name), changed(f"Config.{name}")


def test_server_makes_a_protocol_with_these_arguments_and_asks_it_to_shut_down() -> None:
    """By name: config, server_state, app_state, _loop; and nothing of a connection is called but `shutdown`."""
    startup = inspect.getsource(Server.startup)
    for text in ("config.http_protocol_class(", "config=config", "server_state=", "app_state=", "_loop=_loop"):
        assert text in startup, changed("how Server.startup makes protocols")
    assert "connection.shutdown()" in inspect.getsource(Server.shutdown), changed(
        "how Server.shutdown ends connections"
    )
    waits = inspect.getsource(Server._wait_tasks_to_complete)
    assert "server_state.connections" in waits, changed("how the server waits for connections")
    assert "server_state.tasks" in waits, changed("how the server waits for tasks")


def test_status_lines_are_there() -> None:
    """Status lines come from uvicorn, all of them."""
    assert httptools_impl.STATUS_LINE[431].startswith(b"HTTP/1.1 431 "), changed("STATUS_LINE")
    assert httptools_impl.STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n", changed("STATUS_LINE")


async def test_addresses_are_read_from_a_transport() -> None:
    """A connection knows who it is with."""
    ends: asyncio.Queue[object] = asyncio.Queue()

    class Probe(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            ends.put_nowait(httptools_impl.get_remote_addr(transport))
            transport.close()

    server = await asyncio.get_running_loop().create_server(Probe, "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        name = writer.get_extra_info("sockname")
        assert await ends.get() == name, changed("get_remote_addr")
        writer.close()
