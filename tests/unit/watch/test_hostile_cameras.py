"""Cameras over HTTP that mean harm: what they send is bounded in bytes and time, and they lead nowhere else."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from likewise_watch.address import addresses
from likewise_watch.camera import LEAST_BYTES, Camera
from likewise_watch.errors import SourceLost

JPEG = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
MULTIPART = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\n"
PART = b"Content-Type: image/jpeg\r\n"


ALONE = """
import sys
from likewise_watch.address import addresses
from likewise_watch.camera import Camera
from likewise_watch.errors import SourceLost
try:
    with Camera(addresses([sys.argv[1]])[0], 3.0, 1_000_000) as source:
        for _ in source.frames():
            pass
except SourceLost:
    # getrusage also knows the parent's peak, from before this process was another program
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


class Hostile:
    """Sends one thing, and then another again and again; counts how often it was asked."""

    def __init__(self, first: bytes, again: bytes = b"") -> None:
        self._first, self._again = first, again
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/video"
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.asked += 1
            with wire:
                try:
                    wire.recv(4096)
                    wire.sendall(self._first)
                    while self._again:
                        wire.sendall(self._again)
                except OSError:  # it was given up
                    continue

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def hostile() -> Iterator[Callable[..., Hostile]]:
    made: list[Hostile] = []

    def start(first: bytes, again: bytes = b"") -> Hostile:
        made.append(Hostile(first, again))
        return made[-1]

    yield start
    for each in made:
        each.close()


def watched(url: str, timeout_s: float, **options: str) -> int:
    """Return how many frames came before it ended. Raises SourceLost."""
    with Camera(addresses([url], options=options)[0], timeout_s, 1_000_000) as source:
        return sum(1 for _ in source.frames())


@pytest.mark.parametrize(
    ("first", "again"),
    [
        pytest.param(MULTIPART + PART + b"Content-Length: 2000000000\r\n\r\n" + JPEG, bytes(1 << 16), id="length"),
        pytest.param(MULTIPART + PART + b"\r\n" + JPEG, bytes(1 << 16), id="no-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG[:-2], bytes(1 << 16), id="no-end"),
    ],
)
def test_a_picture_without_end_takes_bounded_memory(
    hostile: Callable[..., Hostile], first: bytes, again: bytes
) -> None:
    """However long it claims to be, and however fast it comes."""
    done = subprocess.run([sys.executable, "-c", ALONE, hostile(first, again).url], capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 10 * LEAST_BYTES


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(MULTIPART, id="part's head"),
        pytest.param(MULTIPART + b"X: ", id="line"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", id="head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace\r\n\r\n", id="no boundary"),
        pytest.param(MULTIPART.replace(b"OK\r\n", b"OK\r\nContent-Encoding: gzip\r\n"), id="no gzip"),
    ],
)
def test_heads_without_end_are_given_up(hostile: Callable[..., Hostile], first: bytes) -> None:
    """When the time for the next frame is over."""
    with pytest.raises(SourceLost):
        watched(hostile(first, b"X-A: " + b"a" * 1000 + b"\r\n").url, 1.0)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_redirects_are_followed_where_the_operator_says_so_alone(hostile: Callable[..., Hostile], status: int) -> None:
    """Neither to files nor to whatever else this machine reaches."""
    inner = hostile(MULTIPART + PART + b"Content-Length: %d\r\n\r\n" % len(JPEG) + JPEG + b"\r\n--b--\r\n")
    for target in (inner.url, inner.url.replace("127.0.0.1", "localhost"), "file:///etc/passwd"):
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
        with pytest.raises(SourceLost, match="max_redirects"):
            watched(hostile(head).url, 20.0)
    assert inner.asked == 0
    head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {inner.url}\r\nContent-Length: 0\r\n\r\n".encode()
    with pytest.raises(SourceLost) as lost:
        watched(hostile(head).url, 20.0, max_redirects="8")
    assert "max_redirects" not in str(lost.value)
    assert inner.asked
