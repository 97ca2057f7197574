"""Several worker processes behind one port: each with its own socket, kept alive, drained together."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from types import FrameType

log = logging.getLogger("likewise")

SHORT_LIFE_S = 5.0
"""A worker that ends sooner than this after its start is started again only after a pause."""
FIRST_PAUSE_S = 0.5
"""That pause; doubled with each short life in a row."""
LONGEST_PAUSE_S = 30.0
LOOK_S = 0.2
"""Time between two looks at the workers where nothing happens."""
SHORT_LIVES = 5
"""Short lives of one worker in a row after which the supervisor ends, where no other worker serves either."""

Work = Callable[[int, socket.socket, Callable[[], None]], None]
"""What a worker does: its number, its socket, and what to call once it listens.

Has to be a module's function, to be found by the child.
"""


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` listening sockets on one port; the kernel spreads connections over them (SO_REUSEPORT).

    port 0 takes any free one. Raises OSError where the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            each = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind((host, port))
            port = each.getsockname()[1]
            each.set_inheritable(True)
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


class Supervisor:
    """Runs one process per socket until told to stop; one that ends by itself is started again."""

    def __init__(
        self,
        work: Work,
        sockets: list[socket.socket],
        drain_s: float,
        on_serving: Callable[[], None] = lambda: None,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """Set up.

        drain_s: how long workers may take to finish after SIGTERM before they are killed.
        on_serving: called once, when all workers listen.
        """
        self._work = work
        self._sockets = sockets
        self._drain_s = drain_s
        self._on_serving = on_serving
        self._first_pause_s = first_pause_s
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, SpawnProcess] = {}
        self._listening: dict[int, Event] = {}
        self._started_at: dict[int, float] = {}
        self._due_at: dict[int, float] = {}
        self._short_lives = [0] * len(sockets)
        self._announced = False
        self._stopping = False
        self._code = 0

    def run(self) -> int:
        """Start the workers and keep them alive until SIGTERM or SIGINT; return 0 once they have drained.

        Returns 1 where they end again and again as soon as they are started.
        """
        before = {each: signal.signal(each, self._stop) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            for number in range(len(self._sockets)):
                self._start(number)
            while not self._stopping:
                alive = [process.sentinel for process in self._processes.values() if process.is_alive()]
                wait(alive, timeout=LOOK_S) if alive else time.sleep(LOOK_S)
                self._tend()
                if not self._announced and all(event.is_set() for event in self._listening.values()):
                    self._announced = True
                    self._on_serving()
            self._drain()
            return self._code
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [process.pid or 0 for process in self._processes.values() if process.is_alive()]

    def _start(self, number: int) -> None:
        listening = self._listening[number] = self._context.Event()
        process = self._context.Process(
            target=_run, args=(self._work, number, self._sockets[number], listening), name=f"likewise-worker-{number}"
        )
        process.start()
        self._processes[number] = process
        self._started_at[number] = time.monotonic()

    def _tend(self) -> None:
        now = time.monotonic()
        for number, process in list(self._processes.items()):
            if process.is_alive() or self._stopping:
                continue
            if number not in self._due_at:
                self._bury(number, process.exitcode, now)
            elif now >= self._due_at[number]:
                del self._due_at[number]
                self._start(number)

    def _bury(self, number: int, code: int | None, now: float) -> None:
        """Decide when a worker that ended is started again, or that this leads nowhere."""
        short = now - self._started_at[number] < SHORT_LIFE_S
        lives = self._short_lives[number] = self._short_lives[number] + 1 if short else 0
        pause_s = min(LONGEST_PAUSE_S, self._first_pause_s * 2 ** (lives - 1)) if short else 0.0
        serves = any(self._processes[i].is_alive() and event.is_set() for i, event in self._listening.items())
        if lives >= SHORT_LIVES and not serves:
            log.error(
                "worker %d ended with exit code %s, %d times in a row right after its start, and no other serves: "
                "giving up. What it logged above says why.", number, code, lives
            )  # fmt: skip
            self._code = 1
            self._stopping = True
            return
        log.error("worker %d ended with exit code %s; it is started again in %.1f s", number, code, pause_s)
        self._due_at[number] = now + pause_s

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._stopping = True

    def _drain(self) -> None:
        for process in self._processes.values():
            if process.is_alive():
                process.terminate()
        deadline = time.monotonic() + self._drain_s + 5.0
        for process in self._processes.values():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                log.error("%s did not drain in time and is killed", process.name)
                process.kill()
                process.join()


def _run(work: Work, number: int, sock: socket.socket, listening: Event) -> None:
    threading.Thread(target=_end_with_supervisor, name="likewise-supervisor-watch", daemon=True).start()
    work(number, sock, listening.set)


def _end_with_supervisor() -> None:
    """Drain once the supervisor is gone: killed, it cannot tell, and its workers would keep the port for good."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)
