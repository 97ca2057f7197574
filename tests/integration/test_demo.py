"""`likewise demo` as a stranger runs it, shortened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from videos import crossing, write_pictures, write_video

ROOT = Path(__file__).parents[2]


def demo(tmp_path, *options):
    return subprocess.run(
        [sys.executable, "-m", "likewise", "demo", "--output", str(tmp_path), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.timeout(900)
def test_phones_share_results_and_the_figures_are_written(tmp_path):
    """A real server, real pictures, both plays, table, plots, page and JSON."""
    ran = demo(tmp_path, "--requests", "240", "--interval-ms", "0", "--json", str(tmp_path / "figures.json"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["requests"] == 240
    assert found["hits"] > 20
    assert found["accuracy"] >= 0.95
    assert found["label_accuracy"] >= 0.95
    assert "harvest" in ran.stdout
    for name in ("stream.png", "latency.png", "index.html"):
        assert (tmp_path / name).stat().st_size > 5000


@pytest.mark.timeout(900)
def test_cameras_send_frames_of_streams(tmp_path):
    """Videos of one's own: most frames are answered from what changed, as boxes that the model finds, too."""
    write_video(tmp_path / "video" / "cars" / "car-detection.mp4", crossing(60, 320, 192))
    write_pictures(tmp_path / "video" / "tennis", crossing(60, 320, 192, seed=1))
    ran = demo(
        tmp_path, "--workload", "roads", "--data", str(tmp_path), "--devices", "2", "--requests", "160",
        "--interval-ms", "0", "--json", str(tmp_path / "figures.json"),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads((tmp_path / "figures.json").read_text())
    assert (found["requests"], found["devices"], found["workload"]) == (160, 2, "roads")
    assert found["hits"] > 20
    assert found["accuracy"] >= 0.9
    assert found["label_accuracy"] is None
    assert "2 cameras" in ran.stdout
    assert (tmp_path / "index.html").stat().st_size > 5000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--workload", "signs"], "--data", id="no data"),
        pytest.param(["--workload", "roads"], "--data", id="no videos"),
        pytest.param(["--functions", "nowhere"], "--functions", id="no functions"),
        pytest.param(["--functions", "{}"], "No function `digits`", id="not the function"),
        pytest.param(["--output", "{}/file"], "--output", id="output"),
        pytest.param(["--target", "2"], "0.95", id="target"),
        pytest.param(["--requests", "0"], "at least 1", id="requests"),
    ],
)
def test_what_cannot_be_run_says_what_to_do(tmp_path, options, says, monkeypatch):
    """Exit code 2 and the remedy, no traceback."""
    monkeypatch.delenv("LIKEWISE_DATA", raising=False)
    (tmp_path / "file").touch()
    ran = demo(tmp_path, *(each.format(tmp_path) for each in options))
    assert ran.returncode == 2
    assert says in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
