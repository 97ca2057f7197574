"""Lookups by key, inserts by devices, tickets, pages, invalidation."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest


def key(*numbers):
    return np.array(numbers, "<f4")


def insert(server, vector, result, fn="devices", **fields):
    return server.http.post(
        f"/v1/functions/{fn}/entries", json={"key": [float(x) for x in vector], "result": result, **fields}
    )


def lookup(server, vector, fn="devices"):
    return server.http.post(
        f"/v1/functions/{fn}/lookup",
        content=np.asarray(vector, "<f4").tobytes(),
        headers={"content-type": "application/octet-stream"},
    )


def test_what_one_device_computed_another_reuses(server):
    """Insert on one side, a near key on the other."""
    made = insert(server, key(1, 0, 0, 0), {"label": "cat"}, cost_s=0.4)
    assert made.status_code == 201
    assert made.json()["entries"][0]["stored"] is True
    answer = lookup(server, key(1.01, 0, 0, 0))
    assert answer.status_code == 200
    assert answer.json() == {"label": "cat"}
    assert " hit" in answer.headers["cache-status"]
    assert answer.headers["likewise-entry"] == made.json()["entries"][0]["id"]


def test_a_far_key_is_a_miss_with_a_ticket(server):
    """204, and the ticket that ties the insert to it."""
    answer = lookup(server, key(9, 9, 9, 9))
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["cache-status"] == "likewise; fwd=miss; detail=none"
    assert insert(server, key(9, 9, 9, 9), "x", ticket=answer.headers["likewise-ticket"]).status_code == 201


def test_tickets_teach_the_default_policy(server):
    """Devices that look up, compute and insert with the ticket end up reusing."""
    rng = np.random.default_rng(3)
    hits = 0
    for i in range(250):
        kind = i % 2
        vector = rng.normal(0, 0.02, 4) + (3 * kind)
        answer = lookup(server, vector, "careful")
        if answer.status_code == 200:
            assert answer.json() == {"label": kind}
            hits += 1
        else:
            ticket = answer.headers["likewise-ticket"]
            assert insert(server, vector, {"label": kind}, "careful", ticket=ticket).status_code == 201
    assert hits > 100


def test_json_keys_and_batches_answer_in_json(server):
    """One key gives one answer; many give a list in the same order."""
    insert(server, key(1, 0, 0, 0), [1, 2, 3])
    url = "/v1/functions/devices/lookup"
    one = server.http.post(url, json={"key": [1, 0, 0, 0]})
    assert one.json()["outcome"] == "hit"
    assert one.json()["result"] == [1, 2, 3]
    many = server.http.post(url, json={"keys": [[1, 0, 0, 0], [7, 7, 7, 7]]}).json()["answers"]
    assert [each["outcome"] for each in many] == ["hit", "miss"]
    assert many[1]["ticket"]
    body = np.stack([key(7, 7, 7, 7), key(1, 0, 0, 0)]).tobytes()
    raw = server.http.post(url, content=body, headers={"content-type": "application/octet-stream"}).json()["answers"]
    assert [each["outcome"] for each in raw] == ["miss", "hit"]


def test_a_raw_input_may_be_looked_up_and_inserted(server, toys):
    """The server extracts the key; the result comes from a device."""
    body = toys.picture(1, 5)
    url = "/v1/functions/quadrants"
    made = server.http.post(
        f"{url}/entries",
        json={
            "input_base64": base64.b64encode(body).decode(),
            "input_media_type": "image/png",
            "result": {"label": "north-east"},
        },
    )
    assert made.status_code == 201
    answer = server.http.post(f"{url}/lookup", content=body, headers={"content-type": "image/png"})
    assert answer.status_code in (200, 204)
    assert server.http.get("/v1/stats").json()["functions"]["quadrants@1"]["inferences"] == 0


def test_results_may_be_any_bytes(server):
    """A result that is not JSON comes back as it went in, in its own media type."""
    blob = bytes(range(256))
    made = server.http.post(
        "/v1/functions/devices/entries",
        json={
            "key": base64.b64encode(key(5, 5, 0, 0).tobytes()).decode(),
            "result_base64": base64.b64encode(blob).decode(),
            "media_type": "application/x-mask",
        },
    )
    assert made.status_code == 201
    answer = lookup(server, key(5, 5, 0, 0))
    assert answer.content == blob
    assert answer.headers["content-type"] == "application/x-mask"
    as_json = server.http.post("/v1/functions/devices/lookup", json={"key": [5, 5, 0, 0]}).json()
    assert base64.b64decode(as_json["result_base64"]) == blob
    assert as_json["media_type"] == "application/x-mask"


def test_pages_run_through_all_entries_in_order(server):
    """Every entry once, in the order of insertion."""
    made = [insert(server, key(i, 0, 0, 0), i, tags=["even"] if i % 2 == 0 else []).json() for i in range(25)]
    ids = [each["entries"][0]["id"] for each in made]
    seen, after = [], ""
    while True:
        page = server.http.get(f"/v1/functions/devices/entries?limit=7{after}").json()
        seen += [entry["id"] for entry in page["entries"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == ids


@pytest.mark.parametrize(("selector", "left"), [("id", 2), ("tag", 1), ("all", 0)])
def test_invalidated_entries_are_gone(server, selector, left):
    """By id, by tag, or all: once confirmed, none is served."""
    ids = [insert(server, key(i, 0, 0, 0), i, tags=["t"] if i else []).json()["entries"][0]["id"] for i in range(3)]
    query = {"id": f"id={ids[2]}", "tag": "tag=t", "all": "all=true"}[selector]
    answer = server.http.delete(f"/v1/functions/devices/entries?{query}")
    assert answer.json() == {"invalidated": 3 - left}
    assert lookup(server, key(2, 0, 0, 0)).status_code == 204
    assert len(server.http.get("/v1/functions/devices/entries").json()["entries"]) == left


def test_an_entry_expires(server):
    """Past its time to live an entry is not served any more."""
    import time

    insert(server, key(4, 4, 4, 4), "soon gone", ttl_s=0.2)
    assert lookup(server, key(4, 4, 4, 4)).status_code == 200
    deadline = time.monotonic() + 300
    while lookup(server, key(4, 4, 4, 4)).status_code == 200:
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("body", "names"),
    [
        pytest.param({"result": 1}, "key", id="no key"),
        pytest.param({"key": [1, 2, 3, 4]}, "result", id="no result"),
        pytest.param({"key": [1, 2, 3], "result": 1}, "3 numbers", id="short key"),
        pytest.param({"key": [1, 2, 3, "x"], "result": 1}, "number", id="a word in the key"),
        pytest.param({"key": [1, 2, 3, 1e39], "result": 1}, "infinity", id="overflowing key"),
        pytest.param({"key": "AAAA", "result": 1}, "bytes", id="short base64 key"),
        pytest.param({"key": "!!", "result": 1}, "base64", id="no base64"),
        pytest.param({"key": [1, 2, 3, 4], "result": 1, "cost_s": -1}, "cost_s", id="negative cost"),
        pytest.param({"key": [1, 2, 3, 4], "result": 1, "tags": ["x" * 65]}, "tag", id="long tag"),
        pytest.param({"key": [1, 2, 3, 4], "result": 1, "wrong": 1}, "wrong", id="unknown field"),
        pytest.param({"keys": {"other": [1]}, "result": 1}, "`v`", id="unknown key type"),
        pytest.param({"entries": []}, "entries", id="no entries"),
        pytest.param([1], "body", id="a list"),
    ],
)
def test_an_insert_that_cannot_be_taken_says_why_and_keeps_nothing(server, body, names):
    """422 with the field; nothing of the request is kept."""
    answer = server.http.post("/v1/functions/devices/entries", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert names in answer.json()["detail"]
    assert server.http.get("/v1/functions/devices/entries").json()["entries"] == []


def test_one_wrong_entry_keeps_the_others_out(server):
    """A request is inserted whole or not at all."""
    body = {"entries": [{"key": [1, 2, 3, 4], "result": 1}, {"key": [1, 2, 3], "result": 1}]}
    assert server.http.post("/v1/functions/devices/entries", json=body).status_code == 422
    assert server.http.get("/v1/functions/devices/entries").json()["entries"] == []


@pytest.mark.parametrize("query", ["", "id=0000000000000001&all=true", "id=xyz"])
def test_an_invalidation_needs_one_selector(server, query):
    """Nothing is invalidated by accident."""
    assert server.http.delete(f"/v1/functions/devices/entries?{query}").status_code == 400


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({f"x{i}": i for i in range(50_000)}, "An entry has no `x0`"),
        ({"keys": {f"k{i}": 5 for i in range(50_000)}}, "`keys` has 50000 keys"),
        ({"tags": [5] * 50_000}, "`tags` has 50000 tags"),
        ({"cost_s": True}, "cost_s"),
        ({"cost_s": "1"}, "cost_s"),
        ({"ttl_s": "1"}, "ttl_s"),
    ],
    ids=["members", "keys", "tags", "true as seconds", "text as seconds", "text as a lifetime"],
)
def test_what_is_too_much_or_no_number_is_refused_in_a_few_words(server, more: dict, said: str) -> None:
    """However many faults there are, the answer is short: a fault is not made of each of them."""
    entry = {"key": [1, 0, 0, 0], "result": {"label": "a"}, **more}
    answer = server.http.post("/v1/functions/devices/entries", json=entry)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        pytest.param({"key": [1, 0, 0, 0], "result": 1, "tags": ["x" * 70_000]}, "tag", id="tag"),
        pytest.param({"key": [1, 0, 0, 0], "result": 1, "ticket": "x" * 70_000}, "short one", id="ticket"),
        pytest.param({"key": "A" * 70_000, "result": 1}, "base64|bytes|short one", id="key"),
        pytest.param({"key": [1, 0, 0, 0], "result_base64": "!" * 70_000, "media_type": "a/b"}, "base64", id="result"),
        pytest.param({"key": [1, 0, 0, 0], "result": 1, "x" * 70_000: 1}, "has no", id="name"),
    ],
)
def test_long_texts_where_none_belong_are_refused(server, entry, says):
    """They are cut out before the rest is parsed, and nothing of them is taken."""
    answer = server.http.post("/v1/functions/devices/entries", json=entry)
    assert answer.status_code in (400, 413, 422), answer.text
    assert re.search(says, answer.json()["detail"])
    assert len(answer.text) < 2000


def test_long_results_are_kept_as_they_are(server):
    """A text, and bytes in base64."""
    text, blob = 'a"b/\u00fc\n' * 20_000, bytes(range(256)) * 1000
    entries = [
        {"key": [1, 0, 0, 0], "result": text},
        {"key": [0, 1, 0, 0], "result_base64": base64.b64encode(blob).decode(), "media_type": "image/x"},
    ]
    answer = server.http.post("/v1/functions/devices/entries", json={"entries": entries})
    assert answer.status_code == 201, answer.text
    assert lookup(server, key(1, 0, 0, 0)).json() == text
    assert lookup(server, key(0, 1, 0, 0)).content == blob
