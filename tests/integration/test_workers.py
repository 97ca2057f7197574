"""Several workers behind one port, sharing through a real Redis."""

from __future__ import annotations

import io
import os
import random
import re
import signal
import time

import httpx
import numpy as np
import pytest
from graphs import GraphBuilder
from redis import Redis

from likewise.errors import SettingsError
from likewise.settings import Settings


def test_workers_without_redis_are_refused():
    """The remedy is named."""
    with pytest.raises(SettingsError, match="redis"):
        Settings(workers=2, journal="sqlite")


@pytest.mark.redis
@pytest.mark.timeout(1800)
def test_two_workers_share_and_a_killed_one_comes_back(process, toys, redis_server):
    """Both answer, both know what either computed, and the supervisor replaces one that died."""
    server = process("--workers", "2", "--journal", "redis", "--redis-url", redis_server.url)

    def ask(path, **more):
        with httpx.Client(base_url=server.url, timeout=60) as client:  # a new connection each time: either worker
            return client.request(more.pop("method", "GET"), path, **more)

    def workers():
        found = {}
        deadline = time.monotonic() + 300
        while len(found) < 2 and time.monotonic() < deadline:
            try:
                stats = ask("/v1/stats").json()
            except httpx.TransportError:
                continue  # the connection met the worker that was being killed
            found[stats["pid"]] = stats["functions"]["quadrants@1"]["entries"]
        return found

    def names():
        return {key.rpartition(b":learned:")[2] for key in Redis(port=redis_server.port).keys("*:learned:*")}

    for i in range(60):
        png = {"content-type": "image/png"}
        answer = ask("/v1/functions/quadrants/infer", method="POST", content=toys.picture(i % 4, i), headers=png)
        assert answer.status_code == 200
    assert len(workers()) == 2
    deadline = time.monotonic() + 300
    while len(set(workers().values())) != 1:
        assert time.monotonic() < deadline, "the workers never agreed"
    while len(names()) < 2:  # what they learned is written every two seconds
        assert time.monotonic() < deadline, "the workers never wrote what they learned"
        time.sleep(0.05)
    toml = '[input]\nkind = "array"\n[[keys]]\nextractor = "vector"\ndimension = 2\n'
    made = ask("/v1/functions/mine", method="PUT", content=toml, headers={"content-type": "application/toml"})
    assert made.status_code == 201
    serving = set()
    while len(serving) < 2:  # registered through one worker, served by both, over one folder
        assert time.monotonic() < deadline + 300, "the other worker never served what one registered"
        stats = ask("/v1/stats").json()
        if "mine@1" in stats["functions"]:
            serving.add(stats["pid"])
    victim, survivor = workers()
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 300
    while not (len(now := workers()) == 2 and victim not in now):
        assert time.monotonic() < deadline, "the worker never came back"
    assert survivor in now
    found = names()
    assert {each.rpartition(b"-")[2] for each in found} == {b"0", b"1"}
    assert len(found) == 2  # who came back took up the name, and with it what was learned


@pytest.mark.redis
@pytest.mark.timeout(1800)
def test_workers_end_with_a_supervisor_that_was_killed(process, redis_server):
    """Nobody is left who serves on the port without being looked after."""
    server = process("--workers", "2", "--journal", "redis", "--redis-url", redis_server.url)
    pids = set()
    deadline = time.monotonic() + 300
    while len(pids) < 2:
        assert time.monotonic() < deadline, "one worker never answered"
        with httpx.Client(base_url=server.url, timeout=60) as client:
            pids.add(client.get("/v1/stats").json()["pid"])
    os.kill(server.pid, signal.SIGKILL)
    while True:
        try:
            httpx.get(f"{server.url}/livez", timeout=5)
        except httpx.TransportError:
            break
        assert time.monotonic() < deadline + 300, "a worker serves on"
        time.sleep(0.05)


