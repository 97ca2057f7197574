"""A real server in a process of its own, on a free port."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from likewise.errors import LikewiseError, SettingsError

_URL = re.compile(r"http://[\d.]+:\d+")


class ServerProcess:
    """`likewise serve` while the block runs: the memory journal, loopback, nothing left behind."""

    def __init__(self, functions: Path, target: float, *options: str, start_s: float = 300.0) -> None:
        """Set up. target: accuracy target; options: more flags; start_s: how long it may take to be ready."""
        if not functions.is_dir():
            raise SettingsError(f"{functions} is not there; name the folder of functions with --functions DIR.")
        self._arguments = [
            *(sys.executable, "-m", "likewise", "serve", "--port", "0", "--journal", "memory"),
            *("--functions", str(functions), "--accuracy-target", str(target), *options),
        ]
        self._start_s = start_s
        self.url = ""
        self.pid = 0
        self.exit_code = 0
        """How it ended, once it was ended: 0 where it let go in good order."""

    def __enter__(self) -> Self:
        self._scratch = tempfile.TemporaryDirectory(prefix="likewise-demo-")
        self._log = (Path(self._scratch.name) / "server.log").open("w+")
        self._start()
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def cpu_s(self) -> float:
        """Return the CPU seconds of all its threads so far, to a hundredth; 0 where the system does not tell."""
        try:
            parts = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it as a power cut would: at once, with all that it has not written."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Start it again after `kill`, where it was and with the data that it left. Raises LikewiseError."""
        self._start("--port", self.url.rpartition(":")[2])
        self._wait()

    def _start(self, *options: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 our own command, no shell
            [*self._arguments, *options, "--data-dir", self._scratch.name],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # a group of its own, which ends as a whole
        )
        self.pid = self._process.pid

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.exit_code = int(self._process.returncode)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # workers that outlived their supervisor
        self._log.close()
        self._scratch.cleanup()

    @property
    def ended(self) -> bool:
        """Whether the process is over, for whatever reason."""
        return self._process.poll() is not None

    def _wait(self) -> None:
        deadline = time.monotonic() + self._start_s
        while time.monotonic() < deadline:
            said = Path(self._log.name).read_text()
            if self._process.poll() is not None:
                raise LikewiseError(f"The server did not start; it said:\n{said.strip()}")
            if not self.url and "is serving on" in said and (found := _URL.search(said)):
                self.url = found.group()
            if self.url and self._ready():
                return
            time.sleep(0.05)
        raise LikewiseError(f"The server was not ready after {self._start_s:g} s; it said:\n{said.strip()}")

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:  # noqa: S310 our own server
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def functions_for(name: str) -> Path:
    """Return the folder of functions to serve: `functions` here, what came in the package, or the checkout's.

    Raises SettingsError, with the remedy, where none of them holds the function.
    """
    package = Path(__file__).parent
    for folder in (Path("functions"), package / "functions", package.parents[1] / "functions"):
        if (folder / name / "function.toml").is_file():
            return folder
    raise SettingsError(
        f"The function `{name}` is not here: only `digits` comes with the program. Name the folder that holds it with "
        "--functions DIR; the project's repository has one."
    )
