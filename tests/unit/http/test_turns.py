"""Turns: who asks for much waits, and is served, or told that it is too late; nothing is forgotten meanwhile."""

from __future__ import annotations

import itertools
import math
import socket
from contextlib import closing

import numpy as np
import pytest

from likewise.http import turns
from likewise.http.protocol import HotProtocol
from likewise.http.turns import BRIEF, CROWDED_S, HEAVIEST, HEAVY, MOST, ROUND_S, STEADY, TakesTurns, Turns
from likewise.throughput import STANDING_S


class Loop:
    """Runs what was called for soon, a round at a time; each request takes as long as `cost_s` says."""

    def __init__(self, cost_s: float) -> None:
        self.now = 0.0
        self.soon: list = []
        self.cost_s = cost_s
        self.begun: list[int] = []
        self.refused: list[int] = []

    def call_soon(self, call) -> None:
        self.soon.append(call)

    def round(self) -> None:
        calls, self.soon = self.soon, []
        for call in calls:
            call()


class Asker(TakesTurns):
    """A connection with one request."""

    def __init__(
        self, loop: Loop, taking: Turns, name: int, load: int = HEAVY, quick: bool = False, within_s: float = math.inf
    ) -> None:
        self.load, self.due = load, loop.now + within_s
        self.turns, self.deadline, self._loop, self._name = taking, 1.0, loop, name
        if self.may_begin(quick):
            self.take_turn()

    def take_turn(self, late: bool = False) -> None:
        self.waits = False
        if late:
            self._loop.refused.append(self._name)
            return
        self._loop.now += self._loop.cost_s
        self._loop.begun.append(self._name)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop(ROUND_S / 2)
    monkeypatch.setattr(turns, "perf_counter", lambda: made.now)
    return made


def test_all_are_served_in_order_and_no_round_takes_longer_than_it_may(loop: Loop) -> None:
    """A thousand requests of 90 microseconds each: rounds of some milliseconds, and an end before that takes long."""
    taking, loop.cost_s = Turns(loop), 0.00009
    askers = [Asker(loop, taking, number) for number in range(1000)]
    assert len(loop.begun) <= 1 + ROUND_S / loop.cost_s
    while loop.soon:
        before = loop.now
        loop.round()
        assert loop.now - before <= ROUND_S + loop.cost_s
    assert loop.begun == list(range(1000))
    assert not any(asker.waits for asker in askers)


def test_the_last_come_are_served_first_where_more_come_than_are_served(loop: Loop) -> None:
    """Several come for each that is served: as long as that is new all wait alike, then most are served soon.

    But one in eight is who has waited longest.
    """
    taking, names, since = Turns(loop), itertools.count(), dict[int, float]()
    waited: list[float] = []
    for _ in range(400):
        for name in itertools.islice(names, 8):
            since[name] = loop.now
            Asker(loop, taking, name, HEAVIEST)
        before = len(loop.begun)
        loop.round()
        waited += [loop.now - since[name] for name in loop.begun[before:]]
    assert loop.begun[:50] == list(range(50))
    soon = sum(wait < STANDING_S for wait in waited[-200:])
    assert 170 <= soon <= 180
    assert max(waited[-200:]) > 2 * STANDING_S
    assert not loop.refused
    while loop.soon:
        loop.round()
    assert sorted(loop.begun) == list(range(3200))


def test_those_whose_time_is_over_or_would_be_are_refused_and_cost_nothing(loop: Loop) -> None:
    """A thousand that have time for five hundred of them, and behind as many others: few are worth a turn."""
    taking = Turns(loop)
    for number in range(2000):
        Asker(loop, taking, number, HEAVIEST, within_s=500 * loop.cost_s if number < 1000 else math.inf)
    while loop.soon:
        loop.round()
    assert {*loop.refused} <= {*range(1000)}
    assert len(loop.refused) > 400
    assert sorted(loop.begun + loop.refused) == list(range(2000))
    assert loop.now == pytest.approx(loop.cost_s * len(loop.begun))


