"""The device's own tier against the real server: near hits, repeats, probes, leases, changes, restarts of the app."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import threading
from functools import partial

import numpy as np
import pytest
from quarters import make, sound, stats, until_local, warmed

from likewise_client import AsyncClient, Client, ConnectionFailed, DeviceCache, InvalidInput, Retry, Unavailable
from likewise_client._device import tier as tiers


def test_near_inputs_are_answered_without_a_server(warm):
    with make(warm) as client:
        answer = until_local(client)
        before = stats(warm)["requests"]
        assert (answer.outcome, answer.source, answer.detail) == ("hit", "device", "near")
        assert answer.result["label"] == "a"
        assert all(client.infer("quarters", sound(0)).from_device for _ in range(10))
        assert stats(warm)["requests"] == before
        info = client.cache_on_device("quarters")
        assert info.hits >= 11
        assert info.probability < 0.5
    assert stats(warm)["leases"] == 0
    assert stats(warm)["leases_silent"] == 0
    assert stats(warm)["device_hits"] == info.hits


def test_what_others_asked_for_is_answered_by_a_device_that_never_did(live, quarters):
    """It comes with the answers to other requests."""
    server = warmed(live(functions=quarters))
    with make(server) as client:
        for _ in range(20):
            client.infer("quarters", sound(0))
        assert len(client._tier._place("quarters").store) > 1
        answers = [client.infer("quarters", sound(place)) for place in (1, 2, 3)]
        assert [answer.result["label"] for answer in answers] == ["b", "c", "d"]
        assert sum(answer.from_device for answer in answers) >= 2  # one may be a probe of the server


def test_the_very_same_bytes_are_answered_again(warm):
    with make(warm) as client:
        value = sound(1)
        computed = client.infer("quarters", value, cache="no-cache")
        known = client.infer("quarters", value)
        assert (known.detail, known.from_device) == ("exact", False)
        assert known.result["label"] == computed.result["label"]
        for _ in range(3):
            answer = client.infer("quarters", value)
            assert (answer.detail, answer.from_device, answer.result) == ("exact", True, known.result)
        assert client.cache_on_device("quarters").hits == 0


def test_a_coin_that_falls_is_a_probe_which_the_server_confirms(warm):
    tosses = itertools.chain([0.99] * 3, [0.0], itertools.repeat(0.99))
    with make(warm, lambda: next(tosses), background=False) as client:
        until_local(client)
        answers = [client.infer("quarters", sound(0)) for _ in range(6)]
        probes = [answer for answer in answers if not answer.from_device]
        assert [answer.outcome for answer in probes] == ["probe"]
        assert answers[-1].from_device
    assert stats(warm)["lease_probes"] == 1
    assert stats(warm)["leases_contradicted"] == 0


def test_a_contradicted_probe_ends_the_lease_and_drops_the_entry(warm):
    tosses = iter([0.99] * 100)
    with make(warm, lambda: next(tosses), background=False) as client:
        until_local(client)
        place = client._tier._place("quarters")
        for row in range(len(place.store)):  # a device that was told too much
            place.store._radii[row] = 100.0
        before = len(place.store)
        client._tier._coin = lambda: 0.0
        assert client.infer("quarters", sound(2)).outcome == "probe"
        assert len(place.store) <= before
        client._tier._coin = lambda: 0.99
        assert stats(warm)["leases_contradicted"] == 1
        assert not client.infer("quarters", sound(2)).from_device  # a new lease comes with this answer at the soonest


def test_while_a_probe_is_under_way_nothing_near_is_answered(warm):
    with make(warm) as client:
        until_local(client)
        place = client._tier._place("quarters")
        place.lease.probing, place.lease.settled_after = True, 1 << 62
        assert not client.infer("quarters", sound(0)).from_device


def test_a_probe_that_is_lost_ends_the_lease(warm):
    with make(warm, background=False) as client:
        until_local(client)
        client._tier._coin = lambda: 0.0
        send = client._send
        client._send = lambda step: (_ for _ in ()).throw(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            client.infer("quarters", sound(0))
        client._send = send
        client._tier._coin = lambda: 0.99
        assert not client.infer("quarters", sound(0)).from_device
        assert until_local(client)
    assert stats(warm)["leases_granted"] == 2


def test_a_lease_that_is_over_answers_nothing(warm):
    now = [1000.0]
    with make(warm, clock=lambda: now[0]) as client:
        until_local(client)
        now[0] += 61.0
        assert not client.infer("quarters", sound(0)).from_device
        assert client.infer("quarters", sound(0)).from_device


def test_what_is_invalidated_is_not_answered_once_the_device_hears_of_it(warm):
    with make(warm) as client:
        until_local(client)
        with Client(warm.url) as operator:
            operator.invalidate("quarters", all=True)
        client.infer("quarters", sound(3))
        assert client.cache_on_device("quarters").entries <= 1
        assert not client.infer("quarters", sound(0)).from_device


def test_a_device_that_follows_hears_of_changes_at_once(warm):
    with make(warm) as client:
        until_local(client)
        kept = client.cache_on_device("quarters").entries
        dropped = []
        thread = threading.Thread(target=lambda: dropped.append(client.follow("quarters")))
        thread.start()
        edge = warm.app.edge
        while not len(edge.listeners):  # it listens
            assert thread.is_alive()
        with Client(warm.url) as operator:
            operator.invalidate("quarters", all=True)
        thread.join(60)
        assert dropped == [kept]
        assert not client.infer("quarters", sound(0)).from_device
    with Client(warm.url) as client, pytest.raises(InvalidInput, match="device_cache"):
        client.follow("quarters")


def test_the_entries_outlive_the_app(warm, tmp_path):
    with make(warm, path=tmp_path / "cache") as client:
        until_local(client)
        kept = client.cache_on_device("quarters").entries
    with make(warm, path=tmp_path / "cache") as client:
        assert client.cache_on_device("quarters").entries == kept
        client.infer("quarters", sound(3))  # brings a lease
        assert client.infer("quarters", sound(0)).from_device


def test_a_damaged_file_starts_empty_with_a_warning(warm, tmp_path, caplog):
    with make(warm, path=tmp_path) as client:
        until_local(client)
    (file,) = tmp_path.glob("*.likewise-pack")
    content = file.read_bytes()
    for damaged in (b"", content[:100], content[:-1] + b"\0", content.replace(b"ids", b"idx")):
        file.write_bytes(damaged)
        with make(warm, path=tmp_path) as client:
            assert client.cache_on_device("quarters").entries == 0
        assert "starts empty" in caplog.text
        caplog.clear()


def test_a_newcomer_warms_up_in_one_request(warm):
    with make(warm, max_entries=40) as client:
        count = client.warm_up("quarters")
        assert 0 < count <= 40
        assert client.cache_on_device("quarters").entries == count
        client.infer("quarters", sound(0))
        assert any(client.infer("quarters", sound(place)).from_device for place in (1, 2, 3))


def test_warming_up_takes_a_cache(warm):
    with Client(warm.url) as client, pytest.raises(InvalidInput, match="device_cache"):
        client.warm_up("quarters")


def test_without_a_server_a_device_answers_only_where_the_app_wants_it(warm):
    retry = Retry(rounds=1)
    for offline in ("never", "serve"):
        now = [1000.0]
        client = Client(
            warm.url,
            device="phone",
            device_cache=DeviceCache(offline=offline),
            retry=retry,
            clock=partial(now.__getitem__, 0),
        )
        client._tier._coin = lambda: 0.99
        until_local(client, limit=1000)  # the lease of the one before still holds its tokens
        send, client._send = client._send, lambda step: (_ for _ in ()).throw(ConnectionFailed("refused"))
        now[0] += 100.0
        if offline == "never":
            with pytest.raises(Unavailable):
                client.infer("quarters", sound(0))
        else:
            assert client.infer("quarters", sound(0)).detail == "offline"
        client._send = send
        now[0] += 100.0  # the node is tried again
        client.close()


@pytest.mark.parametrize("background", [True, False])
def test_threads_share_one_lease_and_its_probes(warm, background):
    under_way, most = [0], [0]
    with make(warm, np.random.default_rng(1).random, background=background) as client:
        until_local(client)
        place, send, lock = client._tier._place("quarters"), client._send, threading.Lock()

        def watched(step):
            probe = "probe=" in step.headers.get("Likewise-Lease", "")
            with lock:
                under_way[0] += probe
                most[0] = max(most[0], under_way[0])
            try:
                return send(step)
            finally:
                with lock:
                    under_way[0] -= probe

        client._send = watched

        def run():
            rng = np.random.default_rng()
            for _ in range(60):
                value = np.zeros(16, np.float32)
                value[:4] = 1.0
                assert client.infer("quarters", value + rng.normal(0, 0.02, 16).astype(np.float32)).found

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most[0] <= 1 + background  # one more where an answer beside a check is probed
        assert not place.wanting
    assert stats(warm)["leases_granted"] <= 1 + stats(warm)["leases_contradicted"]


async def test_the_asynchronous_client_does_the_same(warm):
    async with AsyncClient(warm.url, device="phone", device_cache=DeviceCache()) as client:
        client._tier._coin = lambda: 0.99
        answers = await asyncio.gather(*(client.infer("quarters", sound(0)) for _ in range(20)))
        assert all(answer.found for answer in answers)
        again = [await client.infer("quarters", sound(0)) for _ in range(20)]
        assert any(answer.from_device for answer in again)
        assert await client.warm_up("quarters") > 0
    assert stats(warm)["leases"] == 0


@pytest.mark.parametrize(
    "options",
    [
        {"max_entries": 0},
        {"max_entries": 1.5},
        {"max_bytes": 10},
        {"offline": "always"},
        {"path": 3},
        {"background": 1},
    ],
)
def test_settings_that_mean_nothing_are_refused(options):
    with pytest.raises(InvalidInput, match="DeviceCache"):
        DeviceCache(**options)


def test_the_tier_has_to_be_a_device_cache():
    with pytest.raises(InvalidInput, match="device_cache"):
        Client("http://127.0.0.1:1", device_cache=True)
    assert tiers.tier_of(None, lambda: 0.0) is None


@pytest.fixture
def by_network(live, tmp_path, toys):
    """A real server of a function whose keys are made by an ONNX file, warmed up."""
    from onnx import helper
    from tests.conftest import QUADRANTS, _save

    root = tmp_path / "functions"
    folder = toys.write_quadrants(
        root,
        toml=f"""{QUADRANTS}
