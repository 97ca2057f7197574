"""What a device keeps: a search like that by brute force, within its bounds, and packs that survive hostile bytes."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise_client._answer import Answer
from likewise_client._device.lease import MOST_PREFETCHED_BYTES, Lease, Terms, read_terms
from likewise_client._device.pack import Packed, read_pack, write_pack
from likewise_client._device.place import Place, Query
from likewise_client._device.store import Kept, Store


def kept(name: int, expires_at: float = 100.0, body: bytes = b"{}") -> Kept:
    return Kept(f"{name:016x}", body, "application/json", 0.0, expires_at)


def brute(keys: dict[int, tuple[np.ndarray, float]], query: np.ndarray) -> str | None:
    """Return the nearest entry, if the query is within its radius."""
    if not keys:
        return None
    name = min(keys, key=lambda each: float(np.linalg.norm(keys[each][0] - query)))
    key, radius = keys[name]
    return f"{name:016x}" if np.linalg.norm(key - query) <= radius else None


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "look"]), st.integers(0, 30), st.integers(0, 10**6)), max_size=120
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_it_finds_what_brute_force_finds(steps):
    store, model = Store(1000, 1 << 20), {}
    for what, name, seed in steps:
        key = np.random.default_rng(seed).normal(size=5).astype(np.float32)
        if what == "put":
            model.pop(name, None)
            model[name] = (key, 0.5 + seed % 3)
            store.put(key, model[name][1], kept(name))
        elif what == "remove":
            model.pop(name, None)
            store.remove(f"{name:016x}")
        else:
            found = store.nearest(key, 0.0)
            assert (None if found is None else found.entry) == brute(model, key)
        assert len(store) == len(model)
    for name in list(model):
        store.remove(f"{name:016x}")
    assert store.bytes == 0


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(1, 8), st.integers(1000, 6000))
def test_it_stays_within_its_bounds(steps, most, room):
    store = Store(most, room)
    for what, name, seed in steps:
        key = np.full(5, seed, np.float32)
        if what == "put":
            store.put(key, 1.0, kept(name, body=b"x" * (seed % 900)))
        elif what == "remove":
            store.remember(bytes([name]) * 16, kept(name, body=b"x" * (seed % 900)))
        else:
            store.nearest(key, 0.0)
        assert len(store) <= most
        assert store.repeats <= most
        assert 0 <= store.bytes <= room


def test_what_was_not_used_for_longest_goes_first():
    store = Store(3, 1 << 20)
    for name in range(3):
        store.put(np.full(2, 10 * name, np.float32), 1.0, kept(name))
    store.nearest(np.zeros(2, np.float32), 0.0)
    store.put(np.full(2, 50, np.float32), 1.0, kept(9))
    assert store.nearest(np.zeros(2, np.float32), 0.0) is not None
    assert store.nearest(np.full(2, 10, np.float32), 0.0) is None


@pytest.mark.parametrize("radius", [1.0, 0.0])
def test_what_is_known_by_bytes_stays_when_its_entry_is_kept_anew_and_goes_with_it(radius):
    store, key = Store(10, 1 << 20), np.ones(3, np.float32)
    store.remember(b"digest", kept(1))
    store.put(key, radius, kept(1))
    store.put(key, radius, kept(1))
    assert store.exact(b"digest", 0.0) is not None
    store.remove(f"{1:016x}")
    assert store.exact(b"digest", 0.0) is None
    assert store.bytes == 0


def test_what_expired_is_not_answered():
    store = Store(3, 1 << 20)
    store.put(np.zeros(2, np.float32), 1.0, kept(1, expires_at=5.0))
    store.remember(b"d", kept(2, expires_at=5.0))
    assert store.nearest(np.zeros(2, np.float32), 4.0)
    assert store.exact(b"d", 4.0)
    assert store.nearest(np.zeros(2, np.float32), 5.0) is None
    assert store.exact(b"d", 5.0) is None
    assert store.bytes == 0


def packed(count: int = 3) -> list[Packed]:
    rng = np.random.default_rng(0)
    return [
        Packed(
            f"{id + 1:016x}", rng.normal(size=4).astype(np.float32), 0.5, b'{"a":%d}' % id, "application/json", 9.0, 1.0
        )
        for id in range(count)
    ]


def test_a_pack_comes_back_as_it_was():
    header, entries = read_pack(write_pack({"version": "a.1"}, packed(), 4))
    assert header["version"] == "a.1"
    assert len(entries) == len(packed())
    for one, other in zip(entries, packed()):
        assert (one.entry, one.radius, one.body, one.media_type) == (
            other.entry,
            other.radius,
            other.body,
            other.media_type,
        )
        assert (one.key == other.key).all()
    assert read_pack(write_pack({}, [], 4))[1] == []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_bytes_that_are_no_pack_raise_value_error_and_nothing_else(data):
    """With a checksum that fits, too: a server may mean harm."""
    from hashlib import sha256

    content = bytearray(write_pack({"version": "a.1"}, packed(), 4)[:-32])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    whole = bytes(content) + sha256(content).digest()
    try:
        _, entries = read_pack(whole)
    except ValueError:
        return
    for entry in entries:
        assert np.isfinite(entry.key).all()
        assert entry.radius >= 0.0


GOOD = "abc; pi=0.25; ttl=60; version=0123abcd.4"


def squeezed(content):
    return base64.b64encode(zlib.compress(content)).decode()


def test_terms_are_read():
    terms = read_terms({"likewise-lease": GOOD + "; drop=" + "0" * 16, "likewise-reuse": "exact; ttl=9; radius=0.5"})
    assert terms == Terms("abc", 0.25, 60.0, "0123abcd", 4, drop=("0" * 16,), radius=0.5, exact=True, valid_s=9.0)
    assert read_terms({}) is None
    assert read_terms({"likewise-lease": "none; version=0123abcd.4"}).id == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"likewise-lease": ""},
        {"likewise-lease": "abc"},
        {"likewise-lease": "abc; pi=0; ttl=60; version=0123abcd.4"},
        {"likewise-lease": "abc; pi=nan; ttl=60; version=0123abcd.4"},
        {"likewise-lease": "abc; pi=-1; ttl=60; version=0123abcd.4"},
        {"likewise-lease": "abc; pi=2; ttl=60; version=0123abcd.4"},
        {"likewise-lease": "abc; pi=0.5; ttl=inf; version=0123abcd.4"},
        {"likewise-lease": "abc; pi=0.5; version=0123abcd.4"},
        {"likewise-lease": "abc; pi=0.5; ttl=1; version=x"},
        {"likewise-lease": GOOD + "; drop=zz"},
        {"likewise-lease": GOOD, "likewise-reuse": "radius=inf"},
        {"likewise-lease": GOOD, "likewise-reuse": "radius=x"},
        {"likewise-lease": GOOD, "likewise-key": "?"},
        {"likewise-lease": GOOD, "likewise-key": "AAAA"},
        {"likewise-lease": GOOD, "likewise-key": "AADAfw=="},
        {"likewise-lease": GOOD, "likewise-prefetch": "?"},
        {"likewise-lease": GOOD, "likewise-prefetch": "AAAA"},
        {"likewise-lease": GOOD, "likewise-prefetch": squeezed(b"no pack")},
        {"likewise-lease": GOOD, "likewise-prefetch": squeezed(write_pack({}, [], 4))[:40]},
        {"likewise-lease": GOOD, "likewise-prefetch": squeezed(bytes(MOST_PREFETCHED_BYTES + 1))},
    ],
)
def test_terms_that_mean_nothing_are_value_errors(headers):
    with pytest.raises(ValueError):  # noqa: PT011 (whatever it says, it becomes a MalformedAnswer)
        read_terms(headers)


def answer_with(prefetched, version):
    """Return an answer of the server that brings entries beside its own."""
    terms = f"abc; pi=0.25; ttl=60; version={version}"
    headers = {"likewise-lease": terms, "likewise-prefetch": squeezed(write_pack({}, prefetched, 4))}
    return Answer("hit", body=b"{}", media_type="application/json"), read_terms(headers)


def test_entries_that_come_beside_an_answer_are_kept_while_there_is_room():
    place = Place("f", Store(8, 1 << 20), described=True)
    query = Query(b"digest", np.zeros(4, np.float32))
    assert "prefetch=8" in place.wish(query, 0.0)
    place.take(query, *answer_with(packed(), "0123abcd.4"), 0.0)
    assert len(place.store) == len(packed())
    for each in packed():
        assert place.store.nearest(each.key, 0.0).entry == each.entry
    assert f"prefetch={8 - len(packed())}" in place.wish(query, 0.0)
    for at in range(8):
        place.store.put(np.full(4, 100.0 + at, np.float32), 1.0, Kept(f"{at:016x}", b"{}", "", 0.0, 9.0))
    assert "prefetch" not in place.wish(query, 0.0)


def test_entries_of_an_older_version_are_not_kept():
    """Something may have been taken out since."""
    place = Place("f", Store(8, 1 << 20), origin="0123abcd", number=5, described=True)
    query = Query(b"digest", np.zeros(4, np.float32))
    place.wish(query, 0.0)
    place.take(query, *answer_with(packed(), "0123abcd.4"), 0.0)
    assert len(place.store) == 0


def test_a_device_that_cannot_make_keys_wants_no_more_entries():
    place = Place("f", Store(8, 1 << 20))
    assert "prefetch" not in place.wish(Query(b"digest", None), 0.0)


def test_an_answer_that_was_overtaken_brings_no_lease_back():
    """It is over for good, whatever an older answer says of it."""
    lease = Lease()
    lease.take(Terms("a", 0.5, 60.0, "0", 0), 0.0, 1)
    lease.take(Terms("b", 0.5, 60.0, "0", 0), 1.0, 3)
    lease.take(Terms("a", 0.5, 60.0, "0", 0), 1.0, 2)
    assert lease.id == "b"
    lease.end()
    lease.take(Terms("b", 0.5, 60.0, "0", 0), 5.0, 4)
    assert not lease.live(6.0)


def test_a_probe_that_the_server_checks_holds_until_an_answer_says_it_is_settled():
    lease = Lease("a", 0.5, 60.0)
    assert lease.toss(lambda: 0.0, background=True) == "probe"
    lease.pend(5)
    lease.take(Terms("a", 0.5, 60.0, "0", 0), 0.0, 5)
    assert lease.probing
    lease.take(Terms("a", 0.5, 60.0, "0", 0, checking=True), 0.0, 6)
    assert lease.probing
    lease.take(Terms("a", 0.5, 60.0, "0", 0), 0.0, 7)
    assert not lease.probing


def test_answers_settle_what_they_were_told_of_and_no_check_that_is_still_on_its_way():
    lease = Lease("a", 0.1, 60.0)
    assert lease.toss(lambda: 0.0, background=True) == "check"
    assert lease.toss(lambda: 0.9, background=True) == "ask"
    lease.settle()
    assert lease.toss(lambda: 0.0, background=True) == "check"
    assert lease.toss(lambda: 0.0, background=True) == "probe"
    lease.pend(5)
    for number in (6, 7, 8):
        lease.take(Terms("a", 0.1, 60.0, "0", 0), 0.0, number)
        assert lease.probing
    lease.settle()
    assert not lease.probing
