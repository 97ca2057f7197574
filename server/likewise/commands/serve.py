"""`likewise serve`: one server process, from its settings to its end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

from likewise.access import create_first_key, read_keys
from likewise.app import create_app
from likewise.commands.workers import Supervisor, bind
from likewise.errors import LikewiseError, SettingsError
from likewise.function.registry import Registry
from likewise.http.connections import SPARE
from likewise.http.hot import Hot
from likewise.http.protocol import HotProtocol
from likewise.naming import kept_name
from likewise.options import add_arguments as add_settings
from likewise.options import read_settings
from likewise.settings import Settings
from likewise.workers.link import Place

_DESCRIPTION = """\
Serves the functions in a folder. One process, nothing else to run. Prints what it serves and where; on SIGTERM it
takes no new connections, finishes the requests under way, and ends.

Each option can also come from the environment (the name in brackets) or from a TOML file given with --config."""

OTHER_FILES = 256
"""Files that a server has open beside its connections: models, journal, peers."""
ACCEPTED = 8
"""Connections accepted in one round of the event loop at most. libuv takes one for each handle of a socket, so a device
behind a hundred others would wait for a hundred rounds."""

log = logging.getLogger("likewise")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: all settings."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; 0 after draining, 1 where it could not listen."""
    settings = read_settings(vars(args), os.environ)
    _log_as(settings)
    ensure_access(settings)
    if settings.workers > 1:
        return _supervise(settings)
    allow_connections(settings.max_connections)
    app = create_app(settings)
    print(banner(settings, app.edge.registry), flush=True)
    server = Server(configuration(settings, app))
    try:
        server.run()
    except SystemExit:  # it could not listen, and has logged why
        return 1
    return 0 if server.started else 1


def _supervise(settings: Settings) -> int:
    """Serve with several workers on one port."""
    try:
        sockets = bind(settings.host, settings.port, settings.workers)
    except OSError as error:
        log.error("Cannot listen on %s port %d: %s. Choose another --port.", settings.host, settings.port, error)
        return 1
    place = address(sockets[0].getsockname())
    print(f"likewise {version('likewise')}, {settings.workers} workers, sharing through {settings.journal}", flush=True)
    settings = replace(settings, node=settings.node or kept_name(settings.data_dir))

    def announce() -> None:
        print(f"likewise is serving on {place}", flush=True)

    with tempfile.TemporaryDirectory(prefix="likewise-", ignore_cleanup_errors=True) as folder:  # of mode 0700
        work = partial(_work, settings, Path(folder))
        return Supervisor(work, sockets, settings.drain_s, announce).run()


def _work(
    settings: Settings, folder: Path, number: int, listening: socket.socket, on_listening: Callable[[], None]
) -> None:
    """Be one of several workers: a node of its own name, so that it finds again what it learned.

    folder: where the workers find each other.
    """
    _log_as(settings)
    allow_connections(settings.max_connections)
    try:
        app = create_app(settings, f"{settings.node}-{number}", Place(folder, number, settings.workers))
    except LikewiseError as error:
        log.error("worker %d: %s", number, error)
        sys.exit(1)
    if number == 0:
        print(banner(settings, app.edge.registry), flush=True)
    QuietServer(configuration(settings, app), on_listening).run([listening])


