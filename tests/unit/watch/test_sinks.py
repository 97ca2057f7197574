"""Where results go: lines, a web hook, a broker, a video; each against a real receiver."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cameras import until
from receivers import Broker, Hook
from watch_results import RESULT, found

from likewise.errors import LikewiseError, SettingsError
from likewise_client import Answer
from likewise_watch.found import Found
from likewise_watch.sinks.lines import Lines
from likewise_watch.sinks.mqtt import Mqtt
from likewise_watch.sinks.webhook import Webhook


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


@pytest.mark.parametrize("count", [1, 3])
def test_a_result_under_way_at_the_end_is_lost_as_well(
    hook: Hook, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    """To a web hook that never answers, or only later; the operator is told why."""
    hook.go_on.clear()
    sink = Webhook(hook.url, 1000, 1 << 20, 60, drain_s=0.05)
    for number in range(count):
        sink.put(found(number))
    until(lambda: hook.asked)
    sink.close()
    assert sink.lost == count
    assert [each.getMessage().partition(": a result ")[2] for each in caplog.records if "web hook" in each.message] == [
        "was given up at the end: no answer came in time."
    ]


def test_a_recording_waits_for_a_web_hook_that_is_slow_but_not_for_one_that_fails(hook: Hook) -> None:
    """No result of it is lost to a full queue while the hook takes any."""
    failing = Hook(*[500] * 1000)
    sinks = [Webhook(hook.url, 2, 1 << 20, 60, drain_s=60), Webhook(failing.url, 2, 1 << 20, 60, drain_s=0.01)]
    for number in range(50):
        for sink in sinks:
            sink.put(found(number, position_s=number / 10))
    for sink in sinks:
        sink.close()
    failing.close()
    assert [each["frame"] for each in hook.taken] == list(range(50))
    assert [each.lost for each in sinks] == [0, 50]


def test_a_recording_waits_for_a_broker_that_is_slow(broker: Broker) -> None:
    """Here the queue holds one result."""
    sink = Mqtt(f"mqtt://127.0.0.1:{broker.port}/t", 1, 1 << 20, 60, drain_s=60)
    for number in range(50):
        sink.put(found(number, position_s=number / 10))
    sink.close()
    assert [each["frame"] for _, each in broker.taken] == list(range(50))
    assert sink.lost == 0


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


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"\x30\xff\xff\xff\x7f" + bytes(1000), id="a message of 256 MB"),
        pytest.param(b"\x34\x06\x00\x01t\x00\x01x", id="a message that is kept until it is released"),
        pytest.param(b"\x32\x06\x00\x01t\x00\x01x", id="a message to be acknowledged"),
        pytest.param(b"\xc0\x00", id="a ping"),
    ],
)
def test_a_broker_that_sends_what_nobody_asked_for_is_left(packet: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it is kept, nor answered; the operator is told once, and results wait as for one that is away."""
    left = threading.Event()

    def talk(listener: socket.socket) -> None:
        for _ in range(2):
            with listener.accept()[0] as link:
                link.recv(4096)
                link.sendall(b"\x20\x02\x00\x00" + packet)
                with contextlib.suppress(ConnectionResetError):
                    while link.recv(4096):
                        pass
        left.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=talk, args=(listener,), daemon=True).start()
        sink = Mqtt(f"mqtt://127.0.0.1:{listener.getsockname()[1]}/t", 10, 1 << 20, 60, drain_s=0.01)
        assert left.wait(20)
        sink.put(found(0))
        sink.close()
    assert sink.lost == 1
    told = [each.getMessage() for each in caplog.records if "broker is away" in each.getMessage()]
    assert told == ["the MQTT broker is away (it sends what nobody asked for); it is tried again"]


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
