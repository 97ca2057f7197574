"""Processes on cores of their own: started, waited for, measured by the time they spent, and ended."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
SERVER_CORE = CORES[0]
LOAD_CORE = CORES[-1]


class Failed(RuntimeError):
    """A process that a row needs did not do its part; the message has its last words."""


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    """Return the environment for a child: this checkout's packages first, one thread for numeric libraries."""
    paths = [str(ROOT / "server"), str(ROOT / "client_sdk"), str(ROOT)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIKEWISE_")}
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def pin(core: int) -> None:
    """Keep the calling process on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


class Child:
    """A process pinned to a core; ends with the `with` block."""

    def __init__(self, command: Sequence[str], core: int, log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PINNED, str(core), *command],
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=environment() if env is None else env,
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for_port(self, port: int, timeout_s: float = 60.0) -> None:
        """Return once it listens. Raises Failed where it ends before that, or takes too long."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise Failed(f"ended with {self._process.returncode}: {self.last_words()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return
            time.sleep(0.05)
        raise Failed(f"did not listen within {timeout_s:g} s: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text(errors="replace")[-600:].strip()

    def cpu_s(self) -> float:
        """Return the CPU seconds that all its threads spent so far."""
        return cpu_s(self.pid)


# Pins itself, then becomes the command: so the affinity stands before its first thread.
_PINNED = (
    "import os, sys\n"
    "if hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {int(sys.argv[1])})\n"
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that all threads of a process spent so far, to a hundredth."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def output_of(command: Sequence[str], core: int, timeout_s: float, log: Path) -> str:
    """Run a command pinned to a core and return what it printed. Raises Failed."""
    with log.open("wb") as errors:
        try:
            done = subprocess.run(
                [sys.executable, "-c", _PINNED, str(core), *command],
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=environment(),
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(command[:4])} took over {timeout_s:g} s") from None
    if done.returncode:
        raise Failed(f"{' '.join(command[:4])} ended with {done.returncode}: {log.read_text(errors='replace')[-600:]}")
    return done.stdout.decode()


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this process on one core while the block runs."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