def _log_as(settings: Settings) -> None:
    """Log as the settings have it; libraries only from warnings on, uvicorn's access log where it is asked for."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.basicConfig(level=max(logging.WARNING, level), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    log.setLevel(level)
    logging.getLogger("uvicorn.access").setLevel(logging.INFO)


def allow_connections(count: int) -> None:
    """Raise the process's limit on open files to what so many connections take, as far as the system lets it."""
    if resource is None:
        return
    needed = count + SPARE + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= needed:
        return
    granted = needed if hard == unlimited else min(hard, needed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    if granted < needed:
        log.warning(
            "Only %d files may be open, too few for max_connections %d. Raise the limit (ulimit -n %d) or lower it.",
            granted, count, needed,
        )  # fmt: skip


def configuration(settings: Settings, app: Hot) -> uvicorn.Config:
    """Return how uvicorn is to serve the application."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="auto",  # uvloop where it is installed
        http=HotProtocol,  # httptools, with a shortcut for hits
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        proxy_headers=False,  # nothing here depends on where a request comes from
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )


def favor_the_loop() -> None:
    """See to it that the event loop is kept waiting as little as can be by what else the process does.

    All objects that exist leave the garbage collector's rounds, what holds the entries among them: a round over the
    results of a million entries would stop the loop for some 20 ms, and none of them is part of a cycle. And a thread
    that works in Python, as the journal's does, hands the interpreter over after half a millisecond instead of five.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(0.0005)


class QuietServer(uvicorn.Server):
    """Uvicorn's server, which says when it listens, and ends with exit code 0 once it has drained."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and let the loop come first from now on."""
        await super().startup(sockets)
        favor_the_loop()
        if self.started:
            await self._accept_more()
            self._on_listening()

    async def _accept_more(self) -> None:
        """Have as many as `ACCEPTED` connections accepted in one round of uvloop, by as many handles of the socket."""
        loop = asyncio.get_running_loop()
        if not type(loop).__module__.startswith("uvloop"):  # asyncio's own takes all that there are
            return
        protocol: Any = self.config.http_protocol_class  # it takes more than asyncio knows of
        make = partial(
            protocol,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        for listening in [each for server in self.servers for each in server.sockets]:
            for _ in range(ACCEPTED - 1):
                copy = socket.socket(fileno=os.dup(listening.fileno()))
                self.servers.append(await loop.create_server(make, sock=copy, backlog=self.config.backlog))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT. Uvicorn would raise it again at the end, as if it were not obeyed."""
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


class Server(QuietServer):
    """The only worker's server: says where it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the address with the real port; others wait for this line."""
        await super().startup(sockets)
        if self.started:
            print(f"likewise is serving on {address(self.servers[0].sockets[0].getsockname())}", flush=True)


def address(name: tuple[str | int, ...]) -> str:
    """Return the URL of a socket's own name, as getsockname gives it."""
    host, port = name[:2]
    return f"http://[{host}]:{port}" if ":" in str(host) else f"http://{host}:{port}"


def ensure_access(settings: Settings) -> None:
    """See to it that nobody reaches a server unasked.

    Makes the first access key where the settings say so. Raises SettingsError where a key is needed and none exists.
    """
    if not settings.key_required:
        if not settings.loopback:
            log.warning("require_key is never: whoever reaches %s may use and change this server.", settings.host)
        return
    if read_keys(settings.keys_path):
        return
    if not settings.create_key:
        why = (
            f"Listening on {settings.host} lets other machines in"
            if settings.require_key == "auto"
            else f"require_key is {settings.require_key}"
        )
        private = (
            "Or stay private:  --host 127.0.0.1"
            if settings.require_key == "auto"
            else ("Or without keys:  --require-key auto, on 127.0.0.1")
        )
        raise SettingsError(
            f"{why}, and there is no access key yet.\n"
            f"Make one:         likewise keys add --name first --scope admin --data-dir {settings.data_dir}\n"
            f"Or at the start:  --create-key writes one to {settings.first_key_path}\n"
            f"{private}"
        )
    create_first_key(settings.keys_path, settings.first_key_path)
    log.info("Made the first access key, scope admin, and wrote it to %s.", settings.first_key_path)


def banner(settings: Settings, registry: Registry) -> str:
    """Return what is printed at the start: what is served, and how."""
    lines = [f"likewise {version('likewise')}", f"functions from {settings.functions.resolve()}"]
    for function in registry:
        policy = next(iter(function.policies.values())).statistics()
        computes = "" if function.runner else ", no model: devices compute"
        lines.append(
            f"  {function.id}: {function.spec.input.kind}, keys {', '.join(function.policies)}, "
            f"{policy.policy}, accuracy target {policy.accuracy_target:g}{computes}"
        )
    if not len(registry):
        lines.append("  none yet: add a folder with a function.toml, or register one with PUT /v1/functions/NAME")
    keys = "needed" if settings.key_required else "not needed here"
    lines.append(f"data in {settings.data_dir.resolve()}; journal {settings.journal}; access keys {keys}")
    return "\n".join(lines)
