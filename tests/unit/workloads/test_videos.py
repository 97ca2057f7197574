"""Videos as frames, and cameras that play them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from videos import crossing, write_pictures, write_video

from likewise.errors import InvalidValue
from likewise.workloads.roads import Roads
from likewise.workloads.videos import find_videos, read_video, to_and_fro


def test_a_file_is_read_in_order_and_in_rgb(tmp_path: Path) -> None:
    """Nearly as written: the format loses a little."""
    frames = crossing(8)
    frames[0][:, :, 2] = 220  # blue
    found = list(read_video(write_video(tmp_path / "a.avi", frames)))
    assert len(found) == 8
    assert all(np.abs(a.astype(int) - b).mean() < 6 for a, b in zip(found, frames, strict=True))


def test_a_folder_is_read_by_number(tmp_path: Path) -> None:
    """Frame 2 comes before frame 10, and what is no picture is left out."""
    frames = [np.full((8, 8, 3), at, np.uint8) for at in range(12)]
    folder = write_pictures(tmp_path / "frames", frames)
    (folder / "notes.txt").write_text("not a picture")
    assert [int(frame[0, 0, 0]) for frame in read_video(folder)] == list(range(12))


def test_limits_and_width_hold(tmp_path: Path) -> None:
    """So many frames, shrunk at their proportions and never enlarged."""
    path = write_video(tmp_path / "a.avi", crossing(6))
    assert [frame.shape for frame in read_video(path, 2, width=80)] == [(48, 80, 3)] * 2
    assert next(read_video(path, width=4000)).shape == (96, 160, 3)


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    """A missing file, a text, an empty folder, a folder of pictures of two sizes or with a broken one."""
    (tmp_path / "text.avi").write_text("no video at all")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "missing.mp4", tmp_path / "text.avi", tmp_path / "empty"):
        with pytest.raises(InvalidValue, match=path.name):
            list(read_video(path))
    folder = write_pictures(tmp_path / "two", crossing(2))
    assert cv2.imwrite(str(folder / "9.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InvalidValue, match="another size"):
        list(read_video(folder))
    (folder / "9.png").write_text("broken")
    with pytest.raises(InvalidValue, match=r"9\.png"):
        list(read_video(folder))


@pytest.mark.parametrize(
    ("count", "length", "places"),
    [(3, 8, [0, 1, 2, 1, 0, 1, 2, 1]), (1, 3, [0, 0, 0]), (4, 2, [0, 1])],
)
def test_to_and_fro_has_no_cut(count: int, length: int, places: list[int]) -> None:
    """Each place is beside the one before."""
    assert list(to_and_fro(count, length)) == places


def test_cameras_take_turns_each_in_its_own_order(tmp_path: Path) -> None:
    """The first of each video begins at its beginning; the others somewhere, by the seed."""
    write_video(tmp_path / "video" / "highway" / "video.avi", crossing(10))
    write_pictures(tmp_path / "video" / "tennis", crossing(10, seed=1))
    assert set(find_videos(tmp_path)) == {"highway", "tennis"}
    stream = Roads(tmp_path).stream(33, 0, 3)
    assert [sample.device for sample in stream] == [at % 3 for at in range(33)]
    assert {sample.media_type for sample in stream} == {"image/jpeg"}
    assert stream[0].body == Roads(tmp_path).stream(3, 1, 3)[0].body
    shown = cv2.imdecode(np.frombuffer(stream[0].body, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (96, 160, 3)
    assert [sample.body for sample in stream] == [sample.body for sample in Roads(tmp_path).stream(33, 0, 3)]
