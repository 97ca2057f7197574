"""The hot route `infer`: outcomes, headers, Cache-Control, as docs/protocol.md says."""

from __future__ import annotations

import asyncio
import io

import httpx
import numpy as np
import pytest

PNG = {"content-type": "image/png"}


def infer(server, body, **headers):
    return server.http.post("/v1/functions/quadrants/infer", content=body, headers={**PNG, **headers})


def warm(server, toys, count=160, name="quadrants"):
    """Send pictures until the policy trusts itself; return the share of hits among the last forty."""
    hits = []
    for i in range(count):
        answer = server.http.post(f"/v1/functions/{name}/infer", content=toys.picture(i % 4, i), headers=PNG)
        assert answer.status_code == 200
        assert answer.json()["label"] == toys.labels[i % 4]
        hits.append(" hit" in answer.headers["cache-status"])
    return sum(hits[-40:]) / 40


def test_a_first_request_is_a_miss_that_is_stored(server, toys):
    """An empty cache computes and says so."""
    answer = infer(server, toys.picture(2))
    assert answer.status_code == 200
    assert answer.json()["label"] == "south-west"
    assert 0 <= answer.json()["confidence"] <= 1
    assert answer.headers["cache-status"] == "likewise; fwd=miss; stored"
    assert answer.headers["age"] == "0"
    assert len(answer.headers["likewise-entry"]) == 16


def test_alike_pictures_become_hits(server, toys):
    """Once the stream has warmed up, different pictures of the same thing are answered from the cache."""
    assert warm(server, toys) > 0.6
    statuses = {infer(server, toys.picture(1, 1000 + i)).headers["cache-status"].split(";")[1] for i in range(8)}
    assert " hit" in statuses


def test_a_hit_names_the_entry_its_age_and_its_time_to_live(server, toys):
    """Everything that RFC 9211 lets a cache say about a hit is there."""
    warm(server, toys)
    hit = next(
        answer
        for i in range(50)
        if " hit" in (answer := infer(server, toys.picture(0, 2000 + i))).headers["cache-status"]
    )
    assert hit.headers["cache-status"].startswith("likewise; hit; ttl=3")
    assert int(hit.headers["age"]) >= 0
    page = server.http.get("/v1/functions/quadrants/entries?limit=1000").json()
    assert hit.headers["likewise-entry"] in {entry["id"] for entry in page["entries"]}


def test_the_version_may_be_named(server, toys):
    """`name@version` is the same function; another version is not there."""
    at_1 = server.http.post("/v1/functions/quadrants@1/infer", content=toys.picture(3), headers=PNG)
    assert at_1.json()["label"] == "south-east"
    at_2 = server.http.post("/v1/functions/quadrants@2/infer", content=toys.picture(3), headers=PNG)
    assert at_2.status_code == 404
    assert "quadrants@1" in at_2.json()["detail"]


def test_no_store_leaves_no_trace(server, toys):
    """Nothing is looked up, learned or kept."""
    answer = infer(server, toys.picture(0), **{"cache-control": "no-store"})
    assert answer.headers["cache-status"] == "likewise; fwd=bypass"
    assert "likewise-entry" not in answer.headers
    stats = server.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert stats["entries"] == 0
    assert stats["bypassed"] == 1
    assert sum(stats["outcomes"].values()) == stats["outcomes"]["bypass"] == 1


def test_no_cache_recomputes(server, toys):
    """A client that wants a fresh result gets one."""
    warm(server, toys)
    for i in range(10):
        answer = infer(server, toys.picture(0, 3000 + i), **{"cache-control": "no-cache"})
        assert answer.headers["cache-status"].startswith("likewise; fwd=request")
        assert answer.headers["age"] == "0"


def test_a_recomputed_request_counts_once_for_its_device(server, toys):
    """Though the cache had an answer, and the model gave another or the same."""
    warm(server, toys)
    fn = server.app.edge.registry.get("quadrants")
    policy = fn.policies[fn.key_type]
    pairs = policy.state()["repeats"]["pairs"]
    for i in range(20):
        infer(server, toys.picture(i % 4, 3000 + i), **{"cache-control": "no-cache"})
    assert policy.state()["repeats"]["pairs"] == pairs + 20


