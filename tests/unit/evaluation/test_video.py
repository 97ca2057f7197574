"""The verb on videos: small ones, through the detector that comes with the product."""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import pytest
from videos import crossing, scene, write_pictures, write_video

from likewise.errors import InvalidFunction, InvalidValue, SettingsError
from likewise.evaluation import add_arguments, run
from likewise.evaluation.own import Subject
from likewise.evaluation.video.race import Player

FUNCTIONS = Path(__file__).parents[3] / "functions"
FIELDS = {"method", "video", "frames", "speedup", "work", "accuracy", "f1", "state_bytes", "target"}


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["--functions", str(FUNCTIONS), *words])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a video of a camera that stays, and one of pictures."""
    write_video(tmp_path / "video" / "highway" / "video.avi", crossing(30))
    write_pictures(tmp_path / "video" / "tennis", [scene(seed=at) for at in range(6)])
    return tmp_path


def test_a_row_for_each_method_video_and_target(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the table, as JSON with all fields, and with pictures of what changed."""
    found, page = tmp_path / "rows.json", tmp_path / "page.html"
    words = ("--workload", "roads", "--data", str(data), "--method", "auto,skip", "--target", "0.9,0.95")
    assert run(arguments(*words, "--json", str(found), "--html", str(page))) == 0
    rows = json.loads(found.read_text())
    videos, methods, goals = ("highway", "tennis"), ("auto", "skip"), (0.9, 0.95)
    assert [(row["video"], row["method"], row["target"]) for row in rows] == list(product(videos, methods, goals))
    for row in rows:
        assert row.keys() >= FIELDS
        assert row["frames"] == (30 if row["video"] == "highway" else 6)
        assert 0.0 <= row["accuracy"] <= 1.0
        assert 0.0 <= row["f1"] <= 1.0
        assert row["speedup"] > 0.0
    out = capsys.readouterr().out
    assert "highway" in out
    assert "speed-up" in out
    text = page.read_text()
    assert text.count("data:image/jpeg") == 2  # one of 30 frames by two methods
    assert "<table>" in text


def test_a_file_of_ones_own_is_played_as_long_as_wanted(tmp_path: Path) -> None:
    """To and fro, once for each coin."""
    path, found = write_video(tmp_path / "yard.avi", crossing(10)), tmp_path / "rows.json"
    words = ("--source", str(path), "--function", "roads", "--method", "auto", "--target", "0.95", "--seeds", "2")
    assert run(arguments(*words, "--requests", "25", "--json", str(found))) == 0
    rows = json.loads(found.read_text())
    assert [(row["video"], row["frames"], row["seed"]) for row in rows] == [("yard", 25, 0), ("yard", 25, 1)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(("--method", "auto"), "--source", id="nothing to play"),
        pytest.param(("--workload", "roads,digits"), "by itself", id="two workloads"),
        pytest.param(("--workload", "roads", "--method", "magic"), "deepcache", id="method"),
        pytest.param(("--workload", "roads", "--target", "1.5"), "between 0 and 1", id="target"),
        pytest.param(("--workload", "roads", "--seeds", "0"), "--seeds", id="seeds"),
        pytest.param(("--workload", "roads", "--requests", "1"), "--requests", id="requests"),
        pytest.param(("--workload", "roads", "--plot", "x.png"), "--html", id="plot"),
        pytest.param(("--source", "nowhere.mp4", "--function", "roads"), "nowhere", id="source"),
    ],
)
def test_what_cannot_be_played_says_so(words: tuple[str, ...], says: str, data: Path) -> None:
    """With the remedy."""
    with pytest.raises(InvalidValue, match=says):
        run(arguments("--data", str(data), *words))


def test_files_that_cannot_be_written_are_named(data: Path) -> None:
    """After all the work."""
    words = ("--workload", "roads", "--data", str(data), "--method", "skip", "--target", "0.95", "--requests", "4")
    with pytest.raises(SettingsError, match=r"--json .*nowhere"):
        run(arguments(*words, "--json", "nowhere/rows.json"))
    with pytest.raises(SettingsError, match=r"--html .*nowhere"):
        run(arguments(*words, "--html", "nowhere/page.html"))


def test_a_function_without_pictures_is_refused() -> None:
    """Sounds have no frames."""
    with pytest.raises(InvalidFunction, match="takes images"):
        Player(Subject(FUNCTIONS, "speech"))


def test_nothing_new_is_answered_without_the_model() -> None:
    """A still scene: after the first frames hardly any work, and all right; the probes are counted in."""
    still = [scene()] * 120
    row = Player(Subject(FUNCTIONS, "roads")).play("auto", "still", still, 0.9, seed=1)
    assert row.accuracy == 1.0
    assert row.f1 == 1.0
    assert row.reused > 0.5
    assert row.work < 0.5
    assert row.work >= row.probes
    assert row.state_bytes > 0
