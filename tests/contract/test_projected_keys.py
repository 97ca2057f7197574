"""Devices that search keys by the server's own projection: the same numbers, and never radii of another space."""

from __future__ import annotations

import collections
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from quarters import make, make_quarters, sound, until_local, warmed

from likewise.learning.beside import Beside
from likewise.learning.lda import Projection as Linear
from likewise_client._device.projection import read_projection

RNG = np.random.default_rng(5)
SUMS = np.kron(np.eye(4), np.ones((4, 1))).tolist()
LINEAR = json.dumps({"mean": [0.1] * 16, "matrix": SUMS})
NETWORK = json.dumps(
    {
        "mean": [0.1] * 16,
        "layers": [{"matrix": SUMS, "bias": [0.0] * 4}],
        "directions": (8 * np.eye(4)).tolist(),
        "weight": 0.9,
    }
)
WIDE = json.dumps(
    {
        "mean": RNG.normal(0, 0.1, 16).tolist(),
        "layers": [
            {"matrix": RNG.normal(size=(16, 40)).tolist(), "bias": RNG.normal(size=40).tolist()},
            {"matrix": RNG.normal(size=(40, 20)).tolist(), "bias": RNG.normal(size=20).tolist()},
            {"matrix": RNG.normal(size=(20, 9)).tolist(), "bias": RNG.normal(size=9).tolist()},
        ],
        "directions": (3 * RNG.normal(size=(9, 7))).tolist(),
        "weight": 0.7,
    }
)
SPEECH = (Path(__file__).parents[2] / "functions/speech/1/key.json").read_text()


@pytest.fixture(params=[LINEAR, NETWORK], ids=["linear", "network"])
def projected(live, tmp_path, request):
    """A real server that searches by a projection from a file, and lends tokens."""
    return warmed(live(functions=make_quarters(tmp_path / "functions", request.param), lease_prefetch=4))


def digest(server):
    return server.http.get("/v1/functions/quarters").json()["keys"][0]["projection"]["sha256"]


def place_of(client):
    return client._tier._place("quarters")


@pytest.mark.parametrize("content", [LINEAR, NETWORK, WIDE, SPEECH], ids=["linear", "network", "wide", "speech"])
def test_a_device_makes_the_numbers_that_the_server_searches_by(content):
    state = json.loads(content)
    dimension = len(state["mean"])
    server = Beside.restored(state) if "layers" in state else Linear.restored(state)
    device = read_projection(content.encode(), "", dimension, "cosine")
    for key in (*RNG.normal(size=(50, dimension)), np.zeros(dimension), np.array(state["mean"])):
        key = (key / max(1e-9, float(np.linalg.norm(key)))).astype(np.float32)
        found = device.one(key)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, server.one(key), atol=1e-6)


def test_the_file_is_served_by_its_digest(projected):
    key = projected.http.get("/v1/functions/quarters").json()["keys"][0]["projection"]
    content = projected.http.get(f"/v1/functions/quarters/files/{key['sha256']}").content
    assert len(content) == key["bytes"]
    assert hashlib.sha256(content).hexdigest() == key["sha256"]
    assert projected.http.get(f"/v1/functions/quarters/files/{'0' * 64}").status_code == 404


def test_near_inputs_are_answered_by_projected_keys(projected, tmp_path):
    """Within what the server says of an entry; kept across restarts of the app, and the file is fetched once."""
    asked, told = [], radii(projected)
    with make(projected, path=tmp_path / "cache") as client:
        client._send = spied(client._send, asked)
        assert until_local(client).result["label"] == "a"
        place = place_of(client)
        assert place.space == digest(projected)
        for entry, row in place.store._rows.items():
            reaches = told[int(entry, 16)]
            np.testing.assert_allclose(place.store._keys[row], place.projection.one(reaches[0].key), atol=2e-3)
            assert is_told(place.store._radii[row], [reach.searched for reach in reaches])
    assert sum("/files/" in url for url in asked) == 1
    with make(projected, path=tmp_path / "cache") as client:
        assert client.cache_on_device("quarters").entries == len(place.store)
        client._send = spied(client._send, asked)
        assert until_local(client).from_device
        assert place_of(client).space == digest(projected)
    assert sum("/files/" in url for url in asked) == 1


