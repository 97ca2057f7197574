"""Captures are bounded, survive crashes, and are read whatever was done to them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.captures import Capture, CaptureWriter, Recorded, capture_segments
from likewise.captures.files import is_capture, worker_path
from likewise.captures.record import HEAD, decode, encode, encode_lost
from likewise.errors import InvalidValue, SettingsError
from likewise.types import Result


def request(at: float, body: bytes = b"input") -> Recorded:
    return Recorded(at, 0.01, "f@1", "cam-1", "miss", "below bar", "image/png", body, result=Result(b'{"label":"a"}'))


def write(path: Path, records: list[Recorded], max_bytes: int = 1 << 20) -> None:
    writer = CaptureWriter(path, max_bytes)
    writer.write([encode(each) for each in records])
    writer.close()


def read(path: Path) -> tuple[list[Recorded], int]:
    with Capture(path) as capture:
        return list(capture), capture.lost


text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(
    at=st.floats(0, 4e9), took=st.floats(0, 1e6), texts=st.tuples(text, text, text, text, text, text),
    key=st.none() | st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=9),
    body=st.binary(max_size=300), result=st.none() | st.tuples(st.binary(max_size=300), text),
)  # fmt: skip
def test_a_frame_holds_all_of_a_request(at, took, texts, body, key, result) -> None:
    """What is written comes back, whatever it is."""
    function, device, outcome, reason, media_type, key_type = texts
    vector = None if key is None else np.array(key, np.float32)
    given = Recorded(
        at, took, function, device, outcome, reason, media_type, body, key_type, vector, result and Result(*result)
    )
    frame = encode(given)
    found = decode(frame, 0, len(frame) - HEAD.size)
    assert isinstance(found, Recorded)
    if vector is not None:
        assert found.key is not None
        assert found.key.tobytes() == vector.tobytes()
    for name in Recorded.__slots__:
        if name != "key":
            assert getattr(found, name) == getattr(given, name)


def test_requests_come_back_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    """They are written as they are answered; workers have files of their own."""
    path = tmp_path / "c.capture"
    write(worker_path(path, 0), [request(3.0), request(1.0)])
    write(worker_path(path, 1), [request(2.0)])
    found, lost = read(path)
    assert [each.at for each in found] == [1.0, 2.0, 3.0]
    assert lost == 0
    assert oct(worker_path(path, 0).stat().st_mode & 0o777) == "0o600"


def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    """All files together stay within the bound, and what is kept is the newest."""
    path, size = tmp_path / "c.capture", len(encode(request(0.0, b"x" * 1000)))
    write(path, [request(float(at), b"x" * 1000) for at in range(100)], max_bytes=40 * size)
    assert sum(each.stat().st_size for each in capture_segments(path)) <= 40 * size
    found, _ = read(path)
    assert [each.at for each in found] == [float(at) for at in range(100 - len(found), 100)]
    assert 30 <= len(found) <= 40


def test_a_torn_tail_is_cut_off_and_written_on_behind(tmp_path: Path) -> None:
    """As a crash leaves it; the whole frames before it stay."""
    path = tmp_path / "c.capture"
    write(path, [request(1.0), request(2.0)])
    path.write_bytes(path.read_bytes()[:-3])
    assert [each.at for each in read(path)[0]] == [1.0]
    write(path, [request(3.0)])
    assert [each.at for each in read(path)[0]] == [1.0, 3.0]


@pytest.mark.parametrize("place", [5, 9, 14, 20, 60])
def test_damage_costs_one_request(tmp_path: Path, place: int) -> None:
    """What comes behind is found again, and the gap is counted."""
    path = tmp_path / "c.capture"
    write(path, [request(float(at)) for at in range(4)])
    content = bytearray(path.read_bytes())
    content[len(encode(request(0.0))) + place] ^= 0xFF
    path.write_bytes(content)
    found, lost = read(path)
    assert [each.at for each in found] == [0.0, 2.0, 3.0]
    assert lost == 1


def test_a_file_that_is_cut_off_lacks_a_request(tmp_path: Path) -> None:
    """As one of which a copy was broken off does: it is said."""
    path = tmp_path / "c.capture"
    write(path, [request(float(at)) for at in range(4)])
    path.write_bytes(path.read_bytes()[:-1])
    found, lost = read(path)
    assert [each.at for each in found] == [0.0, 1.0, 2.0]
    assert lost == 1


def test_what_is_no_file_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    """A folder is there."""
    with pytest.raises(InvalidValue, match="is no file"):
        read(tmp_path)
    with pytest.raises(InvalidValue, match="is not there"):
        read(tmp_path / "c.capture")


@given(content=st.binary(max_size=400), cut=st.integers(0, 400))
def test_hostile_bytes_raise_nothing_but_what_is_said(tmp_path_factory, content: bytes, cut: int) -> None:
    """Noise after a magic, between frames, instead of them."""
    path = tmp_path_factory.mktemp("c") / "c.capture"
    whole = encode(request(1.0))
    path.write_bytes(whole[:cut] + b"LC" + content + whole)
    try:
        found, _ = read(path)
    except InvalidValue:
        return
    assert found[-1].at == 1.0


def test_many_false_starts_end_soon(tmp_path: Path) -> None:
    """Each claims all that is left, so checking every one would take the square of the file."""
    path = tmp_path / "c.capture"
    path.write_bytes(HEAD.pack(b"LC", 1, 1, 500_000, 0) * 60_000)
    assert read(path)[0] == []


def test_lost_requests_are_told(tmp_path: Path) -> None:
    """The server counted them."""
    path = tmp_path / "c.capture"
    writer = CaptureWriter(path, 1 << 20)
    writer.write([encode(request(1.0)), encode_lost(2.0, 7)])
    writer.close()
    assert read(path)[1] == 7


TORN = """
import resource, signal, sys
from pathlib import Path
from likewise.captures.files import CaptureWriter

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = CaptureWriter(Path(sys.argv[1]), 1 << 20)
writer.write([sys.stdin.buffer.read()])
resource.setrlimit(resource.RLIMIT_FSIZE, (Path(sys.argv[1]).stat().st_size + 5, resource.RLIM_INFINITY))
try:
    writer.write([b"a frame that does not fit"])
