"""Leases of devices, as docs/protocol.md says: granted, probed, reported, given back."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import socket
import zlib

import httpx
import numpy as np
import pytest

from likewise.access import add_key, remove_key

PNG = {"content-type": "image/png"}


def infer(server, body, device="phone", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.http.post(
        "/v1/functions/quadrants/infer", content=body, headers={**PNG, "likewise-device": device, **named}
    )


def parts(answer, name="likewise-lease"):
    """Return the first part of a header, and the others by name."""
    first, *rest = (part.strip() for part in answer.headers[name].split(";"))
    return first, dict(part.partition("=")[::2] for part in rest)


@pytest.fixture
def warm(server, toys):
    """A server that has tokens to lend."""
    for i in range(150):
        infer(server, toys.picture(i % 4, i))
    return server


def test_a_device_that_asks_gets_a_lease_and_how_far_the_entry_reaches(warm, toys):
    """The lease names the probability of a probe and its time, the entry its key and its radius."""
    answer = first_entry(warm, toys, "want; key")
    lease, terms = parts(answer)
    assert len(lease) == 16
    assert 1 / 11 <= float(terms["pi"]) <= 0.5
    assert float(terms["ttl"]) == 60.0
    assert terms["version"].endswith(".0")
    key = np.frombuffer(base64.b64decode(answer.headers["likewise-key"]), "<f4")
    assert key.shape == (144,)
    first, more = parts(answer, "likewise-reuse")
    radius = float({first.partition("=")[0]: first.partition("=")[2], **more}["radius"])
    assert 0.0 < radius < 1.0


def test_without_the_header_nothing_is_said_of_leases(warm, toys):
    """Whoever does not ask gets what it always got."""
    answer = infer(warm, toys.picture(1, 901))
    assert not [name for name in answer.headers if name.startswith(("likewise-lease", "likewise-reuse"))]


def first_entry(server, toys, field="want"):
    """Ask until an answer has an entry; one that was computed and adds nothing has none."""
    for seed in range(5000, 5100):
        answer = infer(server, toys.picture(1, seed), likewise_lease=field)
        if "likewise-entry" in answer.headers:
            return answer
        field = field.replace("want", parts(answer)[0])
    raise AssertionError("no entry in a hundred answers")


def granted(server, toys):
    answer = first_entry(server, toys)
    return parts(answer)[0], answer.headers["likewise-entry"]


def test_a_device_with_room_is_sent_more_than_it_asked_for(warm, toys):
    """Compressed packs, each entry once, as long as there are any; never the answer's own."""
    sent, own, field = [], [], "want; prefetch=8"
    for seed in range(6000, 6040):
        answer = infer(warm, toys.picture(seed % 4, seed), likewise_lease=field)
        own.append(answer.headers.get("likewise-entry"))
        field = f"{parts(answer)[0]}; prefetch=8"
        if "likewise-prefetch" in answer.headers:
            header, arrays = unpack(zlib.decompress(base64.b64decode(answer.headers["likewise-prefetch"])))
            assert 0 < len(arrays["ids"]) <= 6
            assert (arrays["radii"] > 0).all()
            assert header["media_types"] == ["application/json"]
            assert own[-1] not in [f"{int(id):016x}" for id in arrays["ids"]]
            sent += arrays["ids"].tolist()
    assert sent
    assert len(sent) == len(set(sent))
    assert "likewise-prefetch" not in infer(warm, toys.picture(1, 1), "other", likewise_lease="want").headers


@pytest.mark.parametrize("parameter", ["prefetch", "prefetch=", "prefetch=x", "prefetch=-1", "prefetch=1000"])
def test_room_that_is_no_number_is_refused(warm, toys, parameter):
    """As everything in the header that is not understood."""
    assert infer(warm, toys.picture(1, 1), likewise_lease=f"want; {parameter}").status_code == 400


@pytest.mark.parametrize(
    "twice", ["answered=1; answered=2", "probe=0123456789abcdef; probe=0123456789abcde0", "idle; idle"]
)
def test_a_parameter_that_comes_twice_is_refused(warm, toys, twice):
    """Nobody can tell which one was meant."""
    assert infer(warm, toys.picture(1, 1), likewise_lease=f"want; {twice}").status_code == 400


