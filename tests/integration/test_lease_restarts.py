"""Leases and restarts: what a lease held is spent, the device goes on, and its app notices nothing."""

from __future__ import annotations

import base64
import os
import signal

import httpx
import pytest

from likewise_client import Client, DeviceCache, Retry
from likewise_demo.process import ServerProcess

PNG = {"content-type": "image/png", "likewise-device": "phone"}
PATH = "/v1/functions/quadrants"


def tokens(http: httpx.Client) -> float:
    """Return what the ledger has."""
    return http.get("/v1/stats").json()["functions"]["quadrants@1"]["tokens"]


@pytest.mark.parametrize("killed", [False, True], ids=["orderly", "killed"])
def test_a_restarted_server_refunds_no_lease(functions_dir, toys, killed):
    """The journal knows what is set aside before the device does."""
    with ServerProcess(functions_dir, 0.95, "--journal", "sqlite") as server:
        with httpx.Client(base_url=server.url, timeout=60) as http:
            for turn in range(150):
                http.post(f"{PATH}/infer", content=toys.picture(turn % 4, turn), headers=PNG)
            free = tokens(http)
            for phone in range(3):
                asked = {**PNG, "likewise-device": f"phone {phone}", "likewise-lease": "want"}
                answer = http.post(f"{PATH}/infer", content=toys.picture(1, 500 + phone), headers=asked)
                assert "pi=" in answer.headers["likewise-lease"]
            lease = answer.headers["likewise-lease"].partition(";")[0]
            left = tokens(http)
            assert left < free - 1.0
            entry = {
                "input_base64": base64.b64encode(toys.picture(0, 900)).decode(),
                "input_media_type": "image/png",
                "result": {"label": "north-west"},
            }
            assert http.post(f"{PATH}/entries?durable=true", json=entry).status_code == 201
        if killed:
            server.kill()
        else:
            os.killpg(server.pid, signal.SIGTERM)
            server._process.wait()
        server.restart()
        with httpx.Client(base_url=server.url, timeout=60) as http:
            stats = http.get("/v1/stats").json()["functions"]["quadrants@1"]
            assert stats["entries"] > 0  # it is the same server
            assert 0.0 < stats["tokens"] <= left + 1e-6
            asked = {**PNG, "likewise-lease": f"{lease}; answered=1000000; idle"}
            again = http.post(f"{PATH}/infer", content=toys.picture(1, 600), headers=asked).headers["likewise-lease"]
            assert lease not in again
            assert http.get("/v1/stats").json()["functions"]["quadrants@1"]["device_hits"] == 0  # it knows of none


def test_an_app_notices_nothing_of_a_restart(functions_dir, toys):
    """No error, every answer right, and the device answers by itself again."""
    pytest.importorskip("PIL")
    with ServerProcess(functions_dir, 0.95, "--journal", "sqlite") as server:
        seed = 0
        client = Client(server.url, device="phone", device_cache=DeviceCache(), retry=Retry(deadline_s=120))

        def answered_here(count: int) -> int:
            nonlocal seed
            found = 0
            for _ in range(count):
                seed += 1
                answer = client.infer("quadrants", toys.picture(seed % 4, seed))
                assert answer.result["label"] == toys.labels[seed % 4]
                found += answer.from_device
            return found

        while not answered_here(20):
            assert seed < 2000
        granted = client.stats()["functions"]["quadrants@1"]["leases_granted"]
        assert granted >= 1
        server.kill()
        server.restart()
        start = seed
        while not (answered_here(20) and client.stats()["functions"]["quadrants@1"]["leases_granted"]):
            assert seed < start + 2000
        client.close()