except OSError as error:
    print(error.errno == 28, Path(sys.argv[1]).stat().st_size)
"""


def test_a_frame_that_the_disk_takes_a_part_of_is_not_there(tmp_path: Path) -> None:
    """The system may write what fits and not say that it failed."""
    path, frame = tmp_path / "c.capture", encode(request(1.0))
    done = subprocess.run([sys.executable, "-c", TORN, str(path)], input=frame, capture_output=True, timeout=600)
    assert done.stdout.decode() == f"True {len(frame)}\n", done.stderr
    assert len(read(path)[0]) == 1


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    """With its name and the remedy, by whoever reads and by whoever would write over it."""
    path = tmp_path / "notes.txt"
    path.write_text("dear diary")
    assert not is_capture(path)
    with pytest.raises(InvalidValue, match=r"notes\.txt is no capture"):
        read(path)
    with pytest.raises(SettingsError, match=r"notes\.txt is no capture"):
        CaptureWriter(path, 1 << 20)
    assert path.read_text() == "dear diary"
    with pytest.raises(InvalidValue, match="is not there"):
        read(tmp_path / "nothing")


def test_a_frame_of_a_later_version_asks_for_an_upgrade(tmp_path: Path) -> None:
    """Rather than to be skipped as damage."""
    from likewise.captures import record

    path = tmp_path / "c.capture"
    before, record.VERSION = record.VERSION, 2
    try:
        path.write_bytes(encode(request(1.0)))
    finally:
        record.VERSION = before
    with pytest.raises(InvalidValue, match="version 2"):
        read(path)


def test_two_servers_do_not_share_a_file(tmp_path: Path) -> None:
    """The second one says so at its start."""
    path = tmp_path / "c.capture"
    first = CaptureWriter(path, 1 << 20)
    with pytest.raises(SettingsError, match="another process"):
        CaptureWriter(path, 1 << 20)
    first.close()
    CaptureWriter(path, 1 << 20).close()
