"""`likewise watch` on cameras and servers that come and go, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from cameras import MjpegCamera, lines, until, write_video

from likewise_client import Client, Retry
from likewise_demo.process import ServerProcess
from likewise_watch.address import addresses
from likewise_watch.encoding import portable
from likewise_watch.found import Found
from likewise_watch.reader import Reading
from likewise_watch.watch import Watch


class Kept:
    """A sink that keeps what it gets."""

    lost = 0

    def __init__(self) -> None:
        self.found: list[Found] = []

    def put(self, found: Found) -> None:
        self.found.append(found)

    def close(self) -> None:
        pass

    def labels(self) -> list[str]:
        return [each.answer.result["label"] for each in self.found if each.answer is not None]


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    """A camera over HTTP."""
    made = MjpegCamera()
    yield made
    made.die()


def more(kept: Kept) -> None:
    """Wait for some more results."""
    so_far = len(kept.found)
    until(lambda: len(kept.found) > so_far + 5)


@contextlib.contextmanager
def watching(source: str, url: str, reading: Reading | None = None) -> Iterator[tuple[Watch, Kept, Callable[[], None]]]:
    """Watch in a thread; yield it, what it finds, and a function that ends it and raises what it ended with."""
    kept, ended = Kept(), []
    with Client(url, retry=Retry(rounds=1), timeout_s=60) as client:
        watch = Watch(addresses([source], ["cam"]), reading or Reading(), client, "quadrants", portable, [kept])

        def work() -> None:
            try:
                watch.run()
                ended.append(None)
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()

        def end() -> None:
            watch.stop()
            thread.join(240)
            assert ended == [None]

        yield watch, kept, end
        watch.stop()
        thread.join(240)


def test_a_camera_that_dies_and_returns_is_watched_on(shared_server: Any, camera: MjpegCamera) -> None:
    """Numbers and counts go on where they were."""
    with watching(camera.url, shared_server.url, Reading(timeout_s=60, wait_s=240)) as (watch, kept, end):
        (counts,) = watch.counts
        for times in range(1, 3):
            more(kept)
            camera.die()
            until(lambda: counts.state == "lost")
            camera.come_back()
            more(kept)
            assert counts.reconnects == times
        end()
    numbers = [each.frame.number for each in kept.found]
    assert numbers == sorted(set(numbers))
    assert set(kept.labels()) <= {"north-west", "north-east", "south-west", "south-east"}
    assert counts.answered == len(kept.found)
    assert counts.answered + counts.dropped <= counts.sampled <= counts.answered + counts.dropped + 2
    assert counts.source == f"http://127.0.0.1:{camera.port}/video"


def test_a_server_that_restarts_is_found_again(
    functions_dir: Path, camera: MjpegCamera, process: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    """A camera's frames meanwhile are dropped, a recording's wait; both go on alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    film = write_video(tmp_path / "film.mp4", [at % 4 for at in range(3000)])
    server = process("--port", port)
    with (
        watching(camera.url, server.url, Reading(wait_s=240)) as (live, seen, end),
        watching(str(film), server.url) as (recorded, told, _),
    ):
        until(lambda: len(seen.found) > 5 and len(told.found) > 5)
        server.__exit__(None, None, None)
        until(lambda: live.counts[0].server_losses and recorded.counts[0].server_losses)
        dropped = live.counts[0].dropped
        until(lambda: live.counts[0].dropped > dropped)
        so_far = len(seen.found)
        server.__enter__()
        until(lambda: len(seen.found) > so_far + 5)
        end()
        so_far = len(told.found)
        until(lambda: len(told.found) > so_far + 5 or len(told.found) == 3000)
        recorded.stop()
    numbers = [each.frame.number for each in told.found]
    assert numbers == list(range(len(numbers)))
    assert recorded.counts[0].failed == recorded.counts[0].dropped == 0


