"""Results drawn into pictures, and pictures written into videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from watch_results import RESULT, found

from likewise.errors import SettingsError
from likewise_watch.found import Found, Frame
from likewise_watch.sinks.drawing import caption, draw
from likewise_watch.sinks.recording import Recording

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
