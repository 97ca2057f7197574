"""A load generator that costs less than what it loads: bare sockets, one epoll loop, prepared requests.

Runs as a process of its own, `python -m benchmarks.client JOB`, and prints what it saw as JSON. Closed loop: every
connection sends its next request when the answer to the last is there, and none is left without its answer in the end:
what a server has spent on an answer belongs to an answer that counts. Open loop: requests are due at a steady rate,
whether or not earlier ones are answered, and their latency counts from when they were due.
"""

from __future__ import annotations

import base64
import json
import select
import socket
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

RECEIVED = 1 << 18
ANSWER_S = 30.0
"""Longest silence of a server that has requests to answer."""


class Connection:
    """One keep-alive connection with at most one request under way."""

    __slots__ = ("began", "buffer", "cursor", "kind", "send", "sock")

    def __init__(self, port: int, cursor: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.cursor = cursor
        self.began = 0.0
        self.kind = 0
        self.send = self.sock.sendall  # requests are small: they fit into the socket's buffer


def body_length(head: bytes) -> int:
    """Return the length of the body that follows a response's head; 0 where it says none."""
    at = head.find(b"content-length:")
    if at < 0:
        at = head.lower().find(b"content-length:")
        if at < 0:
            return 0
    return int(head[at + 15 : head.find(b"\r", at)])


def request(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Load:
    """Sends the requests of a job and counts the answers.

    job: port, connections, seconds, requests (list of [path, headers, file of bodies, length of a body or 0 for one
    body]), and optionally rate (a second, open loop), side (a second kind of request, with a rate of its own),
    results (what to insert for each body where the server answers with a ticket), and, in an open loop, wanted (a file
    of the text that a right answer to each body has in it) with deadline (seconds in which an answer is of use).
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._seconds = float(job["seconds"])
        self._requests = _prepared(job["request"])
        self._side = _prepared(job["side"]) if "side" in job else []
        self._rate = float(job.get("rate", 0.0))
        self._side_rate = float(job.get("side_rate", 0.0))
        self._tickets: dict[str, Any] | None = job.get("tickets")
        self._keys = _bodies(job["request"]) if self._tickets else []
        self._results = json.loads(Path(self._tickets["results"]).read_text()) if self._tickets else []
        count = int(job["connections"])
        step = max(1, len(self._requests) // count)
        self._open = [Connection(job["port"], i * step) for i in range(count)]
        self._step = count if not self._rate else 1
        self.statuses: dict[str, int] = {}
        self.latencies: list[float] = []
        self.refusals: list[float] = []
        self.side_done = 0
        self.tickets_returned = 0
        self._wanted = (
            [each.encode() for each in json.loads(Path(job["wanted"]).read_text())] if "wanted" in job else []
        )
        self._deadline = float(job.get("deadline", "inf"))
        self.right_in_time = self.wrong = 0

    def run(self) -> dict[str, Any]:
        """Send for as long as the job says; return counts and latencies."""
        poll = select.epoll()
        by_fd = {each.sock.fileno(): each for each in self._open}
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        started = perf_counter()
        if self._rate:
            self._open_loop(poll, by_fd, started)
        else:
            self._closed_loop(poll, by_fd, started)
        elapsed = perf_counter() - started
        for each in self._open:
            each.sock.close()
        return {
            "seconds": elapsed,
            "statuses": self.statuses,
            "side_done": self.side_done,
            "tickets_returned": self.tickets_returned,
            "latency_s": _quantiles(self.latencies),
            "refusal_s": _quantiles(self.refusals),
            "right_in_time": self.right_in_time,
            "wrong": self.wrong,
        }

    def _closed_loop(self, poll: select.epoll, by_fd: dict[int, Connection], started: float) -> None:
        statuses, latencies, requests = self.statuses, self.latencies, self._requests
        count = len(requests)
        until = started + self._seconds
        for each in self._open:
            each.began = perf_counter()
            each.send(requests[each.cursor])
        waiting = len(self._open)
        while waiting:
            ready = poll.poll(ANSWER_S)
            if not ready:
                raise TimeoutError(f"no answer came for {ANSWER_S:g} s")
            for fd, _ in ready:
                each = by_fd[fd]
                data = each.sock.recv(RECEIVED)
                if not data:
                    raise ConnectionError("the server closed a connection")
                if each.buffer:
                    data = each.buffer + data
                end = data.find(b"\r\n\r\n")
                if end < 0 or len(data) < end + 4 + body_length(data[:end]):
                    each.buffer = data
                    continue
                each.buffer = b""
                now = perf_counter()
                status = data[9:12].decode()
                if each.kind:
                    each.kind = 0
                    self.tickets_returned += status == "201"
                else:
                    statuses[status] = statuses.get(status, 0) + 1
                    latencies.append(now - each.began)
                    if status == "204" and self._tickets is not None:
                        each.kind = 1
                        each.send(self._insertion(each.cursor, data[:end]))
                        continue
                if now >= until:
                    waiting -= 1
                    continue
                each.cursor = cursor = (each.cursor + 1) % count
                each.began = now
                each.send(requests[cursor])

    def _insertion(self, cursor: int, head: bytes) -> bytes:
        at = head.find(b"likewise-ticket:")
        ticket = head[at + 16 :].split(b"\r", 1)[0].strip().decode()
        assert self._tickets is not None
        document = {
            "key": base64.b64encode(self._keys[cursor]).decode(),
            "result": self._results[cursor],
            "ticket": ticket,
        }
        return request(self._tickets["path"], self._tickets["headers"], json.dumps(document).encode())

    def _open_loop(self, poll: select.epoll, by_fd: dict[int, Connection], started: float) -> None:
        idle = deque(self._open)
        due = deque[tuple[float, int]]()
        until = started + self._seconds
        next_due = [started, started if self._side else float("inf")]
        gaps = [1.0 / self._rate, 1.0 / self._side_rate if self._side else float("inf")]
        cursors = [0, 0]
        kinds = [self._requests, self._side]
        while True:
            now = perf_counter()
            for kind in (0, 1):
                while next_due[kind] <= now and next_due[kind] < until:
                    due.append((next_due[kind], kind))
                    next_due[kind] += gaps[kind]
            while due and idle:
                each = idle.popleft()
                each.began, each.kind = due.popleft()
                each.cursor = cursors[each.kind] % len(kinds[each.kind])
                each.send(kinds[each.kind][each.cursor])
                cursors[each.kind] += 1
            if now >= until and len(idle) == len(self._open) and not due:
                return
            if now >= until + ANSWER_S:
                raise TimeoutError(f"answers are missing {ANSWER_S:g} s after the last request")
            wait = max(0.0, min(next_due) - now) if now < until else 0.05
            # epoll waits in whole milliseconds: the last one is spent asking
            for fd, _ in poll.poll(0 if wait < 0.001 else min(wait - 0.0005, 0.05)):
                self._take(by_fd[fd], idle)

    def _take(self, each: Connection, idle: deque[Connection]) -> None:
        data = each.sock.recv(RECEIVED)
        if not data:
            raise ConnectionError("the server closed a connection")
        data = each.buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + body_length(data[:end]):
            each.buffer = data
            return
        each.buffer = b""
        status = data[9:12].decode()
        elapsed = perf_counter() - each.began
        if each.kind:
            self.side_done += status[0] == "2"
        else:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            (self.latencies if status[0] == "2" else self.refusals).append(elapsed)
            if self._wanted and status[0] == "2":
                right = self._wanted[each.cursor] in data
                self.wrong += not right
                self.right_in_time += right and elapsed <= self._deadline
        idle.append(each)


def _bodies(given: dict[str, Any]) -> list[bytes]:
    """Return the bodies in a file: one behind the other, as long as `lengths` says."""
    content = Path(given["bodies"]).read_bytes()
    bodies, at = [], 0
    for length in given["lengths"]:
        bodies.append(content[at : at + length])
        at += length
    return bodies


def _prepared(given: dict[str, Any]) -> list[bytes]:
    return [request(given["path"], given["headers"], body) for body in _bodies(given)]


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    if not ordered:
        return {}
    last = len(ordered) - 1
    places = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {name: ordered[min(last, int(q * len(ordered)))] for name, q in places.items()} | {
        "mean": sum(ordered) / len(ordered)
    }


if __name__ == "__main__":
    print(json.dumps(Load(json.loads(Path(sys.argv[1]).read_text())).run()))
