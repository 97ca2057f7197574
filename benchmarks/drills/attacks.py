"""Attacks on one node, each beside an honest device that must hardly notice: what `victim` measures.

Attackers are on other machines; here they are in a process of their own, with a low priority, so that they take from
the server what they ask of it, and nothing else: `python -m benchmarks.drills.attacks NAME PORT`, until its input ends.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import random
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.drills.nodes import FUNCTION, Node, Talk, entry, random_keys, write_functions
from benchmarks.drills.task import Task
from benchmarks.drills.victim import attacked, figures
from benchmarks.judgement import Bar, Figure
from benchmarks.pictures import pictures
from benchmarks.processes import ROOT, Failed, environment
from likewise.priority import give_way

Until = Callable[[], bool]
Attack = Callable[[int, Until], None]
"""What is done to the server at a port until told to stop."""
CONNECTIONS = 2_000
MODEL = "signs"


def _requests(port: int, until: Until, send: Callable[[Talk, int], object], threads: int = 16) -> None:
    """Send from some threads; what is refused or cut off is what an attacker expects."""

    def run(first: int) -> None:
        talk = Talk(port, 10.0)
        for number in count(first, threads):
            if until():
                return talk.close()
            with contextlib.suppress(OSError, http.client.HTTPException):
                send(talk, number)
        return None

    tasks = [Task(partial(run, i)) for i in range(threads)]
    for task in tasks:
        task.join()


def _post(talk: Talk, path: str, body: bytes, **headers: str) -> int:
    connection = talk._connection
    try:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        raise
    return response.status


def overload(port: int, until: Until, **headers: str) -> None:
    """More inferences of ever new inputs than the model can compute."""
    import cv2

    drawn = [
        cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) // 2
        for body in pictures(200, 48, seed=random.randrange(2**31))
    ]
    path = f"/v1/functions/{MODEL}/infer"
    headers = {"Content_Type": "image/x-portable-pixmap", **headers}

    def send(talk: Talk, _: int) -> None:
        one, other = random.sample(drawn, 2)  # 19,900 pairs, each the other way round, too: none comes twice soon
        _post(talk, path, b"P6 48 48 255\n" + (one + np.roll(other, random.randrange(48), 1)).tobytes(), **headers)

    _requests(port, until, send, threads=64)


def no_store(port: int, until: Until) -> None:
    """The same with `no-store`: work that leaves nothing behind."""
    overload(port, until, Cache_Control="no-store")


def unredeemed(port: int, until: Until) -> None:
    """Lookups whose tickets are never redeemed."""
    bodies, path = _variants(400, seed=99), f"/v1/functions/{MODEL}/lookup"
    _requests(port, until, lambda talk, i: _post(talk, path, bodies[i % 400], Content_Type="image/png"), threads=4)


def _open(port: int, number: int, first: bytes) -> list[socket.socket]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, number + 1_000), hard))
    opened = []
    for _ in range(number):
        with contextlib.suppress(OSError):
            each = socket.create_connection(("127.0.0.1", port), timeout=2.0)
            each.setblocking(False)
            if first:
                each.send(first)
            opened.append(each)
    return opened


def _trickle(port: int, until: Until, first: bytes, more: bytes, number: int, pause_s: float) -> None:
    """Keep connections open and send a little on each again and again; read nothing; open anew what was closed."""
    opened: list[socket.socket] = []
    try:
        while not until():
            opened += _open(port, number - len(opened), first)
            kept = []
            for each in opened:
                try:
                    if more:
                        each.send(more)
                    kept.append(each)
                except BlockingIOError:
                    kept.append(each)
                except OSError:
                    each.close()
            opened = kept
            time.sleep(pause_s)
    finally:
        for each in opened:
            each.close()


_HEAD = f"POST /v1/functions/{FUNCTION}/lookup HTTP/1.1\r\nHost: a\r\n".encode()


def silent(port: int, until: Until) -> None:
    """Connections that send nothing."""
    _trickle(port, until, b"", b"", CONNECTIONS, 0.2)


def slow(port: int, until: Until) -> None:
    """Connections that send their head byte by byte."""
    _trickle(port, until, _HEAD, b"x", CONNECTIONS, 1.0)


def endless_heads(port: int, until: Until) -> None:
    """Heads that never end, as fast as they are taken."""
    _trickle(port, until, _HEAD, b"X-A: " + b"a" * 65_536 + b"\r\n", 8, 0.001)


def deaf(port: int, until: Until) -> None:
    """Clients that pipeline requests and read no answer."""
    request = b"GET /v1/functions HTTP/1.1\r\nHost: a\r\n\r\n" * 400
    _trickle(port, until, request, request, 100, 0.01)


def bombs(port: int, until: Until) -> None:
    """Small bodies that inflate to large ones: pictures of many pixels, and gzip where it is taken."""
    import cv2

    picture = cv2.imencode(".png", np.zeros((5_000, 5_000), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    packed, path = gzip.compress(bytes(2**26)), f"/v1/functions/{MODEL}/infer"

    def send(talk: Talk, number: int) -> None:
        if number % 2:
            _post(talk, path, picture, Content_Type="image/png")
        else:
            _post(talk, path, packed, Content_Type="image/png", Content_Encoding="gzip")

    _requests(port, until, send, threads=4)


ATTACKS: dict[str, Attack] = {
    "overload": overload,
    "no-store": no_store,
    "unredeemed": unredeemed,
    "silent": silent,
    "slow": slow,
    "deaf": deaf,
    "endless-heads": endless_heads,
    "bombs": bombs,
}


def bars(name: str) -> tuple[Bar, Bar, Bar]:
    """Return the rows of an attack."""
    what = (ATTACKS[name].__doc__ or name).partition("\n")[0].rstrip(".")
    return (
        Bar(f"attack-{name}", f"{what}: p99 of others' hits ÷ quiet", "ms", "quiet", 2.0, at_most=True),
        Bar(f"attack-{name}/livez", f"{name}: slowest answer of /livez", "ms", "", 100, at_most=True),
        Bar(f"attack-{name}/stuck", f"{name}: what has not come back after 10 s", "", "", 0, at_most=True),
    )


def elsewhere(name: str, node: Node, until: Until) -> None:
    """Run an attack in a process of its own until told to stop. Raises Failed where it dies: then nothing was shown."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.drills.attacks", name, str(node.port)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
        start_new_session=True,
    )
    try:
        while not until() and process.poll() is None:
            time.sleep(0.02)
        ended = process.poll()
        _, said = process.communicate(timeout=60)  # ends its input
        if ended is not None or process.returncode:
            raise Failed(f"the attack {name} died: {said.decode(errors='replace')[-600:]}")
    finally:
        process.kill()