@pytest.mark.redis
@pytest.mark.timeout(180)
def test_a_ticket_finds_its_worker(process, redis_server, tmp_path):
    """Lookup and insert meet either worker; still both learn, and the devices get hits as from one process."""
    folder = tmp_path / "functions" / "words"
    folder.mkdir(parents=True)
    (folder / "function.toml").write_text('[input]\nkind = "array"\n[[keys]]\nextractor = "vector"\ndimension = 2\n')
    options = ("--workers", "2", "--journal", "redis", "--redis-url", redis_server.url)
    server = process(*options, functions=tmp_path / "functions")
    rng = random.Random(4)
    route = "/v1/functions/words"
    issued, hits = set(), 0
    for number in range(600):
        place = rng.randrange(4)
        key = [10.0 * place + rng.random() / 10, 1.0]
        with httpx.Client(base_url=server.url, timeout=20) as client:  # a new connection: either worker
            answer = client.post(f"{route}/lookup", json={"key": key})
            hits += answer.status_code == 200 and number >= 400
            ticket = answer.headers.get("likewise-ticket")
        if ticket:
            issued.add(ticket.partition(".")[0])
            entry = {"key": key, "result": {"label": f"p{place}"}, "ticket": ticket}
            with httpx.Client(base_url=server.url, timeout=20) as client:
                assert client.post(f"{route}/entries", json=entry).status_code == 201
    assert issued == {"0", "1"}
    assert hits > 120  # of the last 200; where half of the tickets are lost, hardly any
    with httpx.Client(base_url=server.url, timeout=20) as client:
        stats = client.get("/v1/stats").json()
        metrics = client.get("/metrics").text
    assert len(stats["workers"]) == 2
    assert stats["functions"]["words@1"]["requests"] == 600
    assert 'likewise_bar{function="words@1",worker="0"}' in metrics
    assert 'likewise_bar{function="words@1",worker="1"}' in metrics
    counted = re.findall(r'likewise_requests_total\{function="words@1",outcome="\w+"\} ([\d.]+)', metrics)
    assert sum(map(float, counted)) == 600


@pytest.mark.redis
@pytest.mark.timeout(600)
def test_frames_of_one_camera_meet_one_worker(process, redis_server, tmp_path):
    """Over whatever connection they come; late ones are told by their numbers, and bad input is refused as ever."""
    net = GraphBuilder(1, 3, 24, 24)
    layer = net.add("Relu", [net.conv("x", 8, 3, 1)], (8, 24, 24))
    folder = tmp_path / "functions" / "cars"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(net.model([net.conv(layer, 2, 1, 1)]))
    (folder / "function.toml").write_text(
        '[input]\nkind = "array"\n[model]\n[result]\nkind = "tensors"\ntolerance = [1e-3, 1e-3]\n'
        '[[keys]]\nextractor = "vector"\ndimension = 1728\n'
    )
    options = ("--workers", "2", "--journal", "redis", "--redis-url", redis_server.url)
    server = process(*options, functions=tmp_path / "functions")

    def send(frame, camera, number, **more):
        buffer = io.BytesIO()
        np.save(buffer, frame)
        headers = {"content-type": "application/x-npy", "likewise-stream": f"{camera};frame={number};late=drop", **more}
        with httpx.Client(base_url=server.url, timeout=60) as client:  # a new connection: either worker
            return client.post("/v1/functions/cars/infer", content=buffer.getvalue(), headers=headers)

    cameras = [f"cam-{number}" for number in range(6)]
    rng = np.random.default_rng(3)
    frames = {camera: rng.random((3, 24, 24)).astype(np.float32) for camera in cameras}
    for number in range(8):
        for camera in cameras:
            frames[camera][:, 3:6, 3:6] = rng.random((3, 3, 3))
            assert send(frames[camera], camera, number).status_code == 200
    for camera in cameras:
        assert send(frames[camera], camera, 3).status_code == 409
    assert send(np.zeros(5, np.float32), "cam-1", 9).status_code == 422
    with httpx.Client(base_url=server.url, timeout=60) as client:
        stats = client.get("/v1/stats").json()
    assert len(stats["workers"]) == 2
    assert stats["functions"]["cars@1"]["video"]["streams"] == len(cameras)  # none of them at both
