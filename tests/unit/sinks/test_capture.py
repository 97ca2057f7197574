"""The sink hands requests to its thread, within a bound, and keeps no more than it is told to."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from likewise.captures import Capture, CaptureWriter, Recorded
from likewise.events import Answered
from likewise.requests import Asked, Outcome
from likewise.sinks.capture import CaptureSink
from likewise.types import Result, Session

KEY = np.array([0.6, 0.8], np.float32)
RESULT = Result(b'{"label":"a"}')


def event(
    device: str = "cam-1", account: str = "", body: bytes = b"picture", outcome: Outcome | None = Outcome.HIT
) -> Answered:
    asked = Asked("gray", KEY, Session(device=device, account=account))
    asked.body, asked.media_type = body, "image/png"
    return Answered("f@1", Outcome.HIT, "confident", total_s=0.25, account=account, asked=asked, result=RESULT)


def recorded(
    path: Path, events: list[Answered], *, inputs: bool = True, pending: int = 1 << 20
) -> tuple[list[Recorded], int]:
    sink = CaptureSink(CaptureWriter(path, 1 << 20), inputs=inputs, pending_bytes=pending, clock=lambda: 100.0)
    for each in events:
        sink(each)
    with sink.running():
        pass
    with Capture(path) as capture:
        return list(capture), capture.lost


def test_an_input_is_kept_as_it_was_sent(tmp_path: Path) -> None:
    """With who sent it, when it came, and what was answered."""
    (found,), _ = recorded(tmp_path / "c", [event()])
    assert (found.function, found.device, found.outcome, found.at, found.took_s) == ("f@1", "cam-1", "hit", 99.75, 0.25)
    assert (found.media_type, found.body, found.key, found.result) == ("image/png", b"picture", None, RESULT)


def test_a_lookup_is_kept_by_its_key(tmp_path: Path) -> None:
    """There is no input to keep."""
    (found,), _ = recorded(tmp_path / "c", [event(body=b"")])
    assert found.key is not None
    assert (found.key_type, found.key.tolist()) == ("gray", KEY.tolist())


def test_keys_alone_name_nobody_and_hold_no_input(tmp_path: Path) -> None:
    """The same device has the same pseudonym, in this process alone; another account's is another."""
    events = [event(body=b"secret picture"), event(), event("cam-2"), event(account="other")]
    found, _ = recorded(tmp_path / "c", events, inputs=False)
    first, again, other, foreign = (each.device for each in found)
    assert first == again
    assert len({first, other, foreign}) == 3
    assert all(each.body == b"" and each.media_type == "" and each.key is not None for each in found)
    content = (tmp_path / "c").read_bytes()
    assert b"cam-1" not in content
    assert b"secret" not in content
    (later,), _ = recorded(tmp_path / "d", [event()], inputs=False)
    assert later.device != first


def test_what_is_to_leave_no_trace_leaves_none(tmp_path: Path) -> None:
    """Such events carry no request."""
    assert recorded(tmp_path / "c", [Answered("f@1", Outcome.BYPASS, "no-store")]) == ([], 0)


def test_refusals_are_kept_by_their_reason(tmp_path: Path) -> None:
    """Without the input, which may be what was wrong."""
    (found,), _ = recorded(tmp_path / "c", [Answered("f@1", None, "undecodable-input")])
    assert (found.outcome, found.reason, found.body) == ("", "undecodable-input", b"")


def test_more_than_may_wait_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the log and in the capture itself."""
    with caplog.at_level(logging.WARNING):
        found, lost = recorded(tmp_path / "c", [event(body=b"x" * 30_000) for _ in range(5)], pending=1 << 16)
    assert (len(found), lost) == (2, 3)
    assert "3 requests" in caplog.text


def test_an_account_that_floods_leaves_room_for_others(tmp_path: Path) -> None:
    """However much it sends between two writes; and after the next one it is recorded again."""
    sink = CaptureSink(CaptureWriter(tmp_path / "c", 1 << 24), inputs=True, pending_bytes=1 << 20)
    flood = [event("loud", "loud", b"x" * 10_000) for _ in range(500)]
    for each in [*flood, *(event("quiet", "quiet", b"y" * 10_000) for _ in range(5))]:
        sink(each)
    sink._write()
    for each in flood[:3]:
        sink(each)
    with sink.running():
        pass
    with Capture(tmp_path / "c") as capture:
        devices = [each.device for each in capture]
    assert devices.count("quiet") == 5
    assert 70 <= devices.count("loud") - 3 < 90
    assert devices[-3:] == ["loud"] * 3
    assert sink.lost == 500 + 3 - devices.count("loud")


class Full(CaptureWriter):
    """A capture on a disk with room for nothing, until `full` is unset."""

    full = True

    def write(self, frames: list[bytes]) -> None:
        if frames and self.full:
            raise OSError(28, "No space left on device")
        super().write(frames)


def test_a_full_disk_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once a minute at most; what was not written is counted, in the capture too once there is room."""
    writer = Full(tmp_path / "c", 1 << 20)
    sink = CaptureSink(writer, inputs=True, pending_bytes=1 << 20, clock=lambda: 100.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            sink(event())
            sink._write()
            sink._write()
        assert sink.lost == 50
        (line,) = caplog.messages
        assert "No space left" in line
        writer.full = False
        sink(event())
        with sink.running():
            pass
    assert len(caplog.messages) == 2
    with Capture(tmp_path / "c") as capture:
        assert (len(list(capture)), capture.lost, sink.lost) == (1, 50, 50)