def test_addresses_take_turns(loop: Loop) -> None:
    """Whoever keeps a thousand requests waiting does not keep another address waiting, however new its requests are."""
    taking = Turns(loop)
    for number in range(1000):
        Asker(loop, taking, number, HEAVIEST)
    for _ in range(100):
        loop.round()
    Asker.share = "other"
    try:
        Asker(loop, taking, 1000, HEAVIEST)
        Asker(loop, taking, 1001, HEAVIEST)
    finally:
        del Asker.share
    before = len(loop.begun)
    while 1001 not in loop.begun:
        loop.round()
    assert len(loop.begun) - before <= 6


def test_connections_that_hit_wait_too_where_rounds_are_long(loop: Loop) -> None:
    """What they have others do may take long as well; so no more of them are begun in a round than of others."""
    taking = Turns(loop)
    light = HEAVY - 1
    Asker(loop, taking, 0)
    for number in range(1, 500):
        Asker(loop, taking, number, HEAVIEST)
    assert not taking.crowded
    loop.now += 2 * CROWDED_S  # what was begun in this round took long
    loop.round()
    assert taking.crowded
    begun = len(loop.begun)
    askers = [Asker(loop, taking, number, light) for number in range(500, 600)]
    assert len(loop.begun) - begun <= 1 + ROUND_S / loop.cost_s
    assert any(asker.waits for asker in askers)
    while any(asker.waits for asker in askers):
        loop.round()
    assert sum(number < 500 for number in loop.begun[begun:]) <= 110  # every other turn, at least, is theirs
    while loop.soon:
        loop.round()
    assert not taking.crowded
    assert sorted(loop.begun) == list(range(600))


def test_who_has_had_hits_for_some_time_waits_least_in_a_crowd_and_stops_nobody(loop: Loop) -> None:
    """Behind a hundred connections that had a single hit, in a loop that begins one request a round."""
    taking, loop.cost_s = Turns(loop), 2 * ROUND_S
    taking.count()
    loop.now += 2 * CROWDED_S
    loop.round()
    for number in range(100):
        Asker(loop, taking, number, HEAVY - 1)
        Asker(loop, taking, 1_000 + number, HEAVY, quick=True)
    for number in range(100, 120):
        Asker(loop, taking, number, STEADY - 1)
    before = len(loop.begun)
    while not set(range(100, 120)) <= set(loop.begun):
        loop.round()
    begun = loop.begun[before:]
    assert len(begun) <= 3 * 20  # every other round is theirs, and one more is begun beside where others wait
    assert any(number < 100 for number in begun)
    assert any(number >= 1_000 for number in begun)


def test_rounds_are_measured_where_all_connections_are_light(loop: Loop) -> None:
    """What their requests have others do is what takes long; one that has it done says so."""
    taking = Turns(loop)
    Asker(loop, taking, 0, HEAVY - 1)
    assert not loop.soon
    taking.count()
    loop.now += 2 * CROWDED_S
    loop.round()
    assert taking.crowded
    loop.round()
    assert not taking.crowded
    loop.round()
    assert not loop.soon


def test_who_is_lost_while_waiting_is_forgotten(loop: Loop) -> None:
    """Its place goes to the next one."""
    taking = Turns(loop)
    askers = [Asker(loop, taking, number, HEAVIEST) for number in range(100)]
    for asker in askers[50:]:
        taking.leave(asker)
    while loop.soon:
        loop.round()
    assert loop.begun == list(range(50))


def test_work_that_follows_in_the_next_round_counts_too(loop: Loop) -> None:
    """Requests that only start a task: the round in which the tasks run is what was too long."""
    taking = Turns(loop)
    loop.cost_s = 0.0
    for number in range(1000):
        Asker(loop, taking, number)
    assert len(loop.begun) == MOST
    sizes = []
    for _ in range(12):
        before = len(loop.begun)
        loop.now += 0.001 * sum(sizes[-1:] or [MOST])  # the tasks of the round before
        loop.round()
        sizes.append(len(loop.begun) - before)
    assert max(sizes[6:]) <= 2 * ROUND_S / 0.001