def test_a_probe_is_computed_and_confirmed(warm, toys):
    """The lease goes on under its name."""
    lease, entry = granted(warm, toys)
    answer = infer(warm, toys.picture(1, 903), likewise_lease=f"{lease}; probe={entry}")
    assert "detail=probe" in answer.headers["cache-status"]
    assert answer.json()["label"] == toys.labels[1]
    again, terms = parts(answer)
    assert again == lease
    assert "confirmed" in terms
    stats = warm.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert stats["leases"] == 1
    assert stats["lease_probes"] == 1
    assert stats["leases_contradicted"] == 0


def test_a_contradicted_probe_ends_the_lease_and_costs_its_tokens(warm, toys):
    """The next answer gives another lease, if there are tokens for it."""
    lease, entry = granted(warm, toys)
    before = warm.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    answer = infer(warm, toys.picture(2, 904), likewise_lease=f"{lease}; probe={entry}")
    assert answer.json()["label"] == toys.labels[2]
    first, terms = parts(answer)
    assert first == "none"
    assert "contradicted" in terms
    after = warm.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert after["lease_tokens"] == 0.0
    assert before["lease_tokens"] >= 1.0
    assert after["tokens"] <= before["tokens"] + 0.06  # spent, not given back
    assert parts(infer(warm, toys.picture(2, 905), likewise_lease=f"{lease}; idle"))[0] not in ("none", lease)


def test_a_probe_of_an_entry_that_nobody_knows_counts_as_wrong(warm, toys):
    """What cannot be checked is charged."""
    lease, _ = granted(warm, toys)
    answer = infer(warm, toys.picture(1, 906), likewise_lease=f"{lease}; probe={'0' * 16}")
    assert "contradicted" in parts(answer)[1]


def test_a_probe_that_cannot_be_computed_ends_the_lease(warm, toys):
    """Failing on purpose is never free."""
    lease, entry = granted(warm, toys)
    assert infer(warm, b"no picture", likewise_lease=f"{lease}; probe={entry}").status_code == 400
    stats = warm.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert stats["leases"] == 0


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"no picture", {}),
        (None, {"content_type": "text/x-unknown"}),
        (None, {"cache_control": "only-if-cached, max-age=0"}),
    ],
)
def test_a_refused_request_leaves_no_lease_behind(warm, toys, body, headers):
    """Its device never hears of one, so it holds no tokens and no place, and nothing is spent for its silence."""
    before = warm.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    for number in range(6):
        content = body or toys.picture(1, 4000 + number)
        answer = infer(warm, content, f"refused {number}", likewise_lease="want", **headers)
        assert answer.status_code >= 400
    stats = warm.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert stats["leases"] == before["leases"]
    assert stats["lease_tokens"] == before["lease_tokens"]
    assert stats["leases_silent"] == before["leases_silent"]
    assert parts(infer(warm, toys.picture(1, 4100), "refused 0", likewise_lease="want"))[0] != "none"


def test_a_request_that_fails_takes_no_lease_away_that_its_device_knows(warm, toys):
    """What the device was told of goes on."""
    lease, _ = granted(warm, toys)
    assert infer(warm, b"no picture", likewise_lease=lease).status_code == 400
    assert parts(infer(warm, toys.picture(1, 4200), likewise_lease=lease))[0] == lease


def test_reports_earn_for_the_device_alone_and_once(warm, toys):
    """The same report again changes nothing; the lease grows by what the device earned, the ledger does not."""
    lease, _ = granted(warm, toys)
    tokens = warm.http.get("/v1/stats").json()["functions"]["quadrants@1"]["tokens"]
    first = float(parts(infer(warm, toys.picture(1, 907), likewise_lease=f"{lease}; answered=100"))[1]["pi"])
    again = float(parts(infer(warm, toys.picture(1, 908), likewise_lease=f"{lease}; answered=100"))[1]["pi"])
    assert first == again <= 0.12
    stats = warm.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert stats["tokens"] <= tokens + 0.11
    assert stats["device_hits"] == 100


