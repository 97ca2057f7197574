"""`likewise serve`: who is let in, what it says, how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import uvicorn

from likewise.__main__ import main
from likewise.app import create_app
from likewise.commands.serve import ACCEPTED, QuietServer, address, banner, ensure_access
from likewise.errors import SettingsError
from likewise.settings import Settings


def test_public_host_without_any_key_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The refusal shows the three ways on, and nothing is opened or written."""
    data = tmp_path / "data"
    words = ["serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", str(data), "--functions", str(tmp_path)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "likewise keys add" in said
    assert "--create-key" in said
    assert "--host 127.0.0.1" in said
    assert not data.exists()


def test_existing_key_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a key, a public host is fine, and no other key is made."""
    main(["keys", "add", "--name", "cam-1", "--data-dir", str(tmp_path)])
    capsys.readouterr()
    ensure_access(Settings(host="0.0.0.0", data_dir=tmp_path, create_key=True))
    assert not (tmp_path / "access-key").exists()


def test_first_start_may_make_a_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log says where it is, and never what it is."""
    settings = Settings(host="0.0.0.0", data_dir=tmp_path / "data", create_key=True)
    with caplog.at_level(logging.INFO):
        ensure_access(settings)
        ensure_access(settings)
    place = settings.first_key_path
    assert place.stat().st_mode & 0o777 == 0o600
    assert caplog.text.count(str(place)) == 1
    assert place.read_text().strip() not in caplog.text


def test_loopback_asks_for_nothing_unless_told(tmp_path: Path) -> None:
    """On loopback a server starts without keys; `always` asks there too."""
    ensure_access(Settings(data_dir=tmp_path))
    with pytest.raises(SettingsError):
        ensure_access(Settings(data_dir=tmp_path, require_key="always"))


def test_open_public_server_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who says never gets it, and hears what it means."""
    ensure_access(Settings(host="0.0.0.0", data_dir=tmp_path, require_key="never"))
    assert "whoever reaches 0.0.0.0" in caplog.text


@pytest.mark.parametrize(
    ("name", "url"),
    [
        (("127.0.0.1", 80), "http://127.0.0.1:80"),
        (("::1", 8080, 0, 0), "http://[::1]:8080"),
    ],
)
def test_address_is_a_url(name: tuple[str | int, ...], url: str) -> None:
    """IPv6 addresses stand in brackets."""
    assert address(name) == url


class Rounds(asyncio.Protocol):
    """Takes note of the round of the event loop in which it was accepted."""

    now = 0
    accepted: ClassVar[list[int]] = []

    def __init__(self, **_given: object) -> None:
        pass

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.accepted.append(Rounds.now)
        transport.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_connections_that_come_at_once_are_accepted_within_a_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several in each, on the one port; after the end nobody listens there any more."""
    uvloop = pytest.importorskip("uvloop")
    monkeypatch.setattr("likewise.commands.serve.favor_the_loop", lambda: None)
    monkeypatch.setattr(Rounds, "accepted", [])
    config = uvicorn.Config(SimpleNamespace, port=0, http=Rounds, lifespan="off", log_config=None)  # type: ignore[arg-type]
    server = QuietServer(config)

    async def serve() -> tuple[str, int]:
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        place = server.servers[0].sockets[0].getsockname()
        with ExitStack() as stack:
            for _ in range(8 * ACCEPTED):  # the kernel takes them in before anybody accepts
                stack.enter_context(closing(socket.create_connection(place, 10)))
            async with asyncio.timeout(60):
                while len(Rounds.accepted) < 8 * ACCEPTED:
                    Rounds.now += 1
                    await asyncio.sleep(0)
        await server.shutdown()
        return place

    place = uvloop.new_event_loop().run_until_complete(serve())
    assert Rounds.accepted[-1] - Rounds.accepted[0] <= 12
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, 10)