[[keys]]
extractor = "onnx"
file = "key.onnx"
size = [8, 8]
mean = [0.5]
std = [0.25]
""",
    )
    _save(
        folder / "1" / "key.onnx",
        [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["key"]),
        ],
        {"w": np.random.default_rng(0).normal(size=(192, 24)).astype(np.float32)},
        [3, 8, 8],
        24,
        "key",
    )
    server = live(functions=root)
    with Client(server.url) as client:
        for turn in range(150):
            client.infer("quadrants", toys.picture(turn % 4, turn))
    return server


def test_keys_of_a_network_are_made_on_the_device(by_network, toys, tmp_path):
    """Its file is fetched once, and kept; keys are those of the server."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("PIL")
    for turn in range(2):
        with make(by_network, path=tmp_path / "cache") as client:
            answers = [client.infer("quadrants", toys.picture(0, 5000 + 100 * turn + at)) for at in range(60)]
            assert any(answer.from_device and answer.result["label"] == toys.labels[0] for answer in answers)
            place = client._tier._place("quadrants")
            body = toys.picture(1, 7777)
            fn = by_network.app.edge.registry.get("quadrants")
            asked = fn.reader.read_now("image/png", body, _no_control(), None)
            np.testing.assert_allclose(place.make_key(body, body, "image/png"), asked.key, atol=1e-5)
    fetched = list((tmp_path / "cache").glob("*.onnx"))
    assert len(fetched) == 1


