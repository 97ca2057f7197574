"""Folders and captures as streams."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from likewise.captures import CaptureWriter, Recorded
from likewise.captures.record import encode
from likewise.errors import InvalidValue
from likewise.workloads.inputs import Inputs, time_stamp

STARTS = {".png": b"\x89PNG\r\n\x1a\n", ".jpg": b"\xff\xd8\xff", ".wav": b"RIFF\x24\0\0\0WAVE"}


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        start = next((start for ending, start in STARTS.items() if name.lower().endswith(ending)), b"")
        path.write_bytes(start + name.encode())


def played(path: Path, **options: object) -> list[tuple[str, str]]:
    with Inputs(path, "f", "image", **options) as inputs:  # type: ignore[arg-type]
        return [(each.device, name_in(each.body)) for each in inputs]


def name_in(body: bytes) -> str:
    for start in STARTS.values():
        body = body.removeprefix(start)
    return body.decode()


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        pytest.param("20250131-235959.png", 1738367999.0, id="compact"),
        pytest.param("2025-01-31T23:59:59.250.png", 1738367999.25, id="ISO"),
        pytest.param("IMG_20250131_235959123.jpg", 1738367999.123, id="phone"),
        pytest.param("cam3_1738367999.png", 1738367999.0, id="epoch"),
        pytest.param("1738367999250.png", 1738367999.25, id="milliseconds"),
        pytest.param("frame-1738367999.5.png", 1738367999.5, id="fraction"),
        pytest.param("20251331-235959.png", None, id="thirteenth month"),
        pytest.param("00012_00001.ppm", None, id="numbers"),
        pytest.param("frame12.png", None, id="none"),
    ],
)
def test_time_stamps_are_read_from_names(name: str, seconds: float | None) -> None:
    """Where they are dates that can be."""
    assert time_stamp(name) == (None if seconds is None else pytest.approx(seconds, abs=1e-3))


def test_files_play_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Frame 2 before frame 10; hidden files and others are left out, and said."""
    fill(tmp_path, "frame10.png", "frame2.png", "frame1.PNG", ".hidden.png", "notes.txt")
    assert [body for _, body in played(tmp_path)] == ["frame1.PNG", "frame2.png", "frame10.png"]
    with Inputs(tmp_path, "f", "image") as inputs:
        assert any("1 files of other kinds" in note for note in inputs.notes)


def test_what_no_server_takes_is_not_read(tmp_path: Path) -> None:
    """A file of gigabytes is left out by its size, and said; alone it is nothing to play."""
    fill(tmp_path / "in", "a.png", "huge.png")
    os.truncate(tmp_path / "in" / "huge.png", 1 << 33)
    assert [body for _, body in played(tmp_path / "in")] == ["a.png"]
    with Inputs(tmp_path / "in", "f", "image") as inputs:
        assert any("1 files have over 16777216 bytes and are left out; the first: huge.png" in n for n in inputs.notes)
        assert inputs.name(0) == "a.png"
    (tmp_path / "in" / "a.png").unlink()
    with pytest.raises(InvalidValue, match="nothing to play"):
        played(tmp_path / "in")


def test_folders_in_folders_end_somewhere(tmp_path: Path) -> None:
    """Before Python would recurse too deep, and paths get too long."""
    fill(tmp_path, "a.png")
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(200):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    with pytest.raises(InvalidValue, match="has folders in over 64 folders; name one further in"):
        played(tmp_path)


def test_sub_folders_send_side_by_side(tmp_path: Path) -> None:
    """Each in its own order, all of them all the time."""
    fill(tmp_path, "a/1.png", "a/2.png", "a/3.png", "a/4.png", "b/1.png", "b/2.png")
    found = played(tmp_path)
    assert [body for device, body in found if device == "a"] == ["a/1.png", "a/2.png", "a/3.png", "a/4.png"]
    assert [device for device, _ in found] == ["a", "b", "a", "a", "b", "a"]


def test_time_stamps_order_all_devices(tmp_path: Path) -> None:
    """Unless names were asked for."""
    fill(tmp_path, "b/1738367990.png", "a/1738367999.png", "a/1738367995.png")
    assert [body[2:12] for _, body in played(tmp_path)] == ["1738367990", "1738367995", "1738367999"]
    assert [device for device, _ in played(tmp_path, order="name")] == ["a", "b", "a"]


def test_a_name_without_a_time_stamp_is_named(tmp_path: Path) -> None:
    """Where the order of time was asked for."""
    fill(tmp_path, "1738367990.png", "other.png")
    with pytest.raises(InvalidValue, match=r"other\.png has no time stamp"):
        played(tmp_path, order="time")


def test_a_folder_without_fitting_files_says_what_fits(tmp_path: Path) -> None:
    """By the function's kind of input."""
    fill(tmp_path, "sound.wav")
    with pytest.raises(InvalidValue, match=r"\(\.wav\), and none is an input of kind `image`: PNG"):
        played(tmp_path)


def test_a_file_of_any_name_is_bytes(tmp_path: Path) -> None:
    """Whatever its ending, and without one."""
    fill(tmp_path, "a.exe", "b", "c.png")
    with Inputs(tmp_path, "f", "bytes") as inputs:
        assert [name_in(each.body) for each in inputs] == ["a.exe", "b", "c.png"]
        assert {each.media_type for each in inputs} == {"application/octet-stream"}


def test_files_are_told_by_their_content(tmp_path: Path) -> None:
    """A picture without an ending, or with a wrong one, is the picture that it is; a text called one is none."""
    (tmp_path / "1").write_bytes(STARTS[".jpg"] + b"1")
    (tmp_path / "2.wav").write_bytes(STARTS[".png"] + b"2.wav")
    (tmp_path / "3.png").write_bytes(b"hello")
    assert [body for _, body in played(tmp_path)] == ["1", "2.wav"]
    with Inputs(tmp_path, "f", "image") as inputs:
        assert [each.media_type for each in inputs] == ["image/jpeg", "image/png"]


def test_a_capture_plays_the_functions_answered_requests(tmp_path: Path) -> None:
    """What was refused, and what others were asked, is left out; a wrong name says what is there."""
    path = tmp_path / "c"
    writer = CaptureWriter(path, 1 << 20)
    for at, (function, outcome) in enumerate([("f@1", "hit"), ("g@1", "miss"), ("f@1", ""), ("f@2", "miss")]):
        writer.write(
            [encode(Recorded(float(at), 0.0, function, "d", outcome, media_type="image/png", body=b"%d" % at))]
        )
    writer.close()
    assert [body for _, body in played(path)] == ["0", "3"]
    with (
        pytest.raises(InvalidValue, match=r"no answered request for `h`; it has `f` \(2\), `g` \(1\)"),
        Inputs(path, "h", "image"),
    ):
        pass


@pytest.mark.parametrize("name", ["some.txt", "missing"])
def test_what_is_neither_is_refused(tmp_path: Path, name: str) -> None:
    """A text, and nothing at all."""
    (tmp_path / "some.txt").write_text("hello")
    with pytest.raises(InvalidValue, match=name):
        played(tmp_path / name)