def test_connections_that_hit_do_not_wait(loop: Loop) -> None:
    """However many others do."""
    taking = Turns(loop)
    for number in range(100):
        Asker(loop, taking, number)
    light = Asker.__new__(Asker)
    light.load, light.turns = HEAVY - 1, taking
    assert light.may_begin()
    assert not Asker(loop, taking, 100).may_begin()


def test_new_connections_go_ahead_of_those_that_do_much_and_do_not_stop_them(loop: Loop) -> None:
    """A hundred that always have others do the work wait; one that has just come is begun in the next round."""
    taking = Turns(loop)
    for number in range(100):
        Asker(loop, taking, number, HEAVIEST)
    for number in range(200, 300):
        Asker(loop, taking, number, HEAVY)
    before = len(loop.begun)
    loop.round()
    begun = loop.begun[before:]
    assert begun[0] < 100
    assert begun[1:]
    assert all(number >= 200 for number in begun[1:])
    while loop.soon:
        loop.round()
    assert sorted(loop.begun) == [*range(100), *range(200, 300)]


def test_what_may_be_a_hit_goes_ahead_of_other_requests_of_new_connections(loop: Loop) -> None:
    """A hundred new connections that ask for lists keep a new device waiting for one round, not for a hundred lists."""
    taking = Turns(loop)
    for number in range(100):
        Asker(loop, taking, number)
    for number in range(200, 210):
        Asker(loop, taking, number, HEAVY, True)
    before = len(loop.begun)
    loop.round()
    assert loop.begun[before] == 200
    for _ in range(12):
        loop.round()
    assert {*range(200, 210)} <= {*loop.begun}
    assert len(loop.begun) < 60


def test_rounds_are_brief_while_connections_come_but_not_for_ever(loop: Loop) -> None:
    """Each round takes in one; what may be a hit is begun all the same, and others now and then."""
    taking = Turns(loop)
    for number in range(400):
        Asker(loop, taking, number, HEAVIEST)
    began, before = loop.now, len(loop.begun)
    for number in range(100):
        taking.came()
        if number == 50:
            Asker(loop, taking, 1000, HEAVY, True)
        loop.round()
    assert loop.now - began < 0.02
    assert 1000 in loop.begun
    assert len(loop.begun) - before > 1 + 100 // (BRIEF + 1)
    while loop.soon:
        loop.round()
    assert sorted(loop.begun) == [*range(400), 1000]


@pytest.mark.parametrize("cost_s", [0.001, 0.01])
def test_no_lane_stops_another(loop: Loop, cost_s: float) -> None:
    """However long requests take, and however many of the first lane come: all lanes move on."""
    taking, loop.cost_s, names = Turns(loop), cost_s, itertools.count(1000)
    for number in range(20):
        Asker(loop, taking, number, HEAVIEST)
        Asker(loop, taking, 100 + number)
    for _ in range(90):
        for _ in range(5):
            Asker(loop, taking, next(names), HEAVY, True)
        loop.round()
    assert {*range(20), *range(100, 120)} <= {*loop.begun}


@pytest.mark.parametrize(
    ("line", "quick"),
    [
        (b"POST /v1/functions/f/infer HTTP/1.1", True),
        (b"POST /v1/functions/f@2/lookup?key_type=v HTTP/1.1", True),
        (b"POST /v1/functions/f/lookup", False),  # no version, so not even a request
        (b"POST /v1/functions/f/entries HTTP/1.1", False),
        (b"POST /v1/functions/f/entries?a=/infer HTTP/1.1", False),
        (b"GET /v1/functions/f/infer HTTP/1.1", False),
        (b"POST /v1/functions/ HTTP/1.1", False),
    ],
)
def test_what_may_be_a_hit_is_told_by_the_first_line(line: bytes, quick: bool) -> None:
    """It need not be read any further for that, wherever it begins."""
    head = line + b"\r\nHost: /infer x\r\n\r\n"
    assert HotProtocol.is_quick(None, head, 0) is quick  # type: ignore[arg-type]
    assert HotProtocol.is_quick(None, b"xyz" + head, 3) is quick  # type: ignore[arg-type]