def test_a_lie_buys_no_more_than_the_most_a_lease_may_hold(warm, toys):
    """π never falls below 1 / (1 + lease_most_tokens)."""
    lease, _ = granted(warm, toys)
    answer = infer(warm, toys.picture(1, 909), likewise_lease=f"{lease}; answered=999999999999")
    assert float(parts(answer)[1]["pi"]) >= 0.05


def test_changes_reach_the_device_with_its_next_answer(warm, toys):
    """By the entries that went; or, where all went, it is told to start over."""
    answer = first_entry(warm, toys)
    lease, terms = parts(answer)
    entry = answer.headers["likewise-entry"]
    warm.http.delete(f"/v1/functions/quadrants/entries?id={entry}")
    _, told = parts(infer(warm, toys.picture(2, 911), likewise_lease=f"{lease}; version={terms['version']}"))
    assert told["drop"] == entry
    warm.http.delete("/v1/functions/quadrants/entries?all=true")
    _, told = parts(infer(warm, toys.picture(2, 912), likewise_lease=f"{lease}; version={told['version']}"))
    assert "reset" in told


@pytest.mark.parametrize(
    "field",
    [
        "",
        "want; probe=1",
        "want; pi=0.1",
        "x" * 600,
        "a b",
        "want; answered=-1",
        "want; answered=1e9",
        "want; version=a.b",
    ],
)
def test_a_header_that_is_not_understood_is_refused(shared_server, toys, field):
    """With what is wrong, and nothing is computed."""
    answer = infer(shared_server, toys.picture(1), likewise_lease=field)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Likewise-Lease")


def test_functions_without_a_budget_give_no_leases(shared_server):
    """What promises nothing has nothing to set aside."""
    key = np.ones(4, np.float32).tobytes()
    answer = shared_server.http.post(
        "/v1/functions/devices/lookup",
        content=key,
        headers={"content-type": "application/octet-stream", "likewise-device": "p", "likewise-lease": "want"},
    )
    assert answer.status_code == 204
    assert "likewise-lease" not in answer.headers


def test_a_device_that_computes_settles_its_probe_with_its_insert(live):
    """A lookup that is a probe gets a ticket; the result that comes with it confirms or contradicts."""
    server = live()
    rng = np.random.default_rng(0)

    def lookup(place, **headers):
        key = (np.eye(4)[place] + rng.normal(0, 0.01, 4)).astype("<f4")
        found = server.http.post(
            "/v1/functions/careful/lookup",
            content=key.tobytes(),
            headers={"content-type": "application/octet-stream", "likewise-device": "p", **headers},
        )
        return found, key

    def insert(key, label, ticket):
        body = {"key": key.tolist(), "result": {"label": label}, "ticket": ticket}
        server.http.post("/v1/functions/careful/entries", json=body)

    def stats():
        return server.http.get("/v1/stats").json()["functions"]["careful@1"]

    for turn in range(400):
        found, key = lookup(turn % 4)
        if found.status_code == 204:
            insert(key, str(turn % 4), found.headers["likewise-ticket"])
    found, key = lookup(1, **{"likewise-lease": "want"})
    while found.status_code == 204:
        insert(key, "1", found.headers["likewise-ticket"])
        found, key = lookup(1, **{"likewise-lease": "want"})
    lease, entry = parts(found)[0], found.headers["likewise-entry"]
    held = stats()["leases"]
    found, key = lookup(1, **{"likewise-lease": f"{lease}; probe={entry}"})
    assert found.status_code == 204
    assert "pending" in parts(found)[1]
    insert(key, "1", found.headers["likewise-ticket"])
    assert stats()["leases"] == held
    found, key = lookup(1, **{"likewise-lease": f"{lease}; probe={entry}"})
    insert(key, "2", found.headers["likewise-ticket"])
    assert stats()["leases"] == held - 1
    assert stats()["leases_contradicted"] == 1


def test_a_lease_is_reported_on_and_given_back(warm, toys):
    """What it held is there again."""
    lease, _ = granted(warm, toys)
    path = f"/v1/functions/quadrants/leases/{lease}"
    assert warm.http.post(path, json={"answered": 7, "repeats": 2}).json() == {"live": True}
    assert warm.http.post(path, json={"answered": 7, "done": True}).json() == {"live": False}
    stats = warm.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert stats["leases"] == 0
    assert stats["leases_silent"] == 0
    assert stats["device_hits"] == 7
    assert stats["device_repeats"] == 2


