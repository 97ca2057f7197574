"""The thread that sends: what it makes of each answer that a server may give, one after another."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cameras import quadrant

from likewise.errors import SettingsError
from likewise_client import Client, Retry
from likewise_watch.backoff import Backoff
from likewise_watch.counts import Counts
from likewise_watch.encoding import portable
from likewise_watch.errors import SourceLost
from likewise_watch.found import Found, Shot
from likewise_watch.handoff import Handoff
from likewise_watch.sender import Sender


def good() -> httpx.Response:
    return httpx.Response(200, json={"label": "a"}, headers={"Cache-Status": "likewise; hit; ttl=9"})


def problem(status: int, slug: str) -> httpx.Response:
    document = {"type": f"https://likewise.dev/problems/{slug}", "title": slug, "status": status}
    return httpx.Response(status, json=document, headers={"Content-Type": "application/problem+json"})


REFUSED = httpx.ConnectError("refused")
LATE = problem(409, "late-frame")
BUSY = problem(503, "overloaded")
UNKNOWN = problem(404, "unknown-function")


class Script:
    """A server that answers as it is told, good after that; the clock goes on by a second with each request."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.found: list[Found] = []
        self.counts = Counts("cam", "rtsp://host")
        self.now = 0.0
        self.before: Callable[[], None] = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.headers["Likewise-Stream"])
        self.now += 1.0
        self.before()
        answer = self.answers.pop(0) if self.answers else good()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def put(self, found: Found) -> None:
        self.found.append(found)

    def close(self) -> None:
        pass

    lost = 0

    def run(self, frames: int | Handoff[Shot], drop_late: bool = False, wait_s: float = 5.0) -> list[int]:
        """Send frames; return the numbers of those that were told of."""
        handoff = frames if isinstance(frames, Handoff) else Handoff[Shot](100, drop_late)
        if isinstance(frames, int):
            for number in range(frames):
                handoff.put(shot(number))
            handoff.end()
        backoff = Backoff(random.Random(0), first_s=0.0, max_s=0.0)
        with Client("http://h:1", transport=httpx.MockTransport(self), retry=Retry(rounds=1)) as client:
            stream = client.stream("f", "cam:1", drop_late=drop_late)
            given: tuple[Any, ...] = (stream, portable, [self], self.counts, threading.Event(), backoff, wait_s)
            Sender(*given, clock=lambda: self.now).run(handoff)
        return [each.frame.number for each in self.found]


def shot(number: int) -> Shot:
    return Shot(number, 1e9, None, lambda: quadrant(number % 4))


def test_frames_are_numbered_and_counted() -> None:
    """Late ones are dropped on the way where that is wanted."""
    script = Script()
    assert script.run(3) == [0, 1, 2]
    assert script.asked == ["cam:1;frame=0", "cam:1;frame=1", "cam:1;frame=2"]
    assert (script.counts.sent, script.counts.answered, script.counts.hits) == (3, 3, 3)
    assert script.counts.mean_latency_s == 1.0
    assert script.counts.kinds == {"hit": 3}
    script = Script()
    script.run(1, drop_late=True)
    assert script.asked == ["cam:1;frame=0;late=drop"]


def test_a_late_frame_is_dropped_and_nobody_is_told() -> None:
    """It is counted, though."""
    script = Script(LATE)
    assert script.run(3, drop_late=True) == [1, 2]
    assert (script.counts.late, script.counts.failed, script.counts.dropped) == (1, 0, 1)


@pytest.mark.parametrize("answer", [problem(500, "model-failed"), problem(422, "invalid-value"), httpx.Response(200)])
def test_a_frame_that_fails_is_told_and_the_next_one_sent(answer: httpx.Response) -> None:
    """With the reason."""
    script = Script(answer)
    assert script.run(3) == [0, 1, 2]
    assert [each.answer is None for each in script.found] == [True, False, False]
    assert script.found[0].error
    assert (script.counts.failed, script.counts.answered) == (1, 2)


def test_a_frame_that_cannot_be_shown_is_left_out() -> None:
    """The others are sent."""

    def broken() -> Any:
        raise SourceLost("it is broken")

    script, handoff = Script(), Handoff[Shot](9, latest=False)
    for each in (shot(0), Shot(1, 1e9, None, broken), shot(2)):
        handoff.put(each)
    handoff.end()
    assert script.run(handoff) == [0, 2]
    assert script.counts.failed == 1


@pytest.mark.parametrize("answer", [REFUSED, httpx.ReadTimeout("slow"), BUSY, problem(502, "x"), problem(504, "x")])
def test_a_recording_waits_for_a_server_that_is_away(answer: httpx.Response | Exception) -> None:
    """Each frame is sent until it is answered; one loss is counted, however long."""
    script = Script(good(), *[answer] * 20)
    assert script.run(3) == [0, 1, 2]
    assert script.asked[1:22] == ["cam:1;frame=1"] * 21
    assert script.counts.server_losses == 1


def test_a_camera_sends_what_is_new_to_a_server_that_comes_back() -> None:
    """The frame under way is given up for a newer one."""
    script, handoff = Script(*[REFUSED] * 3), Handoff[Shot](1, latest=True)
    handoff.put(shot(0))

    def newer() -> None:
        if len(script.asked) == 2:
            handoff.put(shot(7))
            handoff.end()

    script.before = newer
    assert script.run(handoff, drop_late=True) == [7]
    assert script.asked == ["cam:1;frame=0;late=drop"] * 2 + ["cam:1;frame=7;late=drop"] * 2
    assert script.counts.late == 1


@pytest.mark.parametrize("answer", [UNKNOWN, problem(401, "unauthorized"), problem(403, "forbidden")])
def test_a_server_that_starts_again_may_refuse_for_a_while(answer: httpx.Response) -> None:
    """As long as it has not read all its functions and keys; then it is the end."""
    script = Script(good(), *[answer] * 4)
    assert script.run(2, wait_s=5.0) == [0, 1]
    script = Script(good(), *[answer] * 4, *[REFUSED] * 50, *[answer] * 4)
    assert script.run(2, wait_s=5.0) == [0, 1]
    script = Script(good(), *[answer] * 50)
    with pytest.raises(SettingsError, match="Function `f`"):
        script.run(2, wait_s=5.0)


@pytest.mark.parametrize("answer", [UNKNOWN, problem(401, "unauthorized"), problem(415, "unsupported-media-type")])
def test_a_server_that_refuses_the_first_frame_is_the_end(answer: httpx.Response) -> None:
    """At once."""
    script = Script(answer)
    with pytest.raises(SettingsError, match="Function `f`"):
        script.run(2)
    assert len(script.asked) == 1


def test_a_frame_too_large_for_the_server_is_the_end_at_any_time() -> None:
    """The next ones would be as large."""
    script = Script(good(), problem(413, "too-large"))
    with pytest.raises(SettingsError, match="too-large"):
        script.run(3)
