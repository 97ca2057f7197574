"""Computing on the device against the real server: the same results, shared later, never a variant's."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tests.conftest import GRAY, QUADRANTS

from likewise.packing.packing import pack
from likewise_client import AsyncClient, Client, Computed, InvalidInput, OnDevice, Retry
from likewise_client import _entries as sent
from likewise_client._device.unpacking import unpack

SPEC = f"share_model = true\n{QUADRANTS}{GRAY}"
VARIANT = """
[[variants]]
name = "twin"
file = "model.onnx"
cost = 0.5
size_bytes = {size}
memory_bytes = 20
agreement = 0.9
"""
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def functions(tmp_path, toys):
    """A function that shares its model, and one that does not."""
    root = tmp_path / "functions"
    toys.write_quadrants(root)
    folder = toys.write_quadrants(root, "shared", SPEC)
    size = (folder / "1" / "model.onnx").stat().st_size
    toys.write_devices(root)
    toys.write_quadrants(root, "cheap", SPEC + VARIANT.format(size=size))
    return root


def pixels(quadrant, seed):
    values = np.random.default_rng(seed).integers(0, 40, (8, 8), dtype=np.uint8)
    row, column = 4 * (quadrant // 2), 4 * (quadrant % 2)
    values[row : row + 4, column : column + 4] += np.uint8(180)
    return values


def entries(server, name="shared"):
    return server.http.get(f"/v1/functions/{name}").json()["entries"]


def test_the_device_says_what_the_server_says(live, functions):
    server = live(functions=functions)
    with Client(server.url) as client:
        for seed in range(12):
            value = pixels(seed % 4, seed)
            here = client.infer("shared", value, media_type="image/png", compute="device")
            there = client.infer("shared", value, media_type="image/png", cache="no-store")
            assert (here.source, here.outcome, here.detail) == ("device", "miss", "computed")
            assert here.result["label"] == there.result["label"]
            assert here.result["confidence"] == pytest.approx(there.result["confidence"], abs=1e-5)


def test_what_was_computed_is_shared_in_order_when_a_server_is_there(live, functions, tmp_path):
    server = live(functions=functions)
    folder = OnDevice(path=tmp_path / "phone")
    with Client(server.url, on_device=folder) as client:  # fetches the model
        client.infer("shared", pixels(0, 1), media_type="image/png", compute="device")
    before = entries(server)
    assert before == 1
    with Client(NOWHERE, on_device=folder, compute="auto", retry=Retry(rounds=1)) as offline:
        for quadrant in range(4):
            answer = offline.infer("shared", pixels(quadrant, 7), media_type="image/png")
            assert answer.from_device
        assert offline.computed_on_device().waiting == 4
    with Client(server.url, on_device=folder) as back:
        assert back.computed_on_device().waiting == 4
        assert back.share_computed() == 0
        assert back.computed_on_device().sent == 4
    assert entries(server) > before


def test_a_variant_answers_only_where_the_app_lets_it_and_is_never_shared(live, functions):
    server = live(functions=functions)
    settings = OnDevice(max_bytes=10_000, least_agreement=0.8)
    with Client(server.url, on_device=settings, compute="device") as client:
        full = client.infer("cheap", pixels(1, 1), media_type="image/png")
        assert full.variant == ""  # both fit: the one that agrees most
    model = client._computing._models["cheap"]
    assert model.function == "cheap@1"
    count = entries(server, "cheap")
    object.__setattr__(model, "variant", "twin")
    with Client(server.url, on_device=settings, compute="device") as client:
        client._computing._models["cheap"] = model
        answer = client.infer("cheap", pixels(2, 1), media_type="image/png")
        assert (answer.outcome, answer.variant) == ("variant", "twin")
        assert client.computed_on_device().waiting == 0
    assert entries(server, "cheap") == count


def test_a_device_that_cannot_compute_says_what_to_do(live, functions):
    server = live(functions=functions)
    with Client(server.url, on_device=OnDevice(max_bytes=100)) as client:
        for name in ("quadrants", "shared"):  # not shared; does not fit
            with pytest.raises(InvalidInput, match="share_model"):
                client.infer(name, pixels(0, 0), media_type="image/png", compute="device")
        assert client.infer("quadrants", pixels(0, 0), media_type="image/png", compute="auto").source == "server"


def test_one_result_that_is_refused_costs_no_other(live, functions):
    server = live(functions=functions)
    with Client(server.url) as client:
        for number in range(7):
            key = [float(number)] * (3 if number == 2 else 4)  # one of a wrong dimension
            client._computing._outbox.add("devices", sent.encoded_entry(Computed({"n": number}, key)))
        assert client.share_computed() == 0
        info = client.computed_on_device()
        assert (info.sent, info.refused, info.dropped) == (6, 1, 0)
    assert entries(server, "devices") == 6


def test_a_server_that_ends_and_comes_back_costs_nothing(live, functions, toys):
    server = live(functions=functions)
    clock = iter(range(0, 10**6, 10))
    with Client(server.url, compute="auto", retry=Retry(rounds=1), clock=lambda: float(next(clock))) as client:
        for seed in range(6):
            client.infer("shared", pixels(0, seed), media_type="image/png")
        server.stop()
        server._thread.join(60)
        offline = [client.infer("shared", pixels(seed % 4, 50 + seed), media_type="image/png") for seed in range(30)]
        assert all(answer.from_device for answer in offline)
        assert all(answer.result["label"] == toys.labels[at % 4] for at, answer in enumerate(offline))
        assert client.computed_on_device().waiting >= 30
        assert client.computed_on_device().dropped == 0


def test_auto_uses_both_ways(live, functions):
    server = live(functions=functions)
    with Client(server.url, compute="auto") as client:
        answers = [client.infer("shared", pixels(seed % 4, seed), media_type="image/png") for seed in range(20)]
    assert {answer.source for answer in answers} == {"server", "device"}


def test_a_function_of_the_app_computes(live, functions):
    server = live(functions=functions)

    async def run():
        async def compute(value):
            return {"label": "south-east"}

        async with AsyncClient(server.url, compute="device") as client:
            client.computes("quadrants", compute)
            answer = await client.infer("quadrants", pixels(3, 1), media_type="image/png")
            assert answer.result == {"label": "south-east"}
            shared = await client.infer("shared", pixels(3, 1), media_type="image/png")
            assert shared.result["label"] == "south-east"
            assert await client.share_computed() == 0

    asyncio.run(run())
    assert entries(server, "quadrants") == 1


@pytest.mark.parametrize(
    "options", [{"max_bytes": 0}, {"least_agreement": 0.0}, {"max_waiting": -1}, {"device_w": -1.0}]
)
def test_settings_that_mean_nothing(options):
    with pytest.raises(InvalidInput):
        OnDevice(**options)
    with pytest.raises(InvalidInput):
        Client(compute="moon")


def test_what_the_server_packs_is_unpacked_on_the_device(functions):
    content = (functions / "shared" / "1" / "model.onnx").read_bytes()
    packed = pack(content)
    assert unpack(packed) == content
    for at in range(0, len(packed), 7):
        broken = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
        with pytest.raises(ValueError, match="it"):
            unpack(broken)
    with pytest.raises(ValueError, match="over"):
        unpack(packed, 10)