def test_a_lease_that_nobody_knows_is_not_found(shared_server):
    answer = shared_server.http.post("/v1/functions/quadrants/leases/unknown", json={})
    assert answer.status_code == 404


@pytest.mark.parametrize("body", [{"answered": -1}, {"answered": "1"}, {"more": 1}, {"done": 1}, [1]])
def test_a_report_that_makes_no_sense_is_refused(shared_server, body):
    assert shared_server.http.post("/v1/functions/quadrants/leases/unknown", json=body).status_code == 422


@pytest.mark.parametrize("route", ["leases/unknown", "warm-up"])
def test_of_many_members_that_are_not_known_the_first_are_named(shared_server, route):
    """Not all of them, one by one, while nobody else is served."""
    body = {f"member{i}": 1 for i in range(1000)}
    answer = shared_server.http.post(f"/v1/functions/quadrants/{route}", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].count("`") == 10


def test_changes_are_told_to_whoever_asks(warm, toys):
    """Once, since a version; without one, the device starts over."""
    told = warm.http.get("/v1/functions/quadrants/changes").json()
    assert told["reset"] is True
    answer = first_entry(warm, toys)
    entry = answer.headers["likewise-entry"]
    warm.http.delete(f"/v1/functions/quadrants/entries?id={entry}")
    after = warm.http.get(f"/v1/functions/quadrants/changes?since={told['version']}").json()
    assert after["reset"] is False
    assert after["entries"] == [entry]