def test_a_newcomer_warms_up_in_that_space(projected):
    with make(projected) as client:
        assert client.warm_up("quarters") > 0
        place = place_of(client)
        assert place.space == digest(projected)
        assert place.store.dimension == len(place.projection.one(np.zeros(16, np.float32)))
        client.infer("quarters", sound(0))
        assert any(client.infer("quarters", sound(at)).from_device for at in (1, 2, 3))


@pytest.mark.parametrize("harm", ["tampered", "gone", "too large"])
def test_without_the_file_keys_are_compared_as_they_are(projected, harm, monkeypatch):
    """By radii among such keys; every near answer is right all the same."""
    if harm == "too large":
        monkeypatch.setattr("likewise_client._device.projection.MOST_BYTES", 10)
    told = radii(projected)
    with make(projected) as client:
        client._send = harmed(client._send, harm)
        assert client.warm_up("quarters") > 0
        assert until_local(client).result["label"] == "a"
        place = place_of(client)
        assert (place.space, place.projection, place.store.dimension) == ("", None, 16)
        for entry, row in place.store._rows.items():
            assert is_told(place.store._radii[row], [reach.radius for reach in told[int(entry, 16)]])


@pytest.mark.parametrize("harm", ["tampered", "gone"])
def test_a_file_that_could_not_be_fetched_is_asked_for_again(projected, harm):
    """After a while, then after twice as long and so on; once it is there the device searches as the server does."""
    now, asked, fails = [0.0], [], [True]
    with make(projected, clock=lambda: now[0]) as client:
        plain, broken = client._send, harmed(client._send, harm)
        client._send = spied(lambda step: (broken if fails[0] else plain)(step), asked)
        until_local(client)
        place = place_of(client)
        for pause_s in (30.0, 60.0, 120.0):
            files = sum("/files/" in url for url in asked)
            now[0] += pause_s - 1.0
            until_local(client)
            assert sum("/files/" in url for url in asked) == files, "too early"
            now[0] += 1.0
            until_local(client)
            assert sum("/files/" in url for url in asked) == files + 1
            assert place.projection is None
        fails[0] = False
        now[0] += 240.0
        assert until_local(client).result["label"] == "a"
        assert (place.space, place.projection is None) == (digest(projected), False)
        files = len(asked)
        now[0] += 7200.0
        until_local(client)
        assert not any("/files/" in url for url in asked[files:])


@pytest.mark.parametrize("before", ["with it", "without it"])
def test_what_was_kept_in_another_space_is_dropped(projected, tmp_path, before):
    """The app could fetch the file the one time, and could not the other."""
    with make(projected, path=tmp_path / "cache") as client:
        client._send = harmed(client._send, "gone" if before == "without it" else "")
        until_local(client)
        kept = len(place_of(client).store)
    assert kept
    for file in (tmp_path / "cache").glob("*.json"):
        file.unlink()
    with make(projected, path=tmp_path / "cache") as client:
        client._send = harmed(client._send, "gone" if before == "with it" else "")
        place = place_of(client)
        assert len(place.store) == kept
        client.infer("quarters", sound(0))
        assert place.space == ("" if before == "with it" else digest(projected))
        assert place.store.dimension == (16 if place.projection is None else len(place.projection.one(np.ones(16))))
        assert until_local(client).result["label"] == "a"


