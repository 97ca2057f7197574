"""Videos and cameras for tests, all of them real: files, MJPEG over HTTP, a stream that PyAV serves from a process."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

WIDTH, HEIGHT = 64, 48


def until(what: Callable[[], object]) -> None:
    """Wait for something, however busy the machine."""
    deadline = time.monotonic() + 240
    while not what():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a file of JSON lines; none where there is no file yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def quadrant(which: int, seed: int = 0) -> np.ndarray:
    """Return a picture (48, 64, 3), red first, with one bright quadrant, never the same twice."""
    pixels = np.random.default_rng(seed).integers(0, 40, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    row, column = HEIGHT // 2 * (which // 2), WIDTH // 2 * (which % 2)
    pixels[row : row + HEIGHT // 2, column : column + WIDTH // 2] += np.uint8(180)
    return pixels


def write_video(
    path: Path | str, quadrants: Iterable[int], rate: int = 10, codec: str = "libx264", **more: str
) -> Path:
    """Write a video with one picture of each quadrant named. more: `format` of the file."""
    with av.open(str(path), "w", **more) as container:  # type: ignore[call-overload]
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx264":
            stream.options = {"tune": "zerolatency", "g": "10"}
        for at, which in enumerate(quadrants):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(quadrant(which, at), format="rgb24")))
        container.mux(stream.encode())
    return Path(path)


def write_sound(path: Path) -> Path:
    """Write a file that has sound and no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class MjpegCamera:
    """A camera over HTTP: JPEG pictures of the quadrants in turn, about fifty a second. It can die and return."""

    def __init__(self) -> None:
        self._server: ThreadingHTTPServer | None = None
        self._gone = threading.Event()
        self.port = 0
        self.viewers = 0
        """Connections so far."""
        self.come_back()

    @property
    def url(self) -> str:
        """Where it is, with credentials that nobody may print."""
        return f"http://admin:sesame@127.0.0.1:{self.port}/video?token=sesame"

    def come_back(self) -> None:
        """Listen, at the port where it was before."""
        self._gone = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler(self._gone))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def die(self) -> None:
        """Hang up and listen no more."""
        self._gone.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self, gone: threading.Event) -> type[BaseHTTPRequestHandler]:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.viewers += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    for at in range(10_000):
                        body = cv2.imencode(".jpg", quadrant(at % 4, at)[..., ::-1])[1].tobytes()
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
                        self.wfile.write(head.encode() + body + b"\r\n")
                        if gone.wait(0.02):
                            return

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def serve_tcp(quadrants: Sequence[int], codec: str = "libx264") -> tuple[subprocess.Popen[bytes], str]:
    """Start a process in which PyAV serves one viewer over TCP; return it and the URL.

    A process of its own, since PyAV waits for the viewer with the interpreter locked.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    which = ",".join(map(str, quadrants))
    return subprocess.Popen([sys.executable, __file__, f"{url}?listen", which, codec]), url


if __name__ == "__main__":
    write_video(sys.argv[1], map(int, sys.argv[2].split(",")), codec=sys.argv[3], format="mpegts")