def _no_control():
    from likewise.requests import NO_CONTROL

    return NO_CONTROL


def test_a_file_that_is_not_the_one_that_was_named_makes_no_keys(by_network, toys):
    """The answer is right all the same; only nothing near is answered here."""
    pytest.importorskip("onnxruntime")
    with make(by_network) as client:
        send = client._send

        def tampered(step):
            reply = send(step)
            return reply._replace(content=reply.content + b"x") if "/files/" in step.url else reply

        client._send = tampered
        assert client.infer("quadrants", toys.picture(0, 1)).result["label"] == toys.labels[0]
        assert client._tier._place("quadrants").make_key is None


def test_only_the_file_that_is_named_is_served(by_network):
    key = by_network.http.get("/v1/functions/quadrants").json()["keys"][0]
    path = f"/v1/functions/quadrants/files/{key['file']['sha256']}"
    assert len(by_network.http.get(path).content) == key["file"]["bytes"]
    with by_network.http.stream("GET", path) as answer:  # in pieces, however slowly a device reads
        assert answer.headers["transfer-encoding"] == "chunked"
        content = answer.read()
    assert hashlib.sha256(content).hexdigest() == key["file"]["sha256"]
    assert by_network.http.head(path).status_code == 200
    for other in ("0" * 64, "..%2F..%2Ffunction.toml", "model.onnx"):
        assert by_network.http.get(f"/v1/functions/quadrants/files/{other}").status_code == 404