def test_ctrl_c_ends_it_with_all_files_whole(shared_server: Any, camera: MjpegCamera, tmp_path: Path) -> None:
    """Exit code 130, every line complete, the video playable, a summary, and no credential anywhere."""
    out, film = tmp_path / "out.jsonl", tmp_path / "seen.mp4"
    given = ["--function", "quadrants", "--url", shared_server.url, "--output", str(out), "--save", str(film)]
    command = [sys.executable, "-m", "likewise_watch.command", camera.url, *given, "--wait", "240"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watch:
        until(lambda: len(lines(out)) > 5 or watch.poll() is not None)
        watch.send_signal(signal.SIGINT)
        said, err = watch.communicate(timeout=240)
    assert watch.returncode == 130, err
    assert "frames read" in err
    assert "sesame" not in said + err + out.read_text()
    with av.open(str(film)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(lines(out))


def test_a_source_that_hangs_holds_up_neither_the_others_nor_the_end(shared_server: Any, camera: MjpegCamera) -> None:
    """It takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent, Client(shared_server.url, retry=Retry(rounds=1)) as client:
        kept = Kept()
        sources = addresses([f"http://127.0.0.1:{silent.getsockname()[1]}/video", camera.url])
        watch = Watch(sources, Reading(timeout_s=10, wait_s=240), client, "quadrants", portable, [kept])
        thread = threading.Thread(target=watch.run, daemon=True)
        thread.start()
        more(kept)
        watch.stop()
        thread.join(240)
        assert not thread.is_alive()
    assert [each.read > 0 for each in watch.counts] == [False, True]


def test_sigterm_is_a_good_end(shared_server: Any, camera: MjpegCamera, tmp_path: Path) -> None:
    """As a service manager ends it: exit code 0."""
    out = tmp_path / "out.jsonl"
    given = ["--function", "quadrants", "--url", shared_server.url, "--output", str(out), "--rate", "20"]
    command = [sys.executable, "-m", "likewise_watch.command", camera.url, *given, "--wait", "240"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as watch:
        until(lambda: lines(out) or watch.poll() is not None)
        watch.terminate()
        assert watch.stderr is not None
        err = watch.stderr.read()
    assert watch.returncode == 0, err


def test_ctrl_c_ends_the_wait_for_a_server_too() -> None:
    """Before there is anything to watch."""
    command = [sys.executable, "-m", "likewise_watch.command", "tcp://127.0.0.1:9", "--function", "f"]
    given = ["--url", "http://127.0.0.1:9", "--wait", "86400", "--json", "/dev/null"]
    source = "import sys, threading; from likewise_watch import watch, command; came = watch.described\n"
    source += "def told(*given):\n print('waiting', file=sys.stderr, flush=True)\n return came(*given)\n"
    source += f"command.described = told; sys.exit(command.main({[*command[3:], *given]!r}))"
    with subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stderr is not None
        assert watch.stderr.readline() == "waiting\n"
        watch.send_signal(signal.SIGINT)
        err = watch.stderr.read()
    assert watch.returncode == 130, err
    assert "Traceback" not in err


def test_a_video_may_come_through_a_pipe(shared_server: Any, tmp_path: Path) -> None:
    """As in `ffmpeg … | likewise watch -`: every frame, as of a file."""
    film, out = write_video(tmp_path / "film.ts", [0, 1, 2, 3] * 5, format="mpegts"), tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "likewise_watch.command", "-", "--function", "quadrants"]
    with film.open("rb") as given:
        done = subprocess.run(
            [*command, "--url", shared_server.url, "--output", str(out)],
            stdin=given,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert [each["frame"] for each in lines(out)] == list(range(20))
    assert lines(out)[0]["stream"] == "stdin"


def test_a_reader_that_has_enough_ends_it(shared_server: Any, tmp_path: Path) -> None:
    """As in `likewise watch … | head -1`."""
    film = write_video(tmp_path / "film.mp4", [0] * 50)
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "likewise_watch.command", str(film), "--function", "quadrants"]
    try:
        done = subprocess.run(
            [*command, "--url", shared_server.url],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
