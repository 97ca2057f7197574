"""However bytes are cut, repeated and damaged on their way, each request gets its answer or a problem, and no more."""

from __future__ import annotations

import re
import socket

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEY = np.array([1, 0, 0, 0], "<f4").tobytes()
POST = b"POST /v1/functions/careful/lookup HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
SIZED = POST + b"Content-Length: 16\r\n\r\n" + KEY
CHUNKS = b"7;a=b\r\n" + KEY[:7] + b"\r\n9\r\n" + KEY[7:] + b"\r\n0\r\nT: x\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS
UPGRADE = POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 16\r\n\r\n" + KEY
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
MISSING = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
WANT = {SIZED: 204, CHUNKED: 204, UPGRADE: 204, GET: 200, MISSING: 404}
DOCUMENTED = {200, 201, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415, 417, 422, 431, 503, 504}
RELAXED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def statuses(server, pieces: list[bytes]) -> list[int]:
    """Send pieces, end the sending side, and return the statuses of all answers."""
    got = b""
    with socket.create_connection(("127.0.0.1", server.port), 30) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                wire.sendall(piece)
            wire.shutdown(socket.SHUT_WR)
            while more := wire.recv(65536):
                got += more
        except ConnectionError:
            pass  # it was refused while it still sent
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


def test_a_cut_at_any_byte_changes_nothing(shared_server) -> None:
    """Two requests of every kind in a row, cut in two at every place."""
    for request, status in WANT.items():
        both = request + GET
        for cut in range(1, len(both)):
            assert statuses(shared_server, [both[:cut], both[cut:]]) == [status, 200], both[:cut]


@RELAXED
@given(requests=st.lists(st.sampled_from(list(WANT)), min_size=1, max_size=90), size=st.integers(1, 4000))
def test_requests_in_a_row_are_answered_in_their_order(shared_server, requests, size) -> None:
    """Whatever the mixture, and however it is cut."""
    data = b"".join(requests)
    pieces = [data[i : i + size] for i in range(0, len(data), size)] if size > 20 else [data]
    assert statuses(shared_server, pieces) == [WANT[each] for each in requests]


@RELAXED
@given(
    request=st.sampled_from(list(WANT)),
    edits=st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["set", "cut", "put"]), st.binary(max_size=3))),
)
def test_damaged_requests_end_in_documented_answers(shared_server, request, edits) -> None:
    """Never in a hang, a 500 or silence about why."""
    data = bytearray(request)
    for place, kind, new in edits:
        at = place % (len(data) + 1)
        data[at : at + (0 if kind == "put" else len(new))] = b"" if kind == "cut" else new
    assert set(statuses(shared_server, [bytes(data)])) <= DOCUMENTED
    assert statuses(shared_server, [GET]) == [200]
