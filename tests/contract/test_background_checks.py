"""Answers of the device that are checked after they were given: the app waits for none, and the promise stands."""

from __future__ import annotations

import itertools
import threading

import pytest
from quarters import make, sound, stats, until_local

from likewise_client import AsyncClient, ConnectionFailed


def held(client):
    """Let requests to servers wait, from now on, until the event that is returned is set."""
    send, go = client._send, threading.Event()

    def waiting(step):
        assert go.wait(60.0)
        return send(step)

    client._send = waiting
    return go


def test_an_answer_comes_at_once_and_is_checked_afterwards(warm):
    events = []
    with make(warm, on_answer=events.append) as client:
        until_local(client)
        calls, go = client.cache_info(), held(client)
        client._tier._coin = lambda: 0.0
        answer = client.infer("quarters", sound(0))
        assert (answer.outcome, answer.source, answer.detail) == ("hit", "device", "near")
        assert client._tier._place("quarters").lease.probing
        client._tier._coin = lambda: 0.99
        go.set()
    checks = [event for event in events if event.operation == "check"]
    assert [(event.outcome, event.error, event.attempts) for event in checks] == [("probe", None, 1)]
    assert checks[0].bytes_sent > 0
    assert client.cache_info().probes == calls.probes + 1
    info, told = client.cache_on_device("quarters"), stats(warm)
    assert (told["lease_probes"], told["leases_contradicted"], told["leases"]) == (1, 0, 0)
    assert told["device_hits"] == info.hits - 1, (
        "the answer to the check counts, and earns, in the place of the device's"
    )


def test_no_more_is_answered_near_until_the_check_is_settled(warm):
    tosses = itertools.chain([0.0], itertools.repeat(0.99))
    with make(warm) as client:
        until_local(client)
        client._tier._coin = lambda: next(tosses)
        send, go = client._send, held(client)
        assert client.infer("quarters", sound(0)).from_device
        waiting, client._send = client._send, send
        assert not client.infer("quarters", sound(0)).from_device
        client._send = waiting
        go.set()
        until_local(client)
    assert stats(warm)["leases_granted"] == 1


def test_as_many_as_came_during_the_last_check_are_answered_beside_the_next(warm):
    with make(warm) as client:
        until_local(client)
        place = client._tier._place("quarters")
        for beside in (0, 2):
            place.lease.pi = 0.1
            send, go = client._send, held(client)
            client._tier._coin = lambda: 0.0
            assert client.infer("quarters", sound(0)).from_device
            client._send = send
            client._tier._coin = lambda: 0.99
            answers = [client.infer("quarters", sound(0)) for _ in range(3)]
            assert [answer.from_device for answer in answers] == [True] * beside + [False] * (3 - beside)
            go.set()
            for thread in list(client._started):
                thread.join(60.0)
            assert not place.lease.probing
    assert stats(warm)["leases_granted"] == 1


def test_an_answer_that_was_wrong_ends_the_lease_and_the_entry_goes(warm):
    with make(warm) as client:
        until_local(client)
        place = client._tier._place("quarters")
        for row in range(len(place.store)):  # a device that was told too much
            place.store._radii[row] = 100.0
        entry = place.store._kept[0].entry
        client._tier._coin = lambda: 0.0
        assert client.infer("quarters", sound(2)).result["label"] != "c"
        for thread in list(client._started):
            thread.join(60.0)
        assert place.lease.over
        assert entry not in place.store._rows
        client._tier._coin = lambda: 0.99
        assert not client.infer("quarters", sound(2)).from_device
    assert stats(warm)["leases_contradicted"] == 1


@pytest.mark.parametrize("where", ["on its way", "before it began"])
def test_a_check_that_is_lost_ends_the_lease(warm, where, monkeypatch, caplog):
    with make(warm) as client:
        until_local(client)
        client._tier._coin = lambda: 0.0
        if where == "on its way":
            monkeypatch.setattr(client, "_send", lambda step: (_ for _ in ()).throw(ConnectionFailed("gone")))
            monkeypatch.setattr(client._operations.exchange, "_retry", client._operations.exchange._retry.__class__(1))
        else:
            monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("no more")))
        assert client.infer("quarters", sound(0)).from_device
        monkeypatch.undo()
        for thread in list(client._started):
            thread.join(60.0)
        lease = client._tier._place("quarters").lease
        assert (lease.over, lease.lost, lease.probing) == (True, True, False)
        client._tier._coin = lambda: 0.99
        assert until_local(client)
    assert stats(warm)["leases_granted"] == 2


def test_what_only_the_app_can_compute_is_not_checked_for_it(warm):
    """A lookup by key is a probe that its app redeems: it is asked for, and not answered before."""
    with make(warm) as client:
        until_local(client)
        client._tier._coin = lambda: 0.0
        assert not client.lookup("quarters", key=sound(0)).from_device


def test_few_tokens_are_not_risked_so(warm):
    """Above a quarter, a would-be hit is sent as a probe, and answered by what comes back."""
    with make(warm) as client:
        until_local(client)
        client._tier._coin = lambda: 0.0
        client._tier._place("quarters").lease.pi = 0.4
        assert client.infer("quarters", sound(0)).outcome == "probe"


async def test_tasks_do_the_same(warm):
    events = []
    async with make(warm, kind=AsyncClient, on_answer=events.append) as client:
        for _ in range(60):
            if (await client.infer("quarters", sound(0))).from_device:
                break
        client._tier._coin = lambda: 0.0
        assert (await client.infer("quarters", sound(0))).from_device
        assert client._tier._place("quarters").lease.probing
    assert [event.outcome for event in events if event.operation == "check"] == ["probe"]
    assert stats(warm)["leases_silent"] == stats(warm)["leases"] == 0