def test_who_says_nothing_of_a_projection_gets_radii_among_keys_as_they_are(projected):
    """And so does whoever names another one."""
    leasing = projected.app.edge.registry.get("quarters").leasing
    fields = {"content-type": "application/json", "likewise-lease": "want; prefetch=4", "likewise-device": "p"}
    body = json.dumps(sound(2).tolist()).encode()

    def radius(**more):
        for _ in range(60):
            answer = projected.http.post("/v1/functions/quarters/infer", content=body, headers={**fields, **more})
            if "likewise-entry" in answer.headers:  # it is no probe of the server's own
                break
        entry = int(answer.headers["likewise-entry"], 16)
        found = float(re.search(r"radius=([\d.]+)", answer.headers["likewise-reuse"])[1])
        return answer.headers.get("likewise-projection"), found, leasing._reaches[entry][1]

    for more in ({}, {"likewise-projection": "0" * 64}, {"likewise-projection": b"\xff;"}):
        named, found, reach = radius(**more)
        assert named is None
        assert found == pytest.approx(reach.radius, abs=1e-5)
    named, found, reach = radius(**{"likewise-projection": digest(projected)})
    assert named == digest(projected)
    assert found == pytest.approx(reach.searched, abs=1e-5)
    assert abs(reach.searched - reach.radius) > 1e-3


def test_a_server_that_no_longer_searches_so_is_believed(projected):
    """Its radii are of another space: nothing of them is kept until it is described anew."""
    now = [0.0]
    with make(projected, clock=lambda: now[0]) as client:
        until_local(client)
        place = place_of(client)
        leasing = projected.app.edge.registry.get("quarters").leasing
        leasing.projection_file = None
        client._tier._coin = lambda: 0.0  # a probe, which brings the server's word
        now[0] += 0.5
        for _ in range(60):
            if place.described:
                client.infer("quarters", sound(1))
        assert not place.described
        assert place.space
        now[0] += 31.0
        client._tier._coin = lambda: 0.99
        assert until_local(client).result["label"] == "a"
        assert (place.described, place.space, place.store.dimension) == (True, "", 16)


def blended(rng):
    """Return an input between two kinds, often close to where one becomes the other, and its right answer."""
    one, other = rng.choice(4, 2, replace=False)
    share = rng.uniform(0.4, 1.0)
    value = np.zeros((4, 4), np.float32)
    value[one], value[other] = share, 1.0 - share
    value += rng.normal(0, 0.05, (4, 4))
    return value.ravel().astype(np.float32), "abcd"[int(value.sum(axis=1).argmax())]


def test_both_tiers_together_keep_the_promise_where_radii_are_among_projected_keys(projected):
    """Real devices with real coins and hard inputs: no more false answers than 5 % and the slack allow, and chance."""
    rng = np.random.default_rng(8)
    phones = [make(projected, coin=rng.random, background=False) for _ in range(4)]
    false = near = 0
    for at in range(800):
        value, right = blended(rng)
        answer = phones[at % 4].infer("quarters", value)
        false += answer.result["label"] != right
        near += answer.detail == "near"
    assert {place_of(phone).space for phone in phones} == {digest(projected)}
    for phone in phones:
        phone.close()
    bound = 0.05 * (150 + 800) + 3.0
    assert near > 80
    assert false <= bound + 4.0 * bound**0.5


def radii(server):
    """Return what becomes of the server's measurements, by entry."""
    found = collections.defaultdict(list)
    leasing = server.app.edge.registry.get("quarters").leasing
    measure = leasing.reach

    def reach(entry_id, *given, **options):
        made = measure(entry_id, *given, **options)
        if made is not None:
            found[entry_id].append(made)
        return made

    leasing.reach = reach
    return found


def is_told(radius, measured):
    """Say whether a device got one of these, shortened by what a small pack rounds at most."""
    return any(0.94 * each <= radius <= each * (1 + 1e-6) for each in measured)


def spied(send, asked):
    def sending(step):
        asked.append(step.url)
        return send(step)

    return sending


def harmed(send, harm):
    def sending(step):
        if "/files/" not in step.url or not harm:
            return send(step)
        reply = send(step)
        if harm == "tampered":
            return reply._replace(content=reply.content + b" ")
        return reply._replace(status_code=404, content=b"") if harm == "gone" else reply

    return sending
