"""Where results go: lines, a web hook, a broker, a video; each against a real receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from cameras import quadrant, until
from receivers import Broker, Hook

from likewise.errors import LikewiseError, SettingsError
from likewise_client import Answer
from likewise_watch.found import Found, Frame
from likewise_watch.sinks.drawing import caption, draw
from likewise_watch.sinks.lines import Lines
from likewise_watch.sinks.mqtt import Mqtt
from likewise_watch.sinks.recording import Recording
from likewise_watch.sinks.webhook import Webhook

RESULT = {"label": "north-west", "confidence": 0.75}


def found(number: int = 0, result: Any = RESULT, stream: str = "cam", position_s: float | None = None) -> Found:
    body = json.dumps(result).encode()
    answer = Answer("hit", result, body, "application/json")
    return Found(stream, Frame(number, 1e9 + number / 10, position_s, quadrant(number % 4, number)), answer, 0.0125)


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.die()


def test_a_result_is_one_line_of_json() -> None:
    """With the function's own JSON in it, byte for byte; where in a recording, where it is one."""
    assert json.loads(found(7).document()) == {
        "stream": "cam",
        "frame": 7,
        "time": "2001-09-09T01:46:40.700Z",
        "outcome": "hit",
        "detail": None,
        "latency_ms": 12.5,
        "result": RESULT,
    }
    assert json.loads(found(7, position_s=0.7).document())["position_s"] == 0.7
    assert b"\n" not in found(7, "a\nb").document()


def test_a_result_that_is_no_json_travels_in_base64_and_a_failure_says_why() -> None:
    """Nothing is left out."""
    frame = found().frame
    told = json.loads(Found("cam", frame, Answer("miss", b"\x00", b"\x00", "image/png"), 0.1).document())
    assert (told["result_base64"], told["media_type"]) == ("AA==", "image/png")
    assert json.loads(Found("cam", frame, None, 0.1, "it broke").document())["error"] == "it broke"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"a":\r\n 1}', {"result": {"a": 1}}),
        (b'"a\\nb"', {"result": "a\nb"}),
        (b"NaN", {"result_base64": "TmFO", "media_type": "application/json"}),
    ],
)
def test_whatever_json_a_device_inserted_is_one_line(body: bytes, told: dict[str, Any]) -> None:
    """Line breaks go; what JSON does not have travels in base64."""
    line = Found("cam", found().frame, Answer("hit", None, body, "application/json"), 0.1).document()
    assert b"\n" not in line
    assert b"\r" not in line
    assert told.items() <= json.loads(line).items()


def test_lines_are_appended_at_once(tmp_path: Path) -> None:
    """What an earlier run wrote stays; each line is there before the next."""
    path = tmp_path / "out.jsonl"
    for run in range(2):
        lines = Lines(path)
        for number in range(3):
            lines.put(found(number))
            assert len(path.read_text().splitlines()) == 3 * run + number + 1
        lines.close()
        lines.put(found(9))
    assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == [0, 1, 2, 0, 1, 2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_error_that_names_the_file() -> None:
    """The first line that does not fit ends it."""
    lines = Lines(Path("/dev/full"))
    with pytest.raises(LikewiseError, match="/dev/full"):
        lines.put(found())
    lines.put(found())
    lines.close()


def test_a_web_hook_gets_each_result_in_order(hook: Hook) -> None:
    """As JSON, with the credentials of its URL as a header."""
    sink = Webhook(hook.url, 100, 1 << 20, 60)
    for number in range(20):
        sink.put(found(number))
    sink.close()
    assert [each["frame"] for each in hook.taken] == list(range(20))
    assert hook.authorization is not None
    assert hook.authorization.startswith("Basic ")
    assert sink.lost == 0


def test_a_web_hook_that_fails_is_tried_again() -> None:
    """Server errors and too many requests pass; the order stays."""
    hook = Hook(503, 429, 500)
    sink = Webhook(hook.url, 100, 1 << 20, 60, drain_s=60)
    for number in range(3):
        sink.put(found(number))
    sink.close()
    hook.close()
    assert [each["frame"] for each in hook.taken] == [0, 1, 2]
    assert (hook.asked, sink.lost) == (6, 0)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404])