def test_changes_come_as_events(warm, toys):
    """To whoever accepts them: first where things stand, then each change as it is made."""
    entry = first_entry(warm, toys).headers["likewise-entry"]
    url = "/v1/functions/quadrants/changes"
    with warm.http.stream("GET", url, headers={"accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines).startswith("id: ")
        assert next(lines) == "event: change"
        assert '"reset":true' in next(lines)
        with httpx.Client(base_url=warm.url) as other:
            other.delete(f"/v1/functions/quadrants/entries?id={entry}")
        told = next(line for line in lines if line.startswith("data: "))
        assert entry in told
        assert '"reset":false' in told


def test_a_key_that_was_removed_follows_no_changes(live, toys, tmp_path):
    """Its stream ends before it is told anything more."""
    keys = tmp_path / "data/access-keys.json"
    phone = add_key(keys, "phone", ["infer"])
    admin = {"authorization": f"Bearer {add_key(keys, 'admin', ['admin'])}"}
    server = live(require_key="always")
    asked = {"accept": "text/event-stream", "authorization": f"Bearer {phone}"}
    with server.http.stream("GET", "/v1/functions/quadrants/changes", headers=asked) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("id: ")
        remove_key(keys, "phone")
        with httpx.Client(base_url=server.url, headers=asked) as other:
            while other.get("/v1/functions/quadrants/changes", headers={"accept": "*/*"}).status_code != 401:
                continue
        with httpx.Client(base_url=server.url, headers=admin) as other:
            other.delete("/v1/functions/quadrants/entries?all=true")
        assert [line for line in lines if line.startswith("id: ")] == []


def test_no_more_devices_follow_changes_than_allowed(live):
    server = live(max_change_listeners=0)
    answer = server.http.get("/v1/functions/quadrants/changes", headers={"accept": "text/event-stream"})
    assert answer.status_code == 503


CHANGES = b"%s /v1/functions/quadrants/changes HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n"


@contextlib.contextmanager
def connections(server, count):
    """Yield so many open connections."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)))
            for _ in range(count)
        ]


def test_no_more_devices_follow_changes_than_allowed_however_close_they_come(live):
    server = live(max_change_listeners=3)
    with connections(server, 30) as open_ones:
        for each in open_ones:
            each.sendall(CHANGES % b"GET")
        statuses = [each.recv(4096).split(b" ")[1] for each in open_ones]
    assert statuses.count(b"200") == 3
    assert statuses.count(b"503") == 27


def test_the_head_of_a_stream_of_changes_ends(shared_server):
    """It takes no place, and the connection goes on."""
    with connections(shared_server, 1) as (one,):
        one.sendall(CHANGES % b"HEAD" + b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answers = b""
        while piece := one.recv(4096):
            answers += piece
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b"event: change" not in answers


def test_a_server_that_stops_ends_streams_of_changes(live):
    """Whole, and without waiting for the devices."""
    server = live()
    with connections(server, 1) as (one,):
        one.sendall(CHANGES % b"GET")
        told = b""
        while b"event: change" not in told:
            told += one.recv(4096)
        server.stop()
        while piece := one.recv(4096):
            told += piece
    assert told.endswith(b"\r\n0\r\n\r\n")


def unpack(content):
    """Return header and arrays of a pack, by nothing but the document that describes it."""
    assert content.startswith(b"LIKEWISE-PACK-1\n")
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    size = int(content[16:24], 16)
    header = json.loads(content[25 : 25 + size])
    at, arrays = 25 + size, {}
    for name, length in header["arrays"].items():
        arrays[name] = np.load(io.BytesIO(content[at : at + length]), allow_pickle=False)
        at += length
    assert at == len(content) - 32
    return header, arrays


def test_a_device_warms_up_with_what_is_used_most(warm, toys):
    """Entries come best first, with key, radius, result and time; nothing comes that may not be reused."""
    header, arrays = unpack(warm.http.post("/v1/functions/quadrants/warm-up", json={"entries": 10}).content)
    count = len(arrays["ids"])
    assert 0 < count <= 10
    assert arrays["keys"].shape == (count, 144)
    assert (arrays["radii"] > 0).all()
    assert header["media_types"] == ["application/json"]
    bodies = arrays["bodies"].tobytes()
    starts = [0, *arrays["ends"].tolist()[:-1]]
    labels = [json.loads(bodies[a:b])["label"] for a, b in zip(starts, arrays["ends"].tolist(), strict=True)]
    assert set(labels) <= set(toys.labels)
    uses = {
        each["id"]: each["use_count"]
        for each in warm.http.get("/v1/functions/quadrants/entries?limit=1000").json()["entries"]
    }
    assert uses[f"{int(arrays['ids'][0]):016x}"] == max(uses[f"{int(id):016x}"] for id in arrays["ids"])


def test_a_download_is_as_small_as_the_device_wants(warm):
    """Bytes of keys and results, whatever the server would allow."""
    _, arrays = unpack(warm.http.post("/v1/functions/quadrants/warm-up", json={"bytes": 1300}).content)
    assert len(arrays["ids"]) == 2
    _, arrays = unpack(warm.http.post("/v1/functions/quadrants/warm-up", json={"bytes": 1}).content)
    assert arrays["keys"].shape == (0, 144)


def test_what_is_near_to_what_a_device_asked_before_comes_first(warm, toys):
    """The keys that it names move the choice."""
    _, everything = unpack(warm.http.post("/v1/functions/quadrants/warm-up").content)
    wanted = everything["keys"][-1]
    keys = base64.b64encode(wanted.astype("<f4").tobytes()).decode()
    _, few = unpack(warm.http.post("/v1/functions/quadrants/warm-up", json={"entries": 3, "keys": keys}).content)
    assert everything["ids"][-1] in few["ids"]


@pytest.mark.parametrize("body", [{"entries": 0}, {"keys": "x"}, {"keys": "AAAA"}, {"bytes": -1}, {"place": 3}])
def test_a_wish_that_makes_no_sense_is_refused(shared_server, body):
    assert shared_server.http.post("/v1/functions/quadrants/warm-up", json=body).status_code == 422


def test_a_probe_that_the_device_lost_ends_its_lease_and_another_begins(warm, toys):
    """What it held is spent; what the device earned goes on."""
    lease, _ = granted(warm, toys)
    answer = infer(warm, toys.picture(1, 990), likewise_lease=f"{lease}; answered=100; lost")
    again, terms = parts(answer)
    assert again not in ("none", lease)
    assert float(terms["pi"]) < 0.2
    stats = warm.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert stats["leases"] == 1