def test_only_if_cached_never_computes(server, toys):
    """504 where nothing is safe to reuse, as RFC 9111 says, and the model stays idle."""
    answer = infer(server, toys.picture(0), **{"cache-control": "only-if-cached"})
    assert answer.status_code == 504
    assert answer.json()["type"].endswith("/not-cached")
    assert server.http.get("/v1/stats").json()["functions"]["quadrants@1"]["inferences"] == 0


def test_only_if_cached_takes_hits(server, toys):
    """With a warm cache, it is answered like any other request."""
    warm(server, toys)
    codes = [
        infer(server, toys.picture(0, 4000 + i), **{"cache-control": "only-if-cached"}).status_code for i in range(20)
    ]
    assert 200 in codes
    assert set(codes) <= {200, 504}


@pytest.mark.parametrize("directive", ["max-age=0, no-transform", "min-fresh=999999"])
def test_freshness_is_respected(server, toys, directive):
    """Entries that are too old, or will be too soon, are not reused."""
    warm(server, toys)
    # max-age=0 admits what was computed in this very second: compare with an age that nothing has
    for i in range(8):
        answer = infer(server, toys.picture(0, 5000 + i), **{"cache-control": directive})
        assert answer.status_code == 200
        if directive.startswith("min-fresh"):
            assert " hit" not in answer.headers["cache-status"]


def test_a_wrong_directive_is_refused(server, toys):
    """A number of seconds that is none gets a problem, not a guess."""
    answer = infer(server, toys.picture(0), **{"cache-control": "max-age=soon"})
    assert answer.status_code == 400
    assert "max-age" in answer.json()["detail"]


async def test_identical_inputs_at_once_share_one_inference(server):
    """Sixteen callers, one computation."""
    values = np.random.default_rng(1).normal(size=(512, 2)).astype("<f4")
    body = _npy(values)
    async with httpx.AsyncClient(base_url=server.url, timeout=600) as client:
        answers = await asyncio.gather(
            *(
                client.post("/v1/functions/heavy/infer", content=body, headers={"content-type": "application/x-npy"})
                for _ in range(16)
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    stats = server.http.get("/v1/stats").json()["functions"]["heavy@1"]
    assert stats["inferences"] < 16
    assert stats["outcomes"]["coalesced"] >= 1


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_a_deadline_that_has_passed_is_told(server, toys):
    """504 with its own problem for what is not computed any more; a hit is answered all the same."""
    late = infer(server, toys.picture(1, 77), **{"request-timeout": "0"})
    assert late.status_code == 504
    assert late.json()["type"].endswith("/deadline-exceeded")
    assert infer(server, toys.picture(1, 77), **{"request-timeout": "30"}).status_code == 200
    hit = infer(server, toys.picture(1, 77), **{"request-timeout": "0"})
    assert (hit.status_code, "detail=exact" in hit.headers["cache-status"]) == (200, True)


@pytest.mark.parametrize("value", ["soon", "-1", "1e9", "nan", "1s", "0x1", "1,5"])
def test_a_deadline_that_is_none_is_refused(server, toys, value):
    """Named in the problem."""
    answer = infer(server, toys.picture(1), **{"request-timeout": value})
    assert answer.status_code == 400
    assert "Request-Timeout" in answer.json()["detail"]


def test_an_input_is_sent_only_where_its_key_found_nothing(server, toys):
    """With the ticket of the lookup; the answer says how it came about, and the ticket is used up."""
    body = toys.picture(3, 4711)
    missed = server.http.post("/v1/functions/quadrants/lookup", content=body, headers=PNG)
    assert missed.status_code == 204
    before = server.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    ticket = {"likewise-ticket": missed.headers["likewise-ticket"]}
    answer = infer(server, body, **ticket)
    assert answer.json()["label"] == toys.labels[3]
    assert answer.headers["cache-status"].startswith("likewise; fwd=miss; stored")
    after = server.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert after["requests"] == before["requests"]
    assert after["tickets"] == before["tickets"] - 1
    assert "hit" in infer(server, body, **ticket).headers["cache-status"]