def drill(
    name: str,
    folder: Path,
    quick: bool = False,
    seconds: float | None = None,
    attack: Callable[[Node, Until], object] | None = None,
) -> Iterator[Figure]:
    """Serve a model and a function of devices, warm them up, and attack. attack: another one than the name's."""
    seconds = seconds or (2.0 if quick else 10.0)
    functions = write_functions(folder / "functions", 100_000)
    (functions / MODEL).symlink_to(ROOT / "functions" / MODEL)
    run = attack or partial(elsewhere, name)
    keys = random_keys(100, 3)
    with Node(folder / "node", functions, "--journal", "memory") as node:
        node.talk().insert([entry(key, "a") for key in keys])
        if name in ("overload", "no-store", "unredeemed", "bombs"):
            ask: Callable[[Talk], bool] = _pictures(node)
        else:
            numbers = count()

            def ask(talk: Talk) -> bool:
                return talk.look(keys[next(numbers) % len(keys)]) is not None

        yield from figures(attacked(node, ask, lambda until: run(node, until), seconds), bars(name))


def _variants(number: int, seed: int) -> list[bytes]:
    """Return PNGs that are near five pictures, always the same five, and never equal."""
    import cv2

    rng = np.random.default_rng(seed)
    hot = [cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) for body in pictures(5, 48, seed=4)]
    noise = [rng.integers(-2, 3, hot[0].shape) for _ in range(number)]
    near = [np.clip(hot[i % 5] + each, 0, 255).astype(np.uint8) for i, each in enumerate(noise)]
    return [cv2.imencode(".png", each)[1].tobytes() for each in near]


def _pictures(node: Node) -> Callable[[Talk], bool]:
    """Return a question of a device that asks for pictures near to some that have been seen often."""
    bodies, path, numbers = _variants(4_000, seed=4), f"/v1/functions/{MODEL}/infer", count()

    def ask(talk: Talk) -> bool:
        status, headers, _ = talk.send("POST", path, bodies[next(numbers) % len(bodies)], "image/png")
        found = str(headers["Cache-Status"])  # what waited for an inference was not in the cache
        return status == 200 and "; hit" in found and "coalesced" not in found

    talk = node.talk()
    for _ in range(1_500):
        ask(talk)
    return ask


def main(name: str, port: int) -> None:
    """Attack the server at a port until the standard input ends."""
    give_way()
    with contextlib.suppress(OSError):  # where Linux shares cores between sessions first
        Path("/proc/self/autogroup").write_text("10")
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    ATTACKS[name](port, ended.is_set)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
