"""A new connection is expected to be what others with its head lately were: hits, or work."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from ladder_bench import FUNCTIONS, SURE, picture

from likewise.http.turns import HEAVIEST, HEAVY, STEADY, TakesTurns, Turns

HIT = np.array([1, 0, 0, 0], "<f4").tobytes()
LOOKUP = b"POST /v1/functions/devices/lookup HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
INFER = b"POST /v1/functions/quadrants/infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


@pytest.fixture
def server(server):
    """A server with an entry that devices hit."""
    entry = {"key": [1, 0, 0, 0], "result": {"label": "cat"}}
    assert server.http.post("/v1/functions/devices/entries", json=entry).status_code == 201
    return server


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the loads of connections when their requests began, in order."""
    loads: list[int] = []
    may_begin = TakesTurns.may_begin

    def note(connection: TakesTurns, quick: bool = False) -> bool:
        loads.append(connection.load)
        return may_begin(connection, quick)

    def take(_turns: Turns, load: int = 0, _quick: bool = False) -> bool:
        loads.append(load)
        return True

    monkeypatch.setattr("likewise.http.protocol.HotProtocol.may_begin", note)
    monkeypatch.setattr(Turns, "take", take)
    return loads


def ask(server, start: bytes, *bodies: bytes, named: bytes = b"", apart: bool = False) -> list[bytes]:
    """Send requests over a connection of their own; return the heads of the answers. apart: each head by itself."""
    answers = []
    with closing(socket.create_connection(("127.0.0.1", server.port), 60)) as wire:
        for body in bodies:
            head = start + named + b"Content-Length: %d\r\n\r\n" % len(body)
            if apart:
                wire.sendall(head)
                assert server.http.get("/livez").status_code == 200  # it has been read meanwhile
            wire.sendall(body if apart else head + body)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += wire.recv(65536)
            answers.append(answer)
    return answers


@pytest.mark.parametrize("apart", [False, True], ids=["whole", "in pieces"])
def test_who_comes_again_with_a_head_of_hits_need_not_prove_itself(server, began: list[int], apart: bool) -> None:
    """It goes ahead of strangers, and not ahead of those that have had hits on the same connection for some time."""
    ask(server, LOOKUP, *[HIT] * 8, apart=apart)
    assert began[0] == HEAVY
    began.clear()
    ask(server, LOOKUP, HIT, apart=apart)
    assert set(began) <= {STEADY}
    began.clear()
    ask(server, LOOKUP, HIT, named=b"Likewise-Device: stranger\r\n", apart=apart)
    assert began[0] == HEAVY


def test_a_head_whose_requests_are_computed_is_no_recommendation(server, began: list[int], toys) -> None:
    """Whoever sends them: hits of one connection weigh no more than what others with its head have computed."""
    picture = toys.picture(0, 1)
    answers = ask(server, INFER, *[picture] * 8)
    assert all(b"; hit" in each for each in answers[1:])
    began.clear()
    ask(server, INFER, picture)
    assert HEAVY not in began
    named = b"Cache-Control: no-cache\r\n"
    for _ in range(4):
        ask(server, INFER, *[toys.picture(i, 0) for i in range(4)], named=named)
    began.clear()
    ask(server, INFER, picture, named=named)
    assert began[0] == HEAVY
    began.clear()
    ask(server, INFER, picture)
    assert HEAVY not in began


def test_a_head_that_turns_from_hits_to_work_is_recommended_no_more(server, began: list[int], toys) -> None:
    """New connections with it wait their turn again."""
    ask(server, INFER, *[toys.picture(0, 1)] * 8)
    head, record = next(iter(server.app.heads.items()))
    assert head.startswith(b"POST /v1/functions/quadrants/infer")
    assert record.lately.load == 0
    for number in range(HEAVY):
        assert server.http.delete("/v1/functions/quadrants/entries?all=true").status_code == 200
        (answer,) = ask(server, INFER, toys.picture(number % 4, 100 + number))
        assert b"fwd=miss" in answer
    began.clear()
    ask(server, INFER, toys.picture(0, 1))
    assert began[0] == HEAVY


def test_a_crowd_that_comes_at_once_is_not_taken_on_trust(server, began: list[int]) -> None:
    """Before the first of them has been answered, the others are strangers; their hits make up for it."""
    ask(server, LOOKUP, *[HIT] * 8)
    began.clear()
    head = LOOKUP + b"Content-Length: %d\r\n\r\n" % len(HIT)
    with ExitStack() as stack:
        wires = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 60)) for _ in range(3 * HEAVY)
        ]
        for wire in wires:
            wire.sendall(head)
        while len(began) < len(wires):
            assert server.http.get("/livez").status_code == 200  # they are read meanwhile
        assert STEADY in began
        assert began.count(HEAVY) >= 2 * HEAVY
        for wire in wires:
            wire.sendall(HIT)
            assert wire.recv(65536).startswith(b"HTTP/1.1 200 OK")
    began.clear()
    ask(server, LOOKUP, HIT)
    assert set(began) <= {STEADY}


def test_what_a_variant_answers_is_work_and_no_hit(live, tmp_path: Path) -> None:
    """Though it is answered at once: it takes as much of the event loop as ten hits."""
    (tmp_path / "signs-alone").mkdir()
    (tmp_path / "signs-alone" / "signs").symlink_to(FUNCTIONS / "signs")
    served = live(functions=tmp_path / "signs-alone")
    ladder = served.app.edge.registry.get("signs").variants.ladder
    ladder._coin = lambda: 0.999  # nothing is probed
    for rung in ladder._rungs:
        rung.calibration.weights = SURE
    pictures = [picture(seed) for seed in range(40)]
    answers = ask(served, INFER.replace(b"quadrants", b"signs"), *pictures, *pictures[-1:] * 3)
    assert sum(b"detail=variant" in each for each in answers) > 3
    load = HEAVY
    for answer in answers:
        load = max(0, min(HEAVIEST, load + (-2 if b"likewise; hit" in answer else 1)))
    (head,) = served.app.heads.values()
    assert head.lately.load == load