def test_a_web_hook_that_refuses_or_leads_elsewhere_is_not_followed(hook: Hook, status: int) -> None:
    """The result is lost, and counted; nobody else gets it."""
    elsewhere = Hook(status, location=hook.url)
    sink = Webhook(elsewhere.url, 100, 1 << 20, 60, drain_s=60)
    sink.put(found(0))
    sink.put(found(1))
    sink.close()
    elsewhere.close()
    assert hook.asked == 0
    assert [each["frame"] for each in elsewhere.taken] == [1]
    assert sink.lost == 1


def test_a_web_hook_that_hangs_holds_nobody_up_and_no_more_than_its_queue(hook: Hook) -> None:
    """Old results give way to new ones, by number and by bytes."""
    hook.go_on.clear()
    size = len(found(1000).document())
    sinks = [Webhook(hook.url, 3, 1 << 20, 60, drain_s=0.01), Webhook(hook.url, 100, 3 * size, 60, drain_s=0.01)]
    for sink in sinks:
        sink.put(found(1000))
    until(lambda: hook.asked == 2)  # on their way; all others wait
    for number in range(1001, 1101):
        for sink in sinks:
            sink.put(found(number))
    assert [each.lost for each in sinks] == [97, 97]
    for sink in sinks:
        sink.close()
        assert sink.lost >= 100


def test_a_result_larger_than_the_queue_is_lost_alone(hook: Hook) -> None:
    """And does not push the others out."""
    sink = Webhook(hook.url, 100, 1000, 60, drain_s=60)
    sink.put(found(0))
    sink.put(found(1, {"label": "x" * 2000}))
    sink.put(found(2))
    sink.close()
    assert [each["frame"] for each in hook.taken] == [0, 2]
    assert sink.lost == 1


@pytest.mark.parametrize("url", ["", "hook", "ftp://h/x", "http://", "http://[", "mqtt://h/t"])
def test_what_is_no_web_hook_is_refused(url: str) -> None:
    """Before anything is read."""
    with pytest.raises(SettingsError, match="--webhook"):
        Webhook(url, 1, 1, 1)


def test_a_broker_gets_each_result_under_its_topic(broker: Broker) -> None:
    """In order; the topic may name the stream; the login is that of the URL."""
    sink = Mqtt(f"mqtt://me:ses%40me@127.0.0.1:{broker.port}/yard/{{stream}}/seen", 1000, 1 << 20, 60, drain_s=60)
    for number in range(50):
        sink.put(found(number, stream=f"cam-{number % 2}"))
    sink.close()
    assert [each["frame"] for _, each in broker.taken] == list(range(50))
    assert {topic for topic, _ in broker.taken} == {"yard/cam-0/seen", "yard/cam-1/seen"}
    assert b"ses@me" in broker.logins[0]
    assert sink.lost == 0


def test_results_wait_for_a_broker_that_comes_back(broker: Broker) -> None:
    """What was published while it was away arrives."""
    sink = Mqtt(f"mqtt://127.0.0.1:{broker.port}/t", 1000, 1 << 20, 60, drain_s=60)
    sink.put(found(0))
    until(lambda: broker.taken)
    broker.die()
    until(lambda: not sink._client.is_connected())
    for number in range(1, 10):
        sink.put(found(number))
    broker.come_back()
    until(lambda: {each["frame"] for _, each in broker.taken} == set(range(10)))
    sink.close()
    assert sink.lost == 0


def test_what_waits_for_a_broker_is_bounded(broker: Broker) -> None:
    """By number and by bytes; the rest is counted."""
    size = len(found(1000).document())
    sinks = [
        Mqtt(f"mqtt://127.0.0.1:{broker.port}/t", *limits, 60, drain_s=0.01)
        for limits in ((5, 1 << 20), (99, 5 * size))
    ]
    broker.die()
    for sink in sinks:
        until(lambda sink=sink: not sink._client.is_connected())
        for number in range(1000, 1020):
            sink.put(found(number))
        assert sink.lost == 15
        sink.close()
        assert sink.lost == 20


def test_a_broker_that_is_not_there_or_lets_nobody_in_is_an_error_without_the_password() -> None:
    """At the start; later it would be waited for."""
    closed, unfriendly = Broker(), Broker(refusal=5)
    closed.die()
    for broker in (closed, unfriendly):
        with pytest.raises(SettingsError, match=r"--mqtt mqtt://127\.0\.0\.1:\d+/t: ") as refused:
            Mqtt(f"mqtt://me:sesame@127.0.0.1:{broker.port}/t", 1, 1, 60)
        assert "sesame" not in str(refused.value)
    unfriendly.die()


