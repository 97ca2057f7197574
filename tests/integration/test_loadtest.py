"""The load test plays a workload against a real server, headless."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from likewise.access import add_key

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "functions"


def run_locust(url: str, report: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "locustfile.py"), "--host", url),
            *("--headless", "--only-summary", "--users", "4", "--spawn-rate", "4", "--run-time", "40s"),
            *("--play-requests", "150", "--report", str(report), *words),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        env={name: value for name, value in os.environ.items() if not name.startswith("LIKEWISE_")},
        cwd=report.parent,
    )


def test_users_play_the_digits_and_profit_from_each_other(live: Callable[..., Any], tmp_path: Path) -> None:
    """Four users with an access key play 150 digits: nothing fails, some are reused, and the hit rate is reported."""
    key = add_key(tmp_path / "data" / "access-keys.json", "load", ["infer"])
    server = live(functions=only_digits(tmp_path), require_key="always")
    ended = run_locust(server.url, tmp_path / "report.json", "--access-key", key)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads((tmp_path / "report.json").read_text())
    assert (figures["requests"], figures["failures"]) == (150, 0)
    assert figures["outcomes"]["miss"] > 0
    assert figures["outcomes"].get("hit", 0) + figures["outcomes"].get("probe", 0) > 0
    assert figures["label_accuracy"] > 0.85
    assert "hit rate" in ended.stdout
    assert key not in ended.stdout + ended.stderr


def test_users_play_a_folder_of_inputs(live: Callable[..., Any], toys: Any, tmp_path: Path) -> None:
    """In place of a workload; nothing says what is true of them."""
    (tmp_path / "inputs").mkdir()
    for at in range(40):
        (tmp_path / "inputs" / f"{at}.png").write_bytes(toys.picture(at % 4, at))
    server = live()
    words = ("--inputs", str(tmp_path / "inputs"), "--function", "quadrants")
    ended = run_locust(server.url, tmp_path / "report.json", *words)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads((tmp_path / "report.json").read_text())
    assert (figures["requests"], figures["failures"], figures["label_accuracy"]) == (40, 0, None)


def test_failed_requests_fail_the_run(live: Callable[..., Any], tmp_path: Path) -> None:
    """Without the access key that the server wants, the run ends with 1 and says why."""
    server = live(functions=only_digits(tmp_path), require_key="always")
    ended = run_locust(server.url, tmp_path / "report.json", "--play-requests", "20")
    assert ended.returncode == 1
    assert "401" in ended.stdout + ended.stderr


def test_it_starts_a_server_and_judges_the_run(tmp_path: Path) -> None:
    """Users think, rise and fall; locust writes its report; a threshold that cannot be kept decides the exit code."""
    functions = str(only_digits(tmp_path))
    for run_time in ("6s", "60s"):  # on a busy machine users take long to come
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "loadtests", "--functions", functions, "--play", "digits"),
                *("--users", "4", "--run-time", run_time, "--think-ms", "20", "--max-p99-ms", "60000"),
                *("--min-hit-rate", "0", "--output", str(tmp_path), "--min-requests", "100000"),
            ],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            cwd=ROOT,
        )
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert "at least 100000 are required" in ended.stdout
        figures = json.loads((tmp_path / "figures.json").read_text())
        if figures["requests"]:
            break
    assert figures["failures"] == 0 < figures["requests"]
    assert "<html" in (tmp_path / "report.html").read_text().lower()


@pytest.fixture(autouse=True)
def _needs_locust() -> None:
    """The load extra brings locust."""
    pytest.importorskip("geventhttpclient")


def only_digits(folder: Path) -> Path:
    """Return a folder of functions with the digits alone, which load in a moment."""
    root = folder / "functions"
    root.mkdir()
    (root / "digits").symlink_to(BUNDLED / "digits")
    return root