def test_banner_names_functions_versions_policies_and_targets(functions_dir: Path, tmp_path: Path) -> None:
    """The start says what is served, and how careful it is."""
    settings = Settings(functions=functions_dir, data_dir=tmp_path)
    text = banner(settings, create_app(settings).edge.registry)
    assert re.search(r"quadrants@1: image, keys gray, calibrated\+ledger, accuracy target 0\.95\n", text)
    assert re.search(r"devices@1: array, keys v, fixed, .*devices compute", text)
    assert "access keys not needed here" in text


def test_banner_of_an_empty_server_says_how_to_fill_it(tmp_path: Path) -> None:
    """A server without functions is no mystery."""
    (tmp_path / "functions").mkdir()
    settings = Settings(functions=tmp_path / "functions", data_dir=tmp_path, host="0.0.0.0")
    text = banner(settings, create_app(settings).edge.registry)
    assert "none yet" in text
    assert "access keys needed" in text


class Serving:
    """A `likewise serve` process whose words are kept."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "likewise", "serve", "--port", "0", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("LIKEWISE_")},
        )
        self.said: list[str] = []
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("likewise is serving on "):
                self.url = line.split()[-1]
                return
        raise AssertionError(f"did not start: {self.process.communicate()}")

    def get(self, path: str, key: str = "") -> SimpleNamespace:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=10) as answer:
                return SimpleNamespace(status=answer.status, body=answer.read())
        except urllib.error.HTTPError as error:
            return SimpleNamespace(status=error.code, body=error.read())

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, stderr = self.process.communicate(timeout=600)
        return self.process.returncode, stderr


@pytest.fixture
def serving(functions_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    with ExitStack() as stack:

        def start(*words: str) -> Serving:
            server = Serving("--functions", str(functions_dir), "--data-dir", str(tmp_path / "data"), *words)
            stack.callback(server.process.wait)
            stack.callback(server.process.kill)
            return server

        yield start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])
def test_process_says_where_it_is_and_ends_cleanly(serving: Callable[..., Serving], number: signal.Signals) -> None:
    """The printed address answers; a signal ends the process with 0 and without a traceback."""
    server = serving()
    assert server.get("/livez").status == 200
    code, stderr = server.end(number)
    assert code == 0, stderr
    assert "Traceback" not in stderr


def test_requests_under_way_finish_on_sigterm(serving: Callable[..., Serving]) -> None:
    """A request whose body is still arriving when the signal comes gets its answer, while new ones are refused."""
    server = serving("--drain-s", "20")
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({"key": [1.0, 2.0, 3.0, 4.0]}).encode()
    with socket.create_connection((host, int(port)), timeout=600) as connection:
        head = (
            "POST /v1/functions/devices/lookup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body[:5])
        assert server.get("/readyz").status in (200, 503)  # by now the server has read the head
        ended: list[tuple[int, str]] = []
        thread = threading.Thread(target=lambda: ended.append(server.end()))
        thread.start()
        refused = threading.Event()
        while not refused.is_set():
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
            except OSError:
                refused.set()
        connection.sendall(body[5:])
        answer = connection.recv(65536)
        thread.join(300)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert ended[0][0] == 0, ended


def test_public_process_takes_only_the_key_it_made(serving: Callable[..., Serving], tmp_path: Path) -> None:
    """A first start on all addresses leaves a key that works, and lets nobody else in."""
    server = serving("--host", "0.0.0.0", "--create-key")
    key = (tmp_path / "data" / "access-key").read_text().strip()
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    assert server.get("/v1/functions").status == 401
    assert server.get("/v1/functions", "lw_wrong").status == 401
    assert server.get("/v1/functions", key).status == 200
    assert server.get("/livez").status == 200
    code, stderr = server.end()
    assert code == 0
    assert key not in stderr + "".join(server.said)
    assert str(tmp_path / "data" / "access-key") in stderr


def test_port_that_is_taken_ends_with_an_error(functions_dir: Path, tmp_path: Path) -> None:
    """Two servers cannot share a port; the second says so and fails."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ["serve", "--port", str(taken.getsockname()[1])]
        ended = subprocess.run(
            [sys.executable, "-m", "likewise", *words, "--functions", str(functions_dir), "--data-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert ended.returncode == 1
    assert "address already in use" in ended.stderr