def test_an_idle_loop_is_left_alone(loop: Loop) -> None:
    """Nothing is scheduled for ever."""
    Asker(loop, Turns(loop), 0)
    for _ in range(3):
        loop.round()
    assert not loop.soon


# ── over the wire, where every request has to wait for its turn ─────────────────────────────────────────────

KEY = np.array([1, 0, 0, 0], "<f4").tobytes()
LOOKUP = b"POST /v1/functions/devices/lookup HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
SIZED = LOOKUP + b"Content-Length: 16\r\n\r\n" + KEY
CHUNKED = LOOKUP + b"Transfer-Encoding: chunked\r\n\r\n8\r\n" + KEY[:8] + b"\r\n8\r\n" + KEY[8:] + b"\r\n0\r\n\r\n"
STATS = b"GET /v1/functions HTTP/1.1\r\nHost: x\r\n\r\n"
JSON = LOOKUP.replace(b"octet-stream", b"json")
MANY = b'{"keys":[' + b",".join([b"[1,0,0,0]"] * 3) + b"]}"
REQUESTS = (SIZED, CHUNKED, STATS, JSON + b"Content-Length: %d\r\n\r\n" % len(MANY) + MANY, SIZED)


@pytest.fixture
def crowded(server, monkeypatch: pytest.MonkeyPatch):
    entry = {"key": [1, 0, 0, 0], "result": {"label": "cat"}}
    assert server.http.post("/v1/functions/devices/entries", json=entry).status_code == 201
    monkeypatch.setattr(Turns, "take", lambda _self, _load=0, _quick=False: False)
    monkeypatch.setattr("likewise.http.protocol.HotProtocol.may_begin", _always_wait)
    return server


def _always_wait(connection: TakesTurns, quick: bool = False) -> bool:
    connection.load = HEAVY
    return TakesTurns.may_begin(connection, quick)


@pytest.mark.parametrize("size", [1, 7, 90, 100_000])
@pytest.mark.parametrize("end", [False, True], ids=["open", "half-closed"])
def test_who_waits_is_answered_however_the_bytes_arrive(crowded, size: int, end: bool) -> None:
    """In single bytes, in pieces, all at once; with the sending side open or closed."""
    data = b"".join(REQUESTS)
    with closing(socket.create_connection(("127.0.0.1", crowded.port), 60)) as wire:
        for start in range(0, len(data), size):
            wire.sendall(data[start : start + size])
        if end:
            wire.shutdown(socket.SHUT_WR)
        answers = b""
        while answers.count(b"HTTP/1.1 200 OK") < len(REQUESTS):
            more = wire.recv(65536)
            assert more, answers
            answers += more
    assert answers.count(b'{"label":"cat"}') >= 3


def test_a_body_that_comes_after_its_head_waits_for_a_turn_of_its_own(crowded) -> None:
    """The head has had its turn; what is computed from the body has another."""
    with closing(socket.create_connection(("127.0.0.1", crowded.port), 60)) as wire:
        for request in itertools.chain(REQUESTS, REQUESTS):
            head, mark, body = request.partition(b"\r\n\r\n")
            wire.sendall(head + mark)
            while not body and b"\r\n\r\n" not in wire.recv(65536):
                pass
            if body:
                assert crowded.http.get("/livez").status_code == 200  # the head has been taken meanwhile
                wire.sendall(body)
                assert wire.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_who_leaves_while_waiting_is_forgotten(crowded) -> None:
    """Connections that end at once leave nothing behind."""
    for _ in range(20):
        with closing(socket.create_connection(("127.0.0.1", crowded.port), 60)) as wire:
            wire.sendall(SIZED)
    assert crowded.http.get("/v1/functions").status_code == 200
