"""`likewise watch` on a real RTSP server: the camera is killed and comes back, then the server is; nobody helps."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.drills.nodes import Node
from benchmarks.judgement import Bar, Figure
from benchmarks.processes import ROOT, Failed, environment, free_port

CAMERA = Bar("watch/camera", "RTSP camera killed: next result after it listens again", "s", "", 15, True)
SERVER = Bar("watch/server", "server killed: next result after it is ready again", "s", "", 15, True)
LOST = Bar("watch/lost", "frames out of order, or neither answered nor counted as dropped", "frames", "", 0, True)
BARS = (CAMERA, SERVER, LOST)

SCRIPT = Path(__file__).with_name("rtsp_server.py")


def drill(folder: Path, quick: bool = False) -> Iterator[Figure]:
    """Watch a camera, kill and restart it and the server, and count what came out."""
    python = gstreamer_python()
    if python is None:
        missing = "gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-base, -good and -ugly"
        yield from (Figure(bar, note=f"skipped: no RTSP server here; Debian has it in {missing}") for bar in BARS)
        return
    functions = folder / "functions"
    shutil.copytree(ROOT / "functions" / "digits", functions / "digits")
    port = free_port()
    node = Node(folder / "node", functions, "--journal", "memory", "--port", str(free_port()))
    camera = _Process([python, str(SCRIPT), str(port)])
    watch = _Process()
    results, counts = folder / "results.jsonl", folder / "counts.json"
    try:
        node.start()
        watch.command = [
            *(sys.executable, "-m", "likewise_watch.command", f"rtsp://admin:sesame@127.0.0.1:{port}/camera"),
            *("--function", "digits", "--url", f"http://127.0.0.1:{node.port}", "--wait", "60", "--timeout", "5"),
            *("--output", str(results), "--json", str(counts)),
        ]
        camera.start()
        watch.start(folder / "watch.log")
        _more(results, watch, 20)
        away = []
        for _ in range(1 if quick else 3):
            camera.kill()
            time.sleep(1)  # long enough that the connection is found dead
            camera.start()
            began = _listening(port)
            away.append(_more(results, watch, 1) - began)
            _more(results, watch, 10)
        yield Figure(CAMERA, away, [1.0], note=f"{len(away)} times, the start of the picture included")
        away = []
        for _ in range(1 if quick else 3):
            node.end(signal.SIGKILL)
            time.sleep(0.5)
            node.start()
            began = time.monotonic()
            away.append(_more(results, watch, 1) - began)
            _more(results, watch, 10)
        yield Figure(SERVER, away, [1.0], note=f"{len(away)} times")
        watch.end(signal.SIGINT)
    finally:
        watch.kill()
        camera.kill()
        node.end(signal.SIGKILL)
    if "sesame" in (folder / "watch.log").read_text() + results.read_text():
        raise Failed("the camera's password was printed")
    (found,) = json.loads(counts.read_text())["sources"]
    numbers = [json.loads(line)["frame"] for line in results.read_text().splitlines()]
    disorder = sum(later <= earlier for earlier, later in itertools.pairwise(numbers))
    accounted = found["answered"] + found["dropped"] + found["failed"]
    under_way = 2  # one that waited, one that was sent, when it ended
    lost = max(0, found["sampled"] - accounted - under_way) + abs(found["answered"] - len(numbers))
    note = f"{found['read']} frames read, {found['answered']} answered, {found['dropped']} dropped"
    yield Figure(LOST, [float(disorder + lost)], [1.0], note=f"{note}, {found['reconnects']} reconnects")


def gstreamer_python() -> str | None:
    """Return a Python that has GStreamer's RTSP server; None where there is none."""
    for python in (os.environ.get("LIKEWISE_GSTREAMER_PYTHON"), sys.executable, "/usr/bin/python3"):
        if python and Path(python).exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run([python, str(SCRIPT), "--check"], capture_output=True, timeout=60, check=False)
                if done.returncode == 0:
                    return python
    return None


class _Process:
    def __init__(self, command: list[str] | None = None) -> None:
        self.command = command or []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def over(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def start(self, log: Path | None = None) -> None:
        with (log or Path(os.devnull)).open("wb") as file:
            self._process = subprocess.Popen(self.command, stdout=file, stderr=file, env=environment())

    def end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(60)

    def kill(self) -> None:
        self.end(signal.SIGKILL)


def _more(results: Path, watch: _Process, count: int, timeout_s: float = 120.0) -> float:
    """Return when so many more results are there than now. Raises Failed where they do not come."""

    def there() -> int:
        return results.read_bytes().count(b"\n") if results.exists() else 0

    wanted = there() + count
    return _until(lambda: there() >= wanted, watch, timeout_s, "no more results came")


def _listening(port: int) -> float:
    def open_now() -> bool:
        with socket.socket() as link:
            return link.connect_ex(("127.0.0.1", port)) == 0

    return _until(open_now, None, 60.0, "the camera did not start")


def _until(what: Callable[[], bool], watch: _Process | None, timeout_s: float, failure: str) -> float:
    deadline = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline or (watch is not None and watch.over):
            raise Failed(failure)
        time.sleep(0.01)
    return time.monotonic()