@pytest.mark.parametrize(
    "url", ["", "mqtt://", "mqtt://h", "mqtt://h/", "mqtt://h/a/#", "mqtt://h/+", "http://h/t", "mqtt://h:x/t"]
)
def test_what_is_no_broker_is_refused(url: str) -> None:
    """A topic to publish under has no wildcards."""
    with pytest.raises(SettingsError, match="--mqtt takes"):
        Mqtt(url, 1, 1, 1)


BOXES = {"boxes": [{"box": [0.1, 0.2, 0.9, 0.8], "score": 0.9, "label": "car"}]}


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (RESULT, "north-west 0.75"),
        (BOXES, "1 found"),
        ({"labels": ["a", "b"], "scores": {}}, "a, b"),
        ({"text": "AB 12", "confidence": 0.5}, "AB 12 0.50"),
        ({"outputs": {}}, ""),
        ([1], ""),
        (None, ""),
        ("ü", ""),
    ],
)
def test_every_kind_of_result_is_drawn(result: Any, says: str) -> None:
    """On a copy; what has no picture of its own leaves the outcome."""
    one = found(0, result)
    before = one.frame.pixels.copy()
    picture = draw(one)
    assert caption(result) == says
    assert picture.shape == before.shape
    assert (picture != before).any()
    assert np.array_equal(one.frame.pixels, before)


def test_a_box_is_drawn_where_it_is() -> None:
    """Its edges differ from the frame, its inside does not."""
    one = found(0, {"boxes": [{"box": [0.25, 0.25, 0.75, 0.75], "score": 1, "label": ""}]})
    changed = (draw(one) != one.frame.pixels).any(axis=2)
    assert changed[12, 20:44].all()
    assert changed[16:30, 16].all()
    assert not changed[26:32, 24:40].any()


@pytest.mark.parametrize(
    "boxes",
    [
        "many",
        [1, None, "x", {}, {"box": 3}, {"box": [1, 2]}, {"box": [None] * 4}, {"box": ["nan", 0, 1, 1]}],
        [{"box": [1e300, -1e300, float("inf"), 0]}, {"box": [-5, -5, 9, 9], "label": ["é"], "score": "high"}],
        [{"box": [0.9, 0.9, 0.1, 0.1], "label": "\0\n", "score": 1}] * 500,
    ],
)
def test_boxes_that_are_none_do_no_harm(boxes: Any) -> None:
    """A function may answer anything."""
    draw(found(0, {"boxes": boxes}))


def test_a_video_has_a_picture_for_each_result(tmp_path: Path) -> None:
    """At the times of the recording, so that it plays as long; one file for each stream."""
    sink = Recording(tmp_path / "seen.mp4", ("a", "b/c:1"))
    for number in range(10):
        sink.put(found(number, stream="a", position_s=number / 5))
        sink.put(found(number, stream="b/c:1"))
    sink.close()
    sink.put(found(0, stream="a"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["seen-a.mp4", "seen-b-c-1.mp4"]
    for name, seconds in (("seen-a.mp4", 1.8), ("seen-b-c-1.mp4", 0.9)):
        with av.open(str(tmp_path / name)) as container:
            frames = list(container.decode(video=0))
        assert len(frames) == 10
        assert frames[-1].time == pytest.approx(seconds, abs=0.01)
        assert frames[0].to_ndarray(format="rgb24")[:20, :28].mean() > 150


def test_a_video_goes_on_where_the_size_changes_and_is_odd(tmp_path: Path) -> None:
    """A camera may come back with another picture; encoders take even sizes alone."""
    sink = Recording(tmp_path / "seen.mp4", ("cam",))
    for number, shape in enumerate([(47, 63), (47, 63), (90, 30), (1, 1)]):
        one = found(number)
        pixels = np.zeros((*shape, 3), np.uint8)
        sink.put(Found("cam", Frame(number, 1e9, None, pixels), one.answer, 0.1))
    sink.close()
    with av.open(str(tmp_path / "seen.mp4")) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes == [(62, 46)] * 4


@pytest.mark.parametrize("name", ["missing/seen.mp4", "seen.unknown"])
def test_a_video_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    """Before anything is read."""
    with pytest.raises(SettingsError, match="--save"):
        Recording(tmp_path / name, ("cam",))
